"""Two Stripe accounts may have objects of one id: no query of any service finds, or changes, those of the wrong account.

Each public function of `services/*/queries` is called for one account in a database whose rows, of the very ids that it is asked
about, are another account's. It must answer as in an empty one, and leave them as they are. Only the rows of people (businesses,
customers), whose own ids no account has a part in, are there in both.
"""

from __future__ import annotations

import datetime as dt
import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import JSON, Boolean, Column, Date, MetaData, String, delete, select, text, update
from sqlalchemy.exc import IntegrityError, NoResultFound
from sqlalchemy.orm import Session

from services.billing import models as billing
from services.billing.domain.changes import Change, Try, Wish
from services.billing.domain.errors import AccountRefused
from services.billing.domain.paying import Payment, PayOutcome
from services.billing.domain.paying import Subscription as StripeSubscription
from services.billing.domain.portal import PortalConfiguration
from services.billing.queries import intake
from services.billing.queries.imports import Progress
from services.billing.queries.turns import Turn
from services.billing.stripe_events.imports import Finding, Met
from services.billing.stripe_events.payloads import StripeEvent
from services.billing.stripe_events.translation import Status, Translation
from services.notifier import models as notifier
from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import Kind
from services.notifier.domain.vocabulary import Reason
from services.notifier.queries.leases import Leased, lease_due
from services.portal import models as portal
from services.portal.domain.invoices import Invoice
from services.portal.domain.snapshot import Subscription
from services.portal.queries import billing_sync, links, page
from services.portal.queries.links import Component
from shared import events
from shared.contracts.accounts import OWN, Account, Merchant, StripeCustomer, StripeId
from shared.database import Transactions, UtcDateTime
from shared.events import InvoicePaymentFailed
from shared.outbox import Outgoing
from shared.statements import _recordset, _update_recordset
from tests.unit import tables
from tests.unit.accounts import without_account

SERVICES: Final = {"billing": billing.Base, "portal": portal.Base, "notifier": notifier.Base}
NOW: Final = dt.datetime(2026, 11, 23, 21, 4, 5, tzinfo=dt.UTC)
LONG_AGO, SOON = NOW - dt.timedelta(days=400), NOW + dt.timedelta(days=400)
PUBLIC_ID: Final = "kd83Jf02LmQ9xVb7TzR4wA"
IDS: Final = {
    "invoice_id": "in_1",
    "subscription_id": "sub_1",
    "stripe_customer_id": "cus_1",
    "platform_stripe_customer_id": "cus_1",
    "payment_method_id": "pm_1",
    "change_id": "evt_1",
    "event_id": "evt_1",
    "object_id": "in_1",
    "configuration_id": "bpc_1",
    "charge_id": "ch_1",
    "correlation_id": "evt_1",
    "customer_id": PUBLIC_ID,
    "public_id": PUBLIC_ID,
    "customer_ref": PUBLIC_ID,
    "external_id": "c1",
    "business_id": "b1",
    "business_ref": "b1",
    "request_id": "req_1",
    "notification_id": "ntf_1",
    "holder": "me",
    "scope": "",
    "customer_pk": 1,
    "business_pk": 1,
}
"""What stands in a column of this name, whoever's row it is."""
OF_A_TABLE: Final = {
    ("inbox", "id"): "evt_1",
    ("inbox", "status"): "translated",
    ("inbox", "type"): "customer.updated",
    ("payment_method_changes", "id"): "evt_1",
    ("portal_configurations", "key"): "default",
    ("reconciliations", "name"): "stripe",
    ("invoices", "status"): "open",
    ("subscriptions", "status"): "active",
    ("cancellation_requests", "status"): "open",
    ("link_evidence", "source"): "host",
    ("link_evidence", "object_id"): PUBLIC_ID,
    ("link_evidence", "refused"): None,
    ("link_evidence", "withdrawn_at"): None,
    ("link_conflicts", "resolved_at"): None,
    ("link_proposals", "state"): "address_waits",
    ("payment_method_changes", "closed_at"): None,
    ("payment_method_changes", "due_at"): SOON,
    ("payment_tries", "outcome"): "unknown",
    ("notifications", "kind"): "payment_failed",
    ("notifications", "status"): "pending",
    ("notifications", "told_in"): None,
    ("notifications", "dedupe_key"): "in_1/1/payment_failed",
    ("notifications", "attempt_key"): "in_1/1",
    ("incidents", "status"): "open",
    ("incidents", "closed_at"): None,
    ("portal_permissions", "content"): "{}",
}
PEOPLE: Final = {"businesses", "customers", "customer_aliases", "appointments", "visits"}
NOT_OF_STRIPE: Final = {
    "account_states",
    "api_keys",
    "connections",
    "hook_attempts",
    "hook_deliveries",
    "hook_endpoints",
    "idempotent_requests",
    "keyed_accounts",
    "outbox",
    "dead_letter_actions",
    "processed_events",
    "schema_owner",
    "welcome_runs",
    "welcomes",
    "spent_codes",
    "stripe_accounts",
    "sendgrid_events",
    "suppressed_addresses",
}
"""Tables whose rows name no Stripe object by its id alone: their keys are made with the account in them."""


def functions() -> list[Callable[..., Any]]:
    """Every public function of every module of queries that takes a session."""
    found = []
    for service in SERVICES:
        package = importlib.import_module(f"services.{service}.queries")
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            for name, function in inspect.getmembers(module, inspect.isfunction):
                own = function.__module__ == module.__name__ and not name.startswith("_")
                if own and "session" in inspect.signature(function).parameters:
                    found.append(function)
    return found


def place(function: Callable[..., Any]) -> str:
    """The function's name with its service and module, as `portal.page.lookup_many`."""
    return f"{function.__module__[9:].replace('.queries', '')}.{function.__name__}"


BY_ID: Final = frozenset(
    {
        *(
            "invoice_id",
            "invoice_ids",
            "subscription_id",
            "subscription_ids",
            "object_id",
            "object_ids",
        ),
        *(
            "stripe_customer_id",
            "stripe_customer_ids",
            "stripe_id",
            "stripe_ids",
            "stripe_event_id",
        ),
        *("stripe_event_ids", "change_id", "change_ids", "configuration_id", "charge_id"),
    }
)
"""Parameters that name Stripe objects by their ids alone."""
STRUCTS: Final = (
    *(Change, Try, Turn, Wish, StripeEvent, Incident, Leased, Subscription, Component),
    portal.CustomerRow,
)
"""Structs that name Stripe objects together with their account."""


def taken(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's parameters."""
    hints = get_type_hints(function)
    hints.pop("return", None)
    return hints


def names_account(annotation: Any) -> bool:
    """Whether a parameter of this type brings an account."""
    parts = typing.get_args(annotation)
    return annotation in (Account, Merchant, StripeCustomer, StripeId, *STRUCTS) or any(
        map(names_account, parts)
    )


def test_who_names_a_stripe_object_names_its_account() -> None:
    """By its signature: an id comes with the account that it is of."""
    by_id = [one for one in functions() if BY_ID & taken(one).keys()]
    assert len(by_id) > 20
    # Give each an Account, or a StripeId.
    assert [place(one) for one in by_id if not any(map(names_account, taken(one).values()))] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_table_that_names_stripe_objects_has_their_account(service: str) -> None:
    """A new table says whose its ids are, or is one that needs to say nothing."""
    named = set(IDS) - {"customer_id", "holder", "scope", "event_id", "correlation_id"}
    for table in SERVICES[service].metadata.sorted_tables:
        if table.name not in PEOPLE | NOT_OF_STRIPE and named & set(table.c.keys()):
            assert "account" in table.c, table.name


def test_a_statement_that_forgets_the_account_is_seen() -> None:
    """Each statement of the unit tests is looked at so; a page of a list, and what is read by keys just found, are none."""
    row = portal.InvoiceRow
    one = select(row).where(row.invoice_id == "in_1")
    assert without_account(one) == {"invoices.invoice_id"}
    assert without_account(one.where(row.account == "")) == set()
    assert without_account(select(row).where(row.invoice_id.in_(["in_1"]))) != set()
    assert without_account(select(row).where(row.invoice_id > "in_1")) == set()
    joined = select(portal.CustomerRow).join(
        row, row.stripe_customer_id == portal.CustomerRow.platform_stripe_customer_id
    )
    assert len(without_account(joined)) == 2
    assert without_account(joined.where(row.account == portal.CustomerRow.account)) == set()
    old = select(row.invoice_id).where(row.status == "paid")
    assert without_account(delete(row).where(row.invoice_id.in_(old))) == set()


def test_so_is_one_that_is_written_as_text() -> None:
    """Each condition of it, and each join: PostgreSQL's own statements are no expressions of SQLAlchemy's."""
    assert without_account(intake._STORE.statement) == set()
    forgetful = intake._STORE.statement.text.replace(
        "(account, stripe_customer_id) IN", "stripe_customer_id IN"
    )
    assert without_account(text(forgetful)) == {"stripe_customer_id"}
    assert without_account(
        text(intake._STORE.statement.text.replace("USING (account, id)", "USING (id)"))
    ) == {"id"}
    table = notifier.IncidentRow.__table__
    columns = ("account", "invoice_id", "asked_at")
    changed = _update_recordset(table, columns, ("invoice_id",))
    assert without_account(changed.statement) == {"invoice_id"}
    assert without_account(_update_recordset(table, columns, columns[:2]).statement) == set()
    new = "ON CONFLICT (invoice_id) DO NOTHING RETURNING invoice_id"
    assert without_account(_recordset(table, columns, new).statement) == set()


# --- the world -------------------------------------------------------------------------------------------------------


def value_of(column: Column[Any], number: int, flags: dict[str, bool]) -> Any:
    table = column.table.name
    if (table, column.name) in OF_A_TABLE:
        return OF_A_TABLE[table, column.name]
    if column.name in IDS:
        return IDS[column.name]
    kind = column.type
    if isinstance(kind, UtcDateTime):
        return NOW
    if isinstance(kind, Date):
        return NOW.date()
    if isinstance(kind, Boolean):
        return flags.get(column.name, False)
    if isinstance(kind, JSON):
        return {}
    if column.name == "on_behalf_of":
        return ""
    if isinstance(kind, String):
        return f"{column.name}{number}"[: kind.length]
    return 1


@dataclass(frozen=True)
class World:
    """Two accounts, and who is a customer of the first one."""

    asked: Account
    other: Account
    flags: dict[str, bool]

    def made(self, metadata: MetaData, *, objects: bool) -> Transactions:
        """People of the account that is asked about, and where wanted a row of the other one in each table of Stripe objects."""
        database = tables.empty(metadata)
        with database.transaction() as session:
            for number, table in enumerate(metadata.sorted_tables):
                if table.name not in PEOPLE and not (objects and "account" in table.c):
                    continue
                values = {one.name: value_of(one, number, self.flags) for one in table.columns}
                if "account" in values:
                    values["account"] = self.asked if table.name in PEOPLE else self.other
                session.execute(table.insert(), values)
        return database


def rows(session: Session, metadata: MetaData, account: Account) -> dict[str, list[Any]]:
    """What is stored of an account's Stripe objects."""
    return {
        table.name: list(session.execute(select(table).where(table.c.account == account)).all())
        for table in metadata.sorted_tables
        if "account" in table.c and table.name not in PEOPLE
    }


accounts = st.sampled_from([OWN, Account("acct_1"), Account("acct_2")])
worlds = st.builds(
    World,
    accounts,
    accounts,
    st.fixed_dictionaries(
        {
            name: st.booleans()
            for name in ("livemode", "denies", "last_failure_own", "end_noted", "key_spent")
        }
    ),
).filter(lambda one: one.asked != one.other)


# --- what a function is asked ----------------------------------------------------------------------------------------

SINGLE: Final = {
    "customer": "cus_1",
    "stripe_customer": "cus_1",
    "invoice": "in_1",
    "subscription": "sub_1",
    "change": "evt_1",
    "event": "evt_1",
    "configuration": "bpc_1",
}
MANY: Final = {
    "customers": "cus_1",
    "stripe_customers": "cus_1",
    "invoices": "in_1",
    "asked_for": "in_1",
    "stripe_events": "evt_1",
    "subscriptions": "sub_1",
    "again": "evt_1",
}
PLAIN: Final[dict[str, Any]] = {
    "now": NOW,
    "line": None,
    "application": "ca_1",
    "kept": True,
    "at": NOW,
    "moment": NOW,
    "date": NOW,
    "set_at": NOW,
    "taken_at": NOW,
    "asked_at": NOW,
    "changed_at": NOW,
    "since": LONG_AGO,
    "failed_since": LONG_AGO,
    "tried_since": LONG_AGO,
    "until": SOON,
    "before": SOON,
    "changed_between": (LONG_AGO, SOON),
    "every": dt.timedelta(hours=1),
    "pauses": [dt.timedelta(minutes=1)],
    "limit": 100,
    "lock": False,
    "livemode": False,
    "restricted": True,
    "happened_at": SOON,
    "payload": "{}",
    "name": "stripe",
    "key": "default",
    "scope": "",
    "on_behalf_of": "",
    "outcome": "done",
    "attempt": 1,
    "holder": "me",
    "payment_method": "pm_1",
    "may_cancel": True,
    "payment": Payment(PayOutcome.PAID),
    "needles": ["cus_1"],
    "types": ("customer.updated",),
    "external_ids": ["c1"],
    "public_ids": [PUBLIC_ID],
    "invoice_ids": ["in_1"],
    "change_ids": ["evt_1"],
    "stripe_ids": ["cus_1"],
    "object_ids": ["in_1", "cus_1", PUBLIC_ID],
    "stripe_event_id": "evt_1",
    "stripe_event_ids": ["evt_1"],
    "configuration_id": "bpc_1",
    "besides": (),
    "reason": Reason.PAID,
    "reasons": tuple(Reason),
    "delivered": True,
    "status": None,
    "state": "disconnected",
    "as_of": NOW,
    "accounts": ["acct_other"],
    "gone": ["acct_other"],
    "back": ["acct_other"],
    "today": NOW.date(),
    "run": "run_2",
    "objects": 1,
    "events": 1,
    "met": [Met("cus_1", findings=(Finding.NO_EMAIL,))],
    "would_charge": None,
    "stripe_id": "cus_1",
    "emails": ["n@example.com"],
    "email": "n@example.com",
    "but": (),
    "enrolled": False,
    "why": "email",
    "by": "Olga",
    "type": None,
    "before_id": None,
    "values": {},
    "addresses": (),
    "notification_ids": (),
}
"""Arguments by the parameter's name."""
OWN_PLACES: Final[dict[str, Any]] = {
    "after": {"erase_inbox": "", "inbox_between": LONG_AGO},
    "before": {
        "lock_silent": SOON,
        "businesses_to_check": SOON,
        "advance": Progress("run_1", "customers", None, 0, 0, 0, 0, 0, NOW, False),
    },
    "to": {"advance": ("customers", "cus_1")},
    "besides": {"plans_told": ""},
    "known": {"note_date_learnt": (1, NOW)},
    "values": {
        "note_learnt": {"purpose": "changed"},
        "note_preview": {"previewed_at": SOON},
    },
    "customers": {"component": []},
    "customer_id": {"notifications_about": None, "erase_customer": None},
}
"""The same of one function's parameter."""


TOLD: Final = {
    "stripe_customer_id": "cus_1",
    "on_behalf_of": "",
    "status": "canceled",
    "interval_count": 1,
    "as_of": SOON,
}
"""Of a subscription."""


def arguments(function: Callable[..., Any], account: Account, session: Session) -> dict[str, Any]:
    hints = taken(function)
    return {
        name: _argument(function.__name__, name, hints[name], account, session)
        for name in inspect.signature(function).parameters
        if name != "session"
    }


def _argument(function: str, name: str, kind: Any, account: Account, session: Session) -> Any:
    if name in OWN_PLACES and function in OWN_PLACES[name]:
        return OWN_PLACES[name][function]
    if kind is Account:
        return account
    if kind in (Merchant, Merchant | None):
        return Merchant(account)
    if kind == Iterable[Merchant]:
        return [Merchant(account, "acct_behalf")]
    if kind == Iterable[Incident]:
        return [_incident(account, session)]
    if kind == Mapping[StripeId, Invoice]:
        return {StripeId(account, "in_1"): Invoice(status="paid")}
    if kind == Mapping[StripeId, dict[str, Any]]:
        return {StripeId(account, "sub_1"): TOLD}
    if kind == Sequence[intake.Arrival]:
        return [_arrival(account)]
    if kind == Collection[portal.CustomerRow]:
        return [_customer_row(account, session)]
    if name in MANY and names_account(kind):
        whole = StripeCustomer if "StripeCustomer" in str(kind) else StripeId
        named = whole(account, MANY[name])
        return {named: {"again": 1}.get(name, "cus_1")} if "Mapping" in str(kind) else [named]
    if kind in (StripeId, StripeId | None):
        return StripeId(account, SINGLE[name])
    if kind is StripeCustomer:
        return StripeCustomer(account, "cus_1")
    made = STRUCTURES.get(kind)
    if made is not None:
        return made(account, session)
    if name in PLAIN:
        return PLAIN[name]
    if name in IDS:
        return IDS[name]
    if name in ("after", "before"):
        return 0 if kind is int else SOON
    raise LookupError(f"say in this file what {function} is to be asked as {name}: {kind}")


def _wish(account: Account, session: Session) -> Wish:
    return Wish(account, "evt_1", "customer.updated", "cus_1", "pm_1", "", NOW)


def _change(account: Account, session: Session) -> Change:
    return Change(account, "evt_1", "cus_1", "pm_1", frozenset(), NOW)


def _try(account: Account, session: Session) -> Try:
    return Try(account, "pay:", "evt_1", "in_1", "pm_1", 1, NOW, NOW, NOW)


def _incident(account: Account, session: Session) -> Incident:
    return Incident(account=account, invoice_id="in_1", stripe_customer_id="cus_1", status="paid")


def _arrival(account: Account) -> intake.Arrival:
    failed = InvoicePaymentFailed(
        account=account, invoice_id="in_1", stripe_customer_id="cus_1", status="open", currency="usd",
        amount_due=1, amount_remaining=1, attempt_count=1,
    )  # fmt: skip
    event = StripeEvent(
        id="evt_9", type="invoice.payment_failed", api_version=None, livemode=False, account=account,
        created=1, idempotency_key=None, data=msgspec.Raw(b'{"object": {"id": "in_1"}}'),
    )  # fmt: skip
    told = events.Event(id=f"{account}9", data=failed, occurred_at=NOW, correlation_id="evt_9")
    return event, "{}", Translation(Status.TRANSLATED, outgoing=(Outgoing(told, f"{account}in_1"),))


def _configuration(account: Account, session: Session) -> PortalConfiguration:
    return PortalConfiguration(
        id="bpc_1", livemode=False, active=True, key="default", may=(), login_page=False,
        is_default=True, updated=1 << 40,
    )  # fmt: skip


def _leased(account: Account, session: Session) -> Leased:
    return Leased(
        notification_id="ntf_2",
        lease_token="t",
        kind=Kind.PAYMENT_FAILED,
        account=account,
        invoice_id="in_1",
        stripe_customer_id="cus_1",
        customer_id=None,
        correlation_id="",
        traceparent="",
        incident=None,
        heard_at=NOW,
        occurred_at=NOW,
    )


def _customer_row(account: Account, session: Session) -> Any:
    row = session.scalars(select(portal.CustomerRow)).one_or_none()
    if row is None:
        row = portal.CustomerRow(
            account=account, public_id="0" * 22, business_pk=1, external_id="c1", name="N",
            email="n@example.com", link_generation=1, created_at=NOW, updated_at=NOW,
        )  # fmt: skip
        session.add(row)
        session.flush()
    return row


def _component(account: Account, session: Session) -> Component:
    return Component(Merchant(account), stripe_ids={"cus_1"})


STRUCTURES: Final[dict[Any, Callable[[Account, Session], Any]]] = {
    StripeSubscription: lambda account, session: StripeSubscription("sub_1", "cus_1", "active"),
    Wish: _wish,
    Change: _change,
    Try: _try,
    Leased: _leased,
    PortalConfiguration: _configuration,
    portal.CustomerRow: _customer_row,
    Component: _component,
    Turn: lambda account, _: Turn(account, None, cause=True),
    Subscription: lambda account, _: Subscription(
        ref=1, subscription_id="sub_1", status="active", account=account, as_of=NOW
    ),
}


# --- the property ----------------------------------------------------------------------------------------------------

EXAMPLES: Final = 3
"""Worlds a function: there are a hundred of them."""
OF_A_PERSON: Final = frozenset({"erase_customer", "move"})
"""They take all that is a person's, or a business's, by keys of ours."""
ASKED: Final = [
    one
    for one in functions()
    if any(map(names_account, taken(one).values()))
    and not (one.__name__ in OF_A_PERSON and "portal" in one.__module__)
]


def repr_of(error: type[Exception]) -> str:
    return f"raised {error.__name__}"


def _outcome(function: Callable[..., Any], session: Session, account: Account) -> str:
    """What comes of a call: its answer, or the kind of error that it ends with."""
    given = arguments(function, account, session)
    signature = inspect.signature(function)
    listed = [
        name
        for name, one in signature.parameters.items()
        if one.kind is inspect.Parameter.VAR_POSITIONAL
    ]
    rest = [each for name in listed for each in given.pop(name)]
    bound = [given.pop(name) for name in list(given) if rest]
    try:
        with session.begin_nested():
            answer = function(session, *bound, *rest, **given)
            answer = list(answer) if isinstance(answer, Iterator) else answer
    except (NoResultFound, IntegrityError, KeyError) as error:
        return repr_of(type(error))
    except AccountRefused as error:
        assert account == OWN  # which is not one to be let in
        return repr_of(type(error))
    return re.sub(" at 0x[0-9a-f]+", "", repr(answer))


@pytest.mark.whole
@pytest.mark.parametrize("function", ASKED, ids=place)
@settings(max_examples=EXAMPLES)
@given(worlds)
def test_no_row_of_another_account_is_found_or_changed(
    function: Callable[..., Any], world: World
) -> None:
    """Asked in an account that has none of the objects, each function does as if there were none at all."""
    metadata = SERVICES[function.__module__.split(".")[1]].metadata
    with world.made(metadata, objects=False).transaction() as session:
        alone = _outcome(function, session, world.asked)
        creates = any(rows(session, metadata, world.asked).values()) or alone == repr_of(
            IntegrityError
        )
    with world.made(metadata, objects=True).transaction() as session:
        before = rows(session, metadata, world.other)
        assert sum(map(len, before.values())) >= 3
        beside = _outcome(function, session, world.asked)
        session.expire_all()
        assert rows(session, metadata, world.other) == before
        if not creates:
            assert beside == alone


@given(worlds)
def test_an_email_tells_of_no_invoice_of_another_account(world: World) -> None:
    """A lease brings the incident of its notification's account."""
    with world.made(notifier.Base.metadata, objects=True).transaction() as session:
        session.execute(update(notifier.Notification).values(account=world.asked))
        (leased,) = lease_due(session, NOW, 9)
        assert (leased.account, leased.invoice_id) == (world.asked, "in_1")
        assert leased.incident is None


@pytest.mark.whole
@given(worlds)
def test_a_page_shows_nothing_of_another_account(world: World) -> None:
    """What is joined with a customer is of the customer's account."""
    with world.made(portal.Base.metadata, objects=True).transaction() as session:
        (snapshot,) = page.lookup_many(session, [PUBLIC_ID], NOW).values()
        assert (snapshot.account, snapshot.platform_stripe_customer_id) == (world.asked, "cus_1")
        assert (snapshot.invoices, snapshot.subscriptions) == ((), ())
        assert snapshot.method_changed_at is None
        assert links.host_words(session, 1, ["c1"]) == {"c1": None}
        span = (LONG_AGO, SOON)
        assert not billing_sync.invoices_to_ask_about(
            session, NOW, 9, failed_since=LONG_AGO, tried_since=LONG_AGO, changed_between=span
        )
