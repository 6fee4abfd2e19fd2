"use strict";
// Both are comforts: without scripts the letter scrolls in its own frame, and a reload shows new mail.

const frame = document.querySelector("iframe.letter");
if (frame) {
  const fit = () => {
    const root = frame.contentDocument && frame.contentDocument.documentElement;
    if (!root) return;
    frame.style.height = "0";
    frame.style.height = `${root.scrollHeight + 1}px`;
  };
  frame.addEventListener("load", fit);
  window.addEventListener("resize", fit);
  if (frame.contentDocument && frame.contentDocument.readyState === "complete") fit();
}

const box = document.querySelector(".mailbox");
const reading = location.pathname !== "/inbox";
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch("/inbox.json?limit=1&bodies=0", { cache: "no-store" });
    const total = answer.headers.get("X-Total-Count");
    if (!answer.ok || total === box.dataset.total) return;
    if (!reading) location.reload();
    else document.title = document.title.replace(/^(\(new\) )?/, "(new) ");
  } catch {
    // The sandbox is restarting: the next round will tell.
  }
}, 1500);
