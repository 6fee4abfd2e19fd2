"""`portico doctor`: a service's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from portico.cli.findings import Finding, ask, finding, ok, unknown
from shared.clock import utc_now
from shared.database import DatabaseUnavailable, Transactions, make_engine
from shared.database_errors import reason_of
from shared.schema import Standing, look


@contextmanager
def opened(settings: Any, service: str | None = None) -> Iterator[Transactions]:
    """The database that settings name, for a look into it. Where it is away, or behind, the body ends there without a word: the look at
    the database itself has told. With a `service`, it must be that one's."""
    engine = make_engine(settings.database_url.reveal())
    try:
        yield Transactions(engine, service)
    except (SQLAlchemyError, DatabaseUnavailable):
        return
    finally:
        engine.dispose()


def check_database(service: str, url: str) -> Iterator[Finding]:
    """Whether the database answers, is the service's own, has the newest migration, and agrees about the time."""
    area = f"database {service}"
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            found = look(connection, service)
        if found.standing is Standing.FOREIGN:
            yield finding(
                area,
                "database-owner",
                found.problem or "",
                f"look at {service.upper()}_DATABASE_URL",
            )
            return
        if found.problem is not None:
            yield finding(
                area,
                "database-behind",
                f"{service}'s database is not at the newest migration: it has {found.revision or 'none at all'}",
                f"run `python -m services.{service} migrate`",
            )
        if found.after_roll is not None:
            yield ask(
                area,
                "database-after-roll",
                f"the last step of {service}'s upgrade is still to be done: it works without, in one Stripe account",
                f"once every replica runs this release, `python -m services.{service} migrate --after-roll`",
            )
        if engine.dialect.name == "postgresql":
            with engine.connect() as connection:
                there = connection.execute(select(func.clock_timestamp())).scalar_one()
            off = abs((utc_now() - there).total_seconds())
            if off > 5:
                yield finding(
                    "clock",
                    "clock-database",
                    f"the clock of {service}'s database is off by {off:.0f} s",
                    "let NTP set the clocks of all machines",
                )
        if found.standing is Standing.AHEAD:
            yield ok(
                area, "database", f"answers, and has a newer release's migration: {found.revision}"
            )
        elif found.problem is None:
            yield ok(area, "database", "answers, and has the migrations that it needs")
    except (DBAPIError, SQLAlchemyError, DatabaseUnavailable, OSError) as error:
        yield unknown(
            area,
            "database-unreachable",
            f"{service}: {reason_of(error)}",
            f"look at {service.upper()}_DATABASE_URL, the network and the server",
        )
    finally:
        engine.dispose()
