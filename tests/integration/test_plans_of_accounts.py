"""Ten thousand Stripe accounts with the same ids at Stripe in all of them: the hot statements go by an index on account and id."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from local.servers import PostgreSQL
from services.billing.domain.accounts import AccountState, Directory, KnownAccount, Way
from services.billing.queries import accounts as of_accounts
from services.billing.queries import inbox, intake
from services.billing.stripe_events.payloads import parse_event
from services.billing.stripe_events.translation import Status, Translation
from services.notifier.queries.incidents import lock_incidents
from services.notifier.queries.leases import Beside, lease_due
from services.portal.queries import customers as people
from services.portal.queries import links, page
from shared.contracts.accounts import Account, Merchant, StripeCustomer, StripeId
from tests.bench import seed
from tests.integration.test_plans import NOTIFIERS_ROWS, full_scans, plans
from tests.unit import accounts

ACCOUNTS = 10_000
CUSTOMERS = 30_000
ROWS = 100_000
WAITING = 300
"""Webhooks that came before their accounts were let in."""
NOW = dt.datetime.now(dt.UTC)
ACCOUNT = Account("acct_77")


@pytest.fixture(scope="module")
def databases(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[dict[str, Engine]]:
    """The three services' tables, with three customers, and ten webhooks and emails, an account."""
    engines = {}
    for service in ("portal", "billing", "notifier"):
        name = f"plans_accounts_{service}"
        engines[service] = create_engine(postgres.create_database(name, template=migrated(service)))
        accounts.watch(engines[service])
    with (
        postgres.connection("plans_accounts_portal") as portal,
        postgres.connection("plans_accounts_billing") as billing,
        postgres.connection("plans_accounts_notifier") as notifier,
    ):
        seed.seed_portal(portal, CUSTOMERS)
        seed.spread_over_accounts(portal, ACCOUNTS)
        seed.let_in(billing, ACCOUNTS)
        with billing.cursor() as cursor:
            cursor.execute(
                "INSERT INTO platform_refusals (account, subscription_id, stripe_customer_id, payment_method_id, refused_at) "
                "SELECT 'acct_' || n, 'sub_' || n %% 10, 'cus_1', 'pm_1', now() FROM generate_series(1, %(accounts)s) AS n",
                {"accounts": ACCOUNTS},
            )
            cursor.execute(
                "INSERT INTO inbox (account, id, type, received_at, status, payload, object_id, stripe_customer_id) "
                "SELECT 'acct_' || 1 + n %% %(accounts)s, 'evt_' || n / %(accounts)s, 'invoice.payment_failed', now(), "
                "CASE WHEN n > %(rows)s - %(waiting)s THEN 'connected' ELSE 'translated' END, '{}', "
                "'in_' || n / %(accounts)s, 'cus_' || n / %(accounts)s FROM generate_series(1, %(rows)s) AS n",
                {"accounts": ACCOUNTS, "rows": ROWS, "waiting": WAITING},
            )
            cursor.execute("ANALYZE")
        with notifier.cursor() as cursor:
            for statement in NOTIFIERS_ROWS[:2]:
                cursor.execute(statement, {"rows": ROWS, "due": 1000})
            for table, key in (("incidents", "invoice_id"), ("notifications", "notification_id")):
                cursor.execute(
                    f"UPDATE {table} SET account = 'acct_' || 1 + n %% {ACCOUNTS}, invoice_id = 'in_' || n / {ACCOUNTS}, "
                    f"stripe_customer_id = 'cus_' || n / {ACCOUNTS} FROM (SELECT {key} AS old, "
                    f"regexp_replace({key}, '\\D', '', 'g')::int AS n FROM {table}) AS numbered WHERE {key} = old",
                    {},
                )
            cursor.execute("ANALYZE")
    yield engines
    for service, engine in engines.items():
        engine.dispose()
        postgres.drop_database(f"plans_accounts_{service}")


@pytest.fixture
def portal(databases: dict[str, Engine]) -> Engine:
    return databases["portal"]


@pytest.fixture
def billing(databases: dict[str, Engine]) -> Engine:
    return databases["billing"]


@pytest.fixture
def notifier(databases: dict[str, Engine]) -> Engine:
    return databases["notifier"]


def test_a_page_and_a_contact_are_found_by_account_and_id(portal: Engine) -> None:
    """And so is whose a Stripe customer is: of 10,000 customers with that id it is one."""
    small = {"method_changes", "subscriptions", "cancellation_requests", "account_states"}
    small |= {
        "link_evidence",
        "customer_aliases",
        "businesses",
    }  # one's business is found by its key or with all others' together

    def ask(session: Session) -> None:
        ids = [seed.public_id(number * 7) for number in range(1, 17)]
        assert len(page.lookup_many(session, ids, NOW)) == 16
        wanted = StripeCustomer(ACCOUNT, "cus_3")
        (found,) = people.contacts(session, stripe_customers={wanted}, public_ids=[], now=NOW)
        assert found
        customer = people.customer_of_stripe(session, wanted)
        assert customer is not None
        assert customer.account == ACCOUNT
        links.named_already(session, Merchant(ACCOUNT), "a77", {"c77"})

    assert full_scans(portal, ask, small) == []
    assert not any("Seq Scan on businesses" in plan for plan in plans(portal, ask))


def test_a_webhook_is_stored_by_account_and_id(billing: Engine) -> None:
    """What is new is told from what is known, of 10,000 events with that id, and counted where it is not new."""
    event = parse_event(b'{"id": "evt_7", "type": "invoice.paid", "data": {"object": {}}}', ACCOUNT)
    again = parse_event(
        b'{"id": "evt_new", "type": "invoice.paid", "data": {"object": {}}}', ACCOUNT
    )

    def store(session: Session) -> None:
        rows = [(one, "{}", Translation(Status.IGNORED)) for one in (event, again)]
        assert intake.store(session, rows, NOW, subscriptions={again.name: "sub_7"}) == {
            again.name: True
        }
        inbox.count_deliveries(session, {StripeId(ACCOUNT, "evt_7"): 1}, NOW)
        assert len(inbox.payloads_about(session, ACCOUNT, ["in_7"])) == 1

    assert full_scans(billing, store, {"payment_method_changes"}) == []


def test_what_waits_for_its_account_is_found_among_what_waits(billing: Engine) -> None:
    """Asked twice a minute: it reads the partial index of what waits, and never the inbox."""
    known = [
        KnownAccount(Account(f"acct_{n}"), Way.CONNECTED, AccountState.CONNECTED, livemode=False)
        for n in range(1, ACCOUNTS + 1)
    ]
    directory = Directory(livemode=False, accounts=known)

    def ask(session: Session) -> None:
        waiting = inbox.account_that_waits(session, directory)
        assert waiting is not None
        assert inbox.lock_waiting(session, waiting, 100)

    found = plans(billing, ask)
    assert not any("Seq Scan on inbox" in plan for plan in found)


def test_own_keys_that_wait_are_found_among_what_waits(billing: Engine) -> None:
    """Also with a thousand accounts in the file."""
    known = [
        KnownAccount(Account(f"acct_{n}"), Way.OWN_KEY, AccountState.CONNECTED, livemode=False)
        for n in range(9000, ACCOUNTS + 1)
    ]
    directory = Directory(livemode=False, accounts=known)

    def ask(session: Session) -> None:
        assert inbox.account_that_waits(session, directory) is not None

    assert not any("Seq Scan on inbox" in plan for plan in plans(billing, ask))


def test_the_accounts_that_changed_are_read_alone(billing: Engine) -> None:
    """Every five seconds, by each replica: of 10,000 accounts those that changed lately."""
    read: list[int] = []

    def ask(session: Session) -> None:
        read.append(len(of_accounts.all_accounts(session, NOW - dt.timedelta(minutes=5))))

    plans(billing, ask)
    assert read == [0]


def test_an_email_and_its_incident_are_found_by_account_and_id(notifier: Engine) -> None:
    """What is due of all accounts, what is due of others than those of a storm, and the incidents of both."""

    def lease(**beside: Any) -> Callable[[Session], None]:
        def ask(session: Session) -> None:
            later = NOW + dt.timedelta(hours=1)
            assert len(lease_due(session, later, 16, **beside)) == 16
            assert len(lock_incidents(session, [StripeId(ACCOUNT, "in_3")])) == 1

        return ask

    for beside in ({}, {"beside": Beside(frozenset({"acct_5", "acct_6"}), 2)}):
        assert full_scans(notifier, lease(**beside), set()) == []
