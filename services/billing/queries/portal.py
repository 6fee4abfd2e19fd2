"""Which portal configuration customers get, and what is known of it. Functions of a session; the caller commits."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.billing.domain.portal import DASHBOARD, PortalConfiguration, configuration_key
from services.billing.models import Base, PortalPermissions, StoredConfiguration
from services.billing.queries import reconciliation
from shared.contracts.accounts import Account, StripeId
from shared.statements import insert_new, is_object, table_of

NONE_SAVED: Final = ""
"""In place of an id: Stripe said that nobody has saved one in the dashboard."""
KEPT: Final = "portico_portal"
"""The moment from which this installation is known to have run on Portico's own configuration: the migration to the
dashboard's kept it there."""

_content = msgspec.json.Decoder(PortalConfiguration)


@dataclass(frozen=True)
class Recorded:
    """What is recorded about the configurations of one mode."""

    own: str | None
    """The business's own."""
    portico: str | None
    """Portico's."""
    dashboard: str | None
    """What is saved in the dashboard; NONE_SAVED where nothing is, None where that is not known."""
    dashboard_at: dt.datetime | None
    keeps_portico: bool


def recorded(
    session: Session, account: Account, livemode: bool, business_id: str | None
) -> Recorded:
    """What is recorded for a business's customers."""
    own, portico = business_id and configuration_key(business_id), configuration_key(None)
    rows = session.scalars(
        select(StoredConfiguration).where(
            StoredConfiguration.account == account,
            StoredConfiguration.livemode == livemode,
            StoredConfiguration.key.in_([key for key in (own, portico, DASHBOARD) if key]),
        )
    ).all()
    found = {row.key: row for row in rows}

    def id_of(key: str | None) -> str | None:
        return found[key].configuration_id if key in found else None

    return Recorded(
        own=id_of(own),
        portico=id_of(portico),
        dashboard=id_of(DASHBOARD),
        dashboard_at=found[DASHBOARD].recorded_at if DASHBOARD in found else None,
        keeps_portico=reconciliation.moment_of(session, account, KEPT) is not None,
    )


def recorded_under(session: Session, account: Account, key: str, livemode: bool) -> str | None:
    """The id of the configuration that is recorded under a key."""
    return session.scalar(
        select(StoredConfiguration.configuration_id).where(
            StoredConfiguration.account == account,
            StoredConfiguration.key == key,
            StoredConfiguration.livemode == livemode,
        )
    )


def record_configuration(
    session: Session,
    account: Account,
    key: str,
    livemode: bool,
    configuration_id: str,
    now: dt.datetime,
) -> None:
    """Record which configuration to use under a key."""
    row = {
        "account": account,
        "key": key,
        "livemode": livemode,
        "configuration_id": configuration_id,
        "recorded_at": now,
    }
    _put(session, StoredConfiguration, row, ("key", "livemode"))


def permissions(session: Session, configuration: StripeId) -> PortalConfiguration | None:
    """What is known of a configuration."""
    content = session.scalar(
        select(PortalPermissions.content).where(
            is_object(PortalPermissions.account, PortalPermissions.configuration_id, configuration)
        )
    )
    return None if content is None else _content.decode(content)


def learn(
    session: Session, account: Account, configuration: PortalConfiguration, now: dt.datetime
) -> None:
    """Keep what Stripe has said of a configuration, unless something newer is known."""
    row = {
        "account": account,
        "configuration_id": configuration.id,
        "updated": configuration.updated,
        "content": msgspec.json.encode(configuration).decode(),
        "learned_at": now,
    }
    newer = PortalPermissions.updated <= configuration.updated
    _put(session, PortalPermissions, row, ("configuration_id",), newer)
    if configuration.is_default:
        record_configuration(
            session, account, DASHBOARD, configuration.livemode, configuration.id, now
        )


def learn_of_ours(
    session: Session, account: Account, configuration: PortalConfiguration, now: dt.datetime
) -> None:
    """The same of an event, which may be about anybody's: only of the dashboard's, ours, and what is known already."""
    ours = configuration.is_default or configuration.key is not None
    if ours or permissions(session, StripeId(account, configuration.id)) is not None:
        learn(session, account, configuration, now)


def _put(
    session: Session,
    model: type[Base],
    row: dict[str, Any],
    key: tuple[str, ...],
    *wanted: Any,
) -> None:
    """Insert a row, or change the one that is there where `wanted` holds; two at once do no harm."""
    table = table_of(model)
    if insert_new(session, table, [row], returning=key[0]):
        return
    same = [table.c[name] == row[name] for name in ("account", *key)]
    session.execute(update(model).where(*same, *wanted).values(row))
