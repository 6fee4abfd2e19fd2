"""`portico doctor`: who observes. That is no mistake, but whoever wonders why nothing is mailed should read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from portico.cli.findings import Finding, finding, note
from portico.figures import few

AREA: Final = "observing"
MOST_NAMED: Final = 10
MOST_COUNTED: Final = 1000


def check_settings(observes: Mapping[str, bool]) -> Iterator[Finding]:
    """`MODE`, by service: whether the whole installation observes, and that all services think so."""
    if not any(observes.values()):
        return
    if all(observes.values()):
        yield note(
            AREA,
            "observes",
            "the whole installation observes (MODE=observe): no mail that nobody asked for, no webhook to a host, no write to Stripe",
            "`portico preview` shows what would have gone; docs/operations.md, Look first, says how to go live",
        )
        return
    apart = [
        f"{' and '.join(names)} {mode}"
        for mode, wanted in (("observe", True), ("live", False))
        if (names := [name for name, value in observes.items() if value is wanted])
    ]
    yield finding(
        AREA,
        "observes-apart",
        f"MODE differs: {', '.join(apart)}: one half looks, and the other half acts",
        "set the same MODE at portal, billing and notifier, and start them anew",
    )


def look_at_businesses(settings: Any) -> Iterator[Finding]:
    """Businesses that observe by themselves, from the portal's database."""
    from portico.checks.databases import opened
    from services.portal.queries.modes import observing

    found: list[str] = []
    with opened(settings, "portal") as database, database.reading() as session:
        found = observing(session, MOST_COUNTED)
    if found:
        count = f"at least {MOST_COUNTED:,}" if len(found) >= MOST_COUNTED else f"{len(found):,}"
        yield note(
            AREA,
            "businesses-observe",
            f"{count} business{'' if len(found) == 1 else 'es'} only observe{'s' if len(found) == 1 else ''}: {few(found, MOST_NAMED)}",
            "`portico preview --business ID` shows what would have gone, `portico go-live --business ID` ends it",
        )
