"""Writing an email with sample data to files; sends nothing, needs no settings."""

from __future__ import annotations

from pathlib import Path

from services.notifier.domain.kinds import Kind
from services.notifier.emails.rendering import Renderer
from services.notifier.emails.samples import sample_letter


def write_preview(kind: Kind, locale: str, folder: Path) -> list[Path]:
    """Write KIND.subject.txt, KIND.txt and KIND.html into the folder; returns their paths."""
    rendered = Renderer().render(sample_letter(kind, locale))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, content in (
        ("subject.txt", rendered.subject + "\n"),
        ("txt", rendered.text),
        ("html", rendered.html),
    ):
        path = folder / f"{kind.value}.{suffix}"
        path.write_text(content, encoding="utf-8")
        written.append(path)
    return written
