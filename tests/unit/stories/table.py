"""docs/situations.md, written."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.unit.stories.drawing import COLUMNS, draw, line_of
from tests.unit.stories.rows import GROUPS

PAGE: Final = Path(__file__).parents[3] / "docs" / "situations.md"
HEAD: Final = """<!-- Written by `make docs` from tests/unit/stories; a test compares it. -->
# What is said in which situation

Each row is one story that really happened, in a test: Stripe (the sandbox's) did what stands on the left, its events went
through billing to the notifier and the portal, and what each of them said is written down here. *A new card now* is what
becomes of the story when the customer then chooses a good card. All amounts are US dollars; the renewal is over 49.00.
A dash is silence; *none* is a mail that was thought of and has a recorded reason; one that was *observed* would have gone had the
business been live ([why](adr/0032-observe-then-live.md)).

The same test compares what page, mail, recovery and statistics claim, and fails where two of them disagree.
"""


def situations_page() -> str:
    """The page, drawn anew: some seconds."""
    lines = [HEAD]
    for group, rows in GROUPS.items():
        lines += [f"## {group}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        lines += [line_of(draw(row)) for row in rows]
        lines.append("")
    return "\n".join(lines)
