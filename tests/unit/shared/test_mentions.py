"""Whose name stands in a text: that one's, and nobody's whose id or address only begins or ends alike."""

from __future__ import annotations

import pytest
from sqlalchemy import column, create_engine, literal, select

from shared.mentions import mentioned, mentions
from shared.messaging.deadletters import DeadLetter
from tests.fixtures.mentions import CASES

every_case = pytest.mark.parametrize(("name", "text", "named"), CASES)


@every_case
def test_a_name_counts_where_it_stands_whole(name: str, text: str, named: bool) -> None:
    """In a text that is there."""
    assert mentions(text, name) is named


def test_a_column_is_searched_by_the_same_rule() -> None:
    """Of a database; PostgreSQL has the same table in tests/contract/test_mentions.py."""
    with create_engine("sqlite://").connect() as connection:
        for name, text, named in CASES:
            body = select(literal(text).label("body")).subquery()
            found = connection.scalar(
                select(column("body")).select_from(body).where(mentioned(body.c.body, name))
            )
            assert (found is not None) is named, (name, text)


@every_case
def test_a_dead_letter_is_one_customers_by_the_same_rule(name: str, text: str, named: bool) -> None:
    """Else forgetting a customer would throw away what is to be told to others."""
    letter = DeadLetter(
        queue="portal.billing.events", key="evt_1", type="invoice.paid", reason="", attempts=1, routing_key="",
        correlation_id="", replays=0, looks=0, whole=True, body=text.encode(), headers={},
    )  # fmt: skip
    assert letter.mentions(name) is named
    assert not letter.mentions(name, "acct_1")
