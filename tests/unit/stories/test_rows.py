"""docs/situations.md: each row is drawn by the services themselves, from one story that all of them hear."""

from __future__ import annotations

from typing import Any

import pytest

from services.billing.stripe_events.translation import ROUTES
from shared import events
from shared.events import encode
from tests.unit.stories import table
from tests.unit.stories.claims import contradictions
from tests.unit.stories.drawing import Drawn, draw, line_of
from tests.unit.stories.rows import GROUPS, ROWS

VERSIONS = ("2020-08-27", "2024-12-18.acacia", "2025-03-31.basil")
"""Before the current one: of the endpoint's API version hangs the shape of what it is sent."""


def read(drawn: Drawn, event: dict[str, Any], version: str | None) -> list[bytes]:
    """What billing says of an event in the shape of an API version."""
    translation = drawn.house.read(event, version).translation
    return [encode(one.event) for one in translation.outgoing]


@pytest.mark.parametrize("name", ROWS)
def test_no_two_rooms_disagree(name: str) -> None:
    """Mail, page, recovery and statistics claim the same; every API version tells the same; the page in docs/ says so."""
    drawn = draw(ROWS[name])
    assert contradictions(drawn) == []
    for event in (one for one in drawn.house.stripe_events if one["type"] in ROUTES):
        now = read(drawn, event, None)
        assert all(read(drawn, event, version) == now for version in VERSIONS), event["type"]
    assert line_of(drawn) in table.PAGE.read_text().splitlines(), "run `make docs`"


def test_the_page_has_each_row_once() -> None:
    """Nothing is left over from a story that is told no more, and its order is the stories'."""
    lines = table.PAGE.read_text().splitlines()
    titles = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")]
    wanted = [
        title
        for rows in GROUPS.values()
        for title in (table.COLUMNS[0], *(one.title for one in rows))
    ]
    assert titles == wanted
    assert len(ROWS) >= 60


def test_the_shapes_differ() -> None:
    """The endpoint of an old version is sent an invoice of the old shape: what is equal above was not the same text."""
    drawn = draw(ROWS["A card, try by try: The renewal is declined"])
    (event,) = (one for one in drawn.house.stripe_events if one["type"] == "invoice.payment_failed")
    assert drawn.house.read(event, VERSIONS[0]).payload != drawn.house.read(event).payload
    assert isinstance(events.decode(read(drawn, event, VERSIONS[0])[0]).data, events.InvoiceData)
