"""PostgreSQL finds whom a stored text names as Python and SQLite do (`tests/unit/shared/test_mentions.py`)."""

from __future__ import annotations

from sqlalchemy import column, create_engine, literal, select

from local.servers import PostgreSQL
from shared.mentions import mentioned
from tests.fixtures.mentions import CASES


def test_a_column_is_searched_by_the_same_rule(postgres: PostgreSQL) -> None:
    """All of it in one statement each, as forgetting does."""
    engine = create_engine(postgres.create_database("mentions"))
    with engine.connect() as connection:
        for name, text, named in CASES:
            body = select(literal(text).label("body")).subquery()
            found = connection.scalar(
                select(column("body")).select_from(body).where(mentioned(body.c.body, name))
            )
            assert (found is not None) is named, (name, text)
    engine.dispose()
    postgres.drop_database("mentions")
