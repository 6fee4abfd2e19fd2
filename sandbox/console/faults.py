"""The faults a newcomer can switch on, in words, over the sandbox's own fault list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.console.actions import Notice
from sandbox.faults import Faults


@dataclass(frozen=True)
class Choice:
    """A fault on offer: the button's label, what it does, the fault itself, and what to try then."""

    label: str
    does: str
    fault: dict[str, Any]
    then: str


_STRIPE, _MAIL = "* /v1/*", "POST /v3/mail/send"
CHOICES: dict[str, Choice] = {
    "stripe-down": Choice(
        "Stripe is down",
        "Every call gets a 500.",
        {"match": _STRIPE, "status": 500, "times": None},
        "Open a customer’s page and press the button: it says so calmly, and at once.",
    ),
    "stripe-slow": Choice(
        "Stripe is slow",
        "Answers take 8 seconds.",
        {"match": _STRIPE, "delay_seconds": 8, "times": None},
        "Open a customer’s page and press the button: nobody waits longer than 5 seconds.",
    ),
    "stripe-silent": Choice(
        "Stripe is silent",
        "No answer for a minute.",
        {"match": _STRIPE, "status": "timeout", "times": None},
        "Open a customer’s page and press the button: it gives up in time.",
    ),
    "mail-limited": Choice(
        "SendGrid limits us",
        "The next three emails get a 429.",
        {"match": _MAIL, "status": 429, "times": 3},
        "Decline a charge: its email comes a little later, once.",
    ),
    "mail-lost-answer": Choice(
        "SendGrid’s answer is lost",
        "The next email is taken, but its sender gets a time-out.",
        {"match": _MAIL, "status": "timeout", "delay_seconds": 30, "times": 1, "after": True},
        "Decline a charge: the customer still gets one email, not two.",
    ),
}


def current(faults: Faults | None) -> list[str]:
    """The faults that are on, in words."""
    known = {_key(choice.fault): choice.label for choice in CHOICES.values()}
    words = []
    for fault in faults.all() if faults else ():
        what = known.get(_key(fault)) or f"{fault['match']}: {fault.get('status') or 'slow'}"
        left = fault.get("times")
        words.append(f"{what} ({left} more)" if left else what)
    return words


def _key(fault: dict[str, Any]) -> tuple[str, Any]:
    return fault["match"], fault.get("status")


def choose(faults: Faults | None, name: str) -> Notice:
    """Switch a fault on by its name, or all off by ``clear``."""
    if faults is None:
        return Notice("This sandbox was started without faults.", "bad")
    if name == "clear":
        faults.clear()
        return Notice("All is well again: every fault is gone.")
    choice = CHOICES[name]
    faults.add(choice.fault)
    return Notice(f"{choice.label} now. {choice.then}", "warn")
