"""Statements of imports from Stripe. Each runs inside its caller's transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    case,
    delete,
    false,
    func,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session, aliased

from services.billing.models import StripeImport, StripeImportCustomer
from services.billing.stripe_events.imports import DONE, Finding, Listed, Met
from shared.contracts.accounts import Account
from shared.statements import insert_new, table_of


@dataclass(frozen=True)
class Progress:
    """How far an import has come: `what` is the list that is read next and `cursor` the last object of it that was taken in."""

    run: str
    what: str
    cursor: str | None
    customers: int
    subscriptions: int
    invoices: int
    events: int
    reads: int
    lease_until: dt.datetime | None
    finished: bool


def progress(session: Session, account: Account) -> Progress | None:
    """The account's last import; None: there never was one."""
    row = session.get(StripeImport, account)
    return None if row is None else _read(row)


def _read(row: StripeImport) -> Progress:
    return Progress(
        row.run,
        row.what,
        row.cursor,
        row.customers,
        row.subscriptions,
        row.invoices,
        row.events,
        row.reads,
        row.lease_until,
        row.finished_at is not None,
    )


def take(
    session: Session,
    account: Account,
    holder: str,
    run: str,
    now: dt.datetime,
    until: dt.datetime,
) -> Progress | None:
    """Take the account's import for `holder` until then, or keep it: the one that was not finished, else a new one that is called
    `run`. None while somebody else has it."""
    first = {"account": account, "run": run, "what": Listed.CUSTOMERS.value, "began_at": now}
    insert_new(session, table_of(StripeImport), [first], returning="account")
    row = session.scalars(
        select(StripeImport).where(StripeImport.account == account).with_for_update()
    ).one()
    finished, mine = row.finished_at is not None, row.holder == holder
    if not finished and not mine and row.lease_until is not None and row.lease_until > now:
        return None
    if finished and not mine:
        session.execute(delete(StripeImportCustomer).where(StripeImportCustomer.account == account))
        row.run, row.what, row.cursor, row.began_at = run, Listed.CUSTOMERS.value, None, now
        row.customers = row.subscriptions = row.invoices = row.events = row.reads = 0
        row.finished_at = None
    row.holder, row.lease_until = holder, until
    session.flush()
    return _read(row)


def keep(session: Session, account: Account, holder: str, until: dt.datetime) -> None:
    """Have the import until then, if it is still this holder's."""
    session.execute(
        update(StripeImport)
        .where(StripeImport.account == account, StripeImport.holder == holder)
        .values(lease_until=until)
        .execution_options(synchronize_session=False)
    )


def advance(
    session: Session,
    account: Account,
    holder: str,
    before: Progress,
    *,
    to: tuple[str, str | None],
    objects: int,
    events: int,
    now: dt.datetime,
) -> Progress | None:
    """Note that a page of `before.what` was taken in, which had so many objects, and where the next one begins: list and cursor.
    None: somebody else did, or has taken it over."""
    what, cursor = to
    counted = getattr(StripeImport, before.what)
    done = session.execute(
        update(StripeImport)
        .where(
            StripeImport.account == account,
            StripeImport.holder == holder,
            StripeImport.run == before.run,
            StripeImport.what == before.what,
            StripeImport.cursor.is_not_distinct_from(before.cursor),
        )
        .values(
            {
                StripeImport.what: what,
                StripeImport.cursor: cursor,
                counted: objects if before.cursor is None else counted + objects,
                StripeImport.events: StripeImport.events + events,
                StripeImport.reads: StripeImport.reads + 1,
                StripeImport.finished_at: now if what == DONE else None,
            }
        )
        .returning(StripeImport.account)
        .execution_options(synchronize_session=False)
    ).all()
    if done and what == DONE:
        _forget_digests(session, account)
    session.expire_all()
    return progress(session, account) if done else None


def _forget_digests(session: Session, account: Account) -> None:
    """Once all were met, what equal addresses tell is written down, and what was made of the addresses goes: an address could be guessed
    by it."""
    row = StripeImportCustomer
    words = func.coalesce(row.findings + " ", "") + Finding.SAME_EMAIL.value
    for given, where in (
        ({row.findings: words}, _same_email(account)),
        ({row.email_digest: null()}, row.email_digest.is_not(None)),
    ):
        session.execute(
            update(row)
            .where(row.account == account, where)
            .values(given)
            .execution_options(synchronize_session=False)
        )


def _same_email(account: Account) -> ColumnElement[bool]:
    """Inside of a CASE, so that PostgreSQL makes a hash of the addresses that are there twice, once: as a join it compares each customer with
    each, while it does not know yet how many were just written."""
    row, other = StripeImportCustomer, aliased(StripeImportCustomer)
    twice = (
        select(other.email_digest)
        .where(other.account == account, other.email_digest.is_not(None))
        .group_by(other.email_digest)
        .having(func.count() > 1)
    )
    return case((row.email_digest.in_(twice), true()), else_=false())


def note_met(session: Session, account: Account, met: Sequence[Met], now: dt.datetime) -> None:
    """Keep what is worth telling of these customers, each once."""
    rows = [
        {
            "account": account,
            "stripe_customer_id": one.stripe_customer_id,
            "email_digest": one.email_digest,
            "findings": " ".join(one.findings) or None,
            "met_at": now,
        }
        for one in met
    ]
    insert_new(
        session,
        table_of(StripeImportCustomer),
        rows,
        conflict=("account", "stripe_customer_id"),
        returning="stripe_customer_id",
    )


def findings(
    session: Session, account: Account, after: str, limit: int
) -> list[tuple[str, list[str]]]:
    """What is worth telling of customers that the account's last import met, by their ids, those after `after`."""
    row, same = StripeImportCustomer, _same_email(account)
    found = session.execute(
        select(row.stripe_customer_id, row.findings, same)
        .where(
            row.account == account,
            row.stripe_customer_id > after,
            or_(row.findings.is_not(None), same),
        )
        .order_by(row.stripe_customer_id)
        .limit(limit)
    ).all()
    return [
        (id, (words or "").split() + ([Finding.SAME_EMAIL.value] if doubled else []))
        for id, words, doubled in found
    ]
