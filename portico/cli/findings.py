"""What a check has found, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final

from portico.cli.output import console, literal, print_beside


class Level(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    FINDING = "finding"
    NOTE = "note"
    """Nothing is wrong, but whoever wonders about something should know it."""
    ASK = "ask"
    """No machine can tell: a person has to look."""
    UNKNOWN = "unknown"
    """Could not be looked at, because something that it needs does not answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `portico doctor`. `code` is stable, for scripts; `remedy` says what to do."""

    area: str
    code: str
    level: Level
    text: str
    remedy: str = ""

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "area": self.area,
            "code": self.code,
            "level": self.level.value,
            "text": self.text,
            "todo": self.remedy,
        }


def ok(area: str, code: str, text: str) -> Finding:
    """All well."""
    return Finding(area, code, Level.OK, text)


def finding(area: str, code: str, text: str, remedy: str) -> Finding:
    """Something is wrong."""
    return Finding(area, code, Level.FINDING, text, remedy)


def note(area: str, code: str, text: str, remedy: str) -> Finding:
    """Worth knowing."""
    return Finding(area, code, Level.NOTE, text, remedy)


def ask(area: str, code: str, text: str, remedy: str) -> Finding:
    """A person has to look."""
    return Finding(area, code, Level.ASK, text, remedy)


def unknown(area: str, code: str, text: str, remedy: str) -> Finding:
    """Could not be looked at."""
    return Finding(area, code, Level.UNKNOWN, text, remedy)


MARKS: Final = {
    Level.OK: "[green]ok     [/green]",
    Level.FINDING: "[bold red]finding[/bold red]",
    Level.NOTE: "[blue]note   [/blue]",
    Level.ASK: "[yellow]ask    [/yellow]",
    Level.UNKNOWN: "[magenta]unknown[/magenta]",
}


def tell(one: Finding) -> None:
    """A line for people, and one with what to do."""
    out = console()
    print_beside(out, f"{MARKS[one.level]} {literal(one.area):<18} ", one.text)
    if one.remedy:
        print_beside(out, " " * 27, f"→ {one.remedy}")
