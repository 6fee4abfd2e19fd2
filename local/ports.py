"""Where the parts listen on this machine, for `make run` and `make stack`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PORTS: Final = {"portal": 8000, "billing": 8001, "notifier": 8002, "api": 8003, "sandbox": 8010}
"""The usual ports."""


class CannotStart(Exception):
    """Nothing was started; the text says why and what to do."""


def chosen_ports(
    environ: Mapping[str, str], otherwise: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The ports that PORTAL_PORT, BILLING_PORT, NOTIFIER_PORT, API_PORT and SANDBOX_PORT name, by part; `otherwise` is for those
    that are not set. Raises CannotStart."""
    chosen: dict[str, int] = {}
    for part, usual in PORTS.items():
        variable = f"{part.upper()}_PORT"
        text = environ.get(variable) or str((otherwise or {}).get(part, ""))
        if not text:
            continue
        if not text.isdecimal() or not text.isascii() or not 1 <= int(text) <= 65535:
            raise CannotStart(f"{variable} is {text!r}; it must be a port, such as {usual}")
        if int(text) in chosen.values():
            raise CannotStart(
                f"{variable} is {text}, as another part's; each needs a port of its own"
            )
        chosen[part] = int(text)
    return chosen


def taken(part: str, port: int, command: str) -> CannotStart:
    """What to say of a port that somebody else has."""
    return CannotStart(
        f"port {port} ({part}) is taken. Stop what uses it, or choose another: "
        f"{part.upper()}_PORT={port % 65000 + 100} {command}"
    )
