"""Whose a database's schema is, and whether this release can work on it; asked before the first transaction, at each `/readyz`,
by `migrate` and by `doctor`.

A release's last migrations may be marked, by a line `AFTER_ROLL = True` of their own: they take away what replicas of the release
before still use, so they run once none of those is left (`migrate --after-roll`). Work needs the others alone.

All services number their migrations from 0001, so a revision says nothing about whose a schema is. Its mark does: the one row of
`schema_owner`, which each service's own migration writes. A schema of an older release has no mark; a table that no other service
has is its proof then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import CheckConstraint, Column, Connection, MetaData, String, Table, inspect, text

from shared.settings import SettingsError

ROOT: Final = Path(__file__).resolve().parent.parent
FIRST_TABLES: Final = {
    "portal": "waiting_links",
    "billing": "recovery_runs",
    "notifier": "sendgrid_events",
}
"""Of each service a table that it has had since its first migration, and no other service has."""
LAST_KEYS: Final = {
    "portal": ("cancellation_requests", "subscription_id"),
    "billing": ("reconciliations", "name"),
    "notifier": ("deleted_customers", "stripe_customer_id"),
}
"""Of each service the last key that the step after the roll changes, by table and column: where the account is in it, it is in all."""
STRANGER: Final = "another program"
_AFTER_ROLL: Final = re.compile(r"^AFTER_ROLL = True$", re.MULTILINE)


class Standing(StrEnum):
    """How a schema stands to the code that looks at it."""

    EMPTY = "empty"
    BEHIND = "behind"
    CURRENT = "current"
    AHEAD = "ahead"
    """Of a newer release. Right for this code, which must come up again while its successor is rolled out."""
    FOREIGN = "foreign"


class WrongOwner(SettingsError):
    """The schema is another service's, or another program's. The text says whose, and what to look at."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What was found for `service`."""

    service: str
    standing: Standing
    owner: str | None
    revision: str | None
    contracted: bool = False
    """Whether what runs after the roll has run, too (`keys_name_accounts`)."""

    @property
    def problem(self) -> str | None:
        """Why this code can't work on it, and what to do; None when it can."""
        if self.standing is Standing.FOREIGN:
            return (
                f"the database of {self.service.upper()}_DATABASE_URL is {self.owner}'s, not {self.service}'s: "
                "each service has a database of its own"
            )
        if self.standing is Standing.EMPTY:
            return f"the database is empty: run `python -m services.{self.service} migrate`"
        if self.standing is Standing.BEHIND:
            return (
                f"the database is at migration {self.revision}, this release needs {needed(self.service)}: "
                f"run `python -m services.{self.service} migrate`"
            )
        return None

    @property
    def after_roll(self) -> str | None:
        """What is still to be done once every replica runs this release; None when nothing is, or other things come first."""
        if self.problem is not None or self.contracted:
            return None
        return (
            f"the last step of {self.service}'s upgrade is still to be done: once every replica runs this release, "
            f"run `python -m services.{self.service} migrate --after-roll`"
        )

    def refuse_wrong_owner(self) -> None:
        """Raise WrongOwner when the schema is not the service's."""
        if self.standing is Standing.FOREIGN:
            raise WrongOwner(self.problem)


@cache
def revisions(service: str) -> tuple[str, ...]:
    """The migrations that this code knows, oldest first, by the names of their files: a serving process has no alembic."""
    return tuple(sorted(_files(service)))


def _files(service: str) -> dict[str, Path]:
    files = (ROOT / "services" / service / "migrations" / "versions").glob("*.py")
    return {found[0]: file for file in files if (found := re.match(r"\d+", file.name))}


@cache
def needed(service: str) -> str:
    """The newest migration that this code needs: the last one that is not marked. What is marked and has others after it was
    for the roll of a release before this one."""
    return max(name for name, file in _files(service).items() if not waits_for_the_roll(file))


def waits_for_the_roll(migration: Path) -> bool:
    """Whether the migration in this file is marked."""
    return _AFTER_ROLL.search(migration.read_text()) is not None


def look(connection: Connection, service: str) -> Schema:
    """Whose the schema that `connection` works in is, and where it stands."""
    tables = inspect(connection)
    revision = None
    if tables.has_table("alembic_version"):
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    owner = None
    if tables.has_table("schema_owner"):
        owner = connection.scalar(text("SELECT service FROM schema_owner"))
    if owner is None:
        owner = " and ".join(
            name for name, table in FIRST_TABLES.items() if tables.has_table(table)
        )
    if not owner and revision is not None:
        owner = STRANGER
    if owner and owner != service:
        standing = Standing.FOREIGN
    elif revision is None:
        standing = Standing.EMPTY
    elif revision not in revisions(service):
        standing = Standing.AHEAD
    else:
        standing = Standing.CURRENT if revision >= needed(service) else Standing.BEHIND
    contracted = standing is not Standing.FOREIGN and keys_name_accounts(connection, service)
    return Schema(service, standing, owner or None, revision, contracted)


def keys_name_accounts(connection: Connection, service: str) -> bool:
    """Whether the keys of a service's Stripe objects are (account, id): what the step after the roll is for, and so whether it has run,
    whatever came before or since. The one place that says so."""
    table, column = LAST_KEYS[service]
    there = inspect(connection)
    if not there.has_table(table):
        return False
    keys: list[Sequence[str | None]] = [there.get_pk_constraint(table)["constrained_columns"]]
    keys += (one["column_names"] for one in there.get_unique_constraints(table))
    keys += (one["column_names"] for one in there.get_indexes(table) if one["unique"])
    return all("account" in key for key in keys if column in key)


def owner_table(metadata: MetaData, service: str) -> Table:
    """The table of the mark, with room for one row and one name."""
    return Table(
        "schema_owner",
        metadata,
        Column("service", String(20), primary_key=True),
        CheckConstraint(f"service = '{service}'", name="own"),
    )
