"""Growth: the hot statements go by an index on tables of 100,000 rows and more, whatever PostgreSQL knows of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

from local.servers import PostgreSQL
from services.billing.queries import intake
from services.billing.queries.inbox import payloads_about
from services.billing.queries.outbox import OUTBOX
from services.billing.retention import RULES as BILLINGS_RULES
from services.billing.stripe_events.payloads import parse_event
from services.billing.stripe_events.translation import Status, Translation
from services.notifier.handlers.events import handle_invoices
from services.notifier.queries import observed
from services.notifier.queries.incidents import note_mailed, store_incidents
from services.notifier.queries.leases import lease_due
from services.notifier.queries.notifications import lock_to_send, store_sent
from services.notifier.queries.sendgrid_events import sent_as
from services.notifier.queries.waiting import waiting_as
from services.notifier.retention import RULES as NOTIFIERS_RULES
from services.portal.domain.linking import CustomerRef, Source
from services.portal.handlers.evidence import Evidence, take_in
from services.portal.queries import billing_sync, links, page
from services.portal.queries import customers as people
from shared.contracts.accounts import OWN, Merchant, StripeCustomer, StripeId
from shared.events import Event, InvoicePaymentFailed
from shared.prepared import MARK, spelled
from shared.retention import RETENTION, prune_batch
from tests.bench import seed
from tests.unit import accounts

CUSTOMERS = 100_000
ROWS = 100_000
DUE = 1000
OBSERVED = 20_000
NOTIFIERS_ROWS = (
    "INSERT INTO incidents (invoice_id, stripe_customer_id, status, last_attempt, currency, amount_due, amount_paid, "
    "opened_at, closed_at) SELECT 'in_' || n, 'cus_' || n, 'paid', 1, 'usd', 100, 0, now(), now() "
    "FROM generate_series(1, %(rows)s) AS n",
    "INSERT INTO notifications (notification_id, dedupe_key, attempt_key, kind, status, invoice_id, attempt, "
    "stripe_customer_id, correlation_id, created_at, due_at, attempts, lookups, unconfirmed_posts, provider_message_id) "
    "SELECT 'ntf_' || n, 'k' || n, 'in_' || n || '/1', 'payment_failed', "
    "CASE WHEN n > %(rows)s - %(due)s THEN 'pending' ELSE 'sent' END, 'in_' || n, 1, 'cus_' || n, 'evt_' || n, "
    "now(), now(), 1, 0, 0, 'msg_' || n FROM generate_series(1, %(rows)s) AS n",
    "INSERT INTO notifications (notification_id, dedupe_key, kind, status, attempt, stripe_customer_id, correlation_id, created_at, "
    "due_at, attempts, lookups, unconfirmed_posts, business_id, finished_at) "
    "SELECT 'ntf_o' || n, 'o' || n, 'payment_failed', 'observed', 1, 'cus_' || n, 'evt_' || n, now(), now(), 1, 0, 0, 'b' || n %% 40, "
    "now() FROM generate_series(1, %(observed)s) AS n",
    "INSERT INTO processed_events (event_id, type, outcome, processed_at) "
    "SELECT 'evt_' || n, 'invoice.payment_failed', '', now() FROM generate_series(1, %(rows)s) AS n",
    "INSERT INTO sendgrid_events (sg_event_id, notification_id, event, occurred_at, received_at) "
    "SELECT 'sg_' || n, 'ntf_' || n, 'delivered', now(), now() FROM generate_series(1, %(rows)s) AS n",
)
NOW = dt.datetime.now(dt.UTC)

Plans = Callable[[Callable[[Session], Any]], str]


@pytest.fixture(scope="module")
def portal(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Engine]:
    """The portal's tables with a hundred thousand customers."""
    url = postgres.create_database("plans_portal", template=migrated("portal"))
    with postgres.connection("plans_portal") as connection:
        seed.seed_portal(connection, CUSTOMERS)
    engine = create_engine(url)
    accounts.watch(engine)
    yield engine
    engine.dispose()
    postgres.drop_database("plans_portal")


@pytest.fixture(scope="module")
def billing(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Engine]:
    """Billing's inbox with 100,000 webhooks; its outbox with as many published rows, and three that wait."""
    url = postgres.create_database("plans_billing", template=migrated("billing"))
    with postgres.connection("plans_billing") as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox (event_id, dedupe_key, type, body, created_at, published_at, attempts, next_attempt_at) "
            "SELECT 'e' || n, 'k' || n, 'invoice.paid', '{}', now(), "
            "CASE WHEN n > %(rows)s THEN NULL ELSE now() END, 0, now() FROM generate_series(1, %(rows)s + 3) AS n",
            {"rows": ROWS},
        )
        cursor.execute(
            "INSERT INTO inbox (id, type, received_at, status, payload, object_id, stripe_customer_id) "
            "SELECT 'evt_' || n, 'invoice.payment_failed', now(), 'translated', '{}', 'in_' || n / 2, 'cus_' || n / 9 "
            "FROM generate_series(1, %(rows)s) AS n",
            {"rows": ROWS},
        )
        cursor.execute("ANALYZE")
    engine = create_engine(url)
    accounts.watch(engine)
    yield engine
    engine.dispose()
    postgres.drop_database("plans_billing")


@pytest.fixture(scope="module")
def notifier(postgres: PostgreSQL, migrated: Callable[[str], str]) -> Iterator[Engine]:
    """The notifier's tables with 100,000 emails that were sent, a thousand that are due, 20,000 that were observed, and
    what belongs to them."""
    url = postgres.create_database("plans_notifier", template=migrated("notifier"))
    with postgres.connection("plans_notifier") as connection, connection.cursor() as cursor:
        for statement in NOTIFIERS_ROWS:
            cursor.execute(statement, {"rows": ROWS, "due": DUE, "observed": OBSERVED})
        cursor.execute("ANALYZE")
    engine = create_engine(url)
    accounts.watch(engine)
    yield engine
    engine.dispose()
    postgres.drop_database("plans_notifier")


def plans(engine: Engine, work: Callable[[Session], Any]) -> list[str]:
    """The plan of each statement that `work` sends, as EXPLAIN tells it; of one that is prepared for no values in particular."""
    sent: list[tuple[str, Any, bool]] = []

    def note(
        connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        values = parameters[0] if isinstance(parameters, list) else parameters
        sent.append((statement, values, MARK in context.execution_options))

    event.listen(engine, "before_cursor_execute", note)
    try:
        with Session(engine) as session:
            work(session)
            session.rollback()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    told = []
    with engine.connect() as connection:
        for statement, parameters, is_prepared in sent:
            if is_prepared:
                prepare, forget, statement = spelled(statement)
                connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
                connection.connection.cursor().execute(prepare)
            rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            told.append("\n".join(row[0] for row in rows))
            if is_prepared:
                connection.exec_driver_sql(forget)
    return told


def full_scans(engine: Engine, work: Callable[[Session], Any], small: set[str]) -> list[str]:
    """The lines of the plans that read a whole table, but for tables that are small by nature (or empty here)."""
    return [
        line.strip()
        for plan in plans(engine, work)
        for line in plan.splitlines()
        if "Seq Scan on" in line and line.split("Seq Scan on ")[1].split()[0] not in small
    ]


@pytest.mark.parametrize("together", [1, 16, 128])
def test_a_look_reads_no_whole_table(portal: Engine, together: int) -> None:
    """All that a page shows is found by indexes, for one customer and for a batch."""
    ids = [seed.public_id(number * 7) for number in range(1, together + 1)]

    def look(session: Session) -> None:
        assert len(page.lookup_many(session, ids, NOW)) == together

    small = {
        "businesses",
        "method_changes",
        "subscriptions",
        "cancellation_requests",
        "account_states",
    }
    assert full_scans(portal, look, small) == []


@pytest.mark.parametrize("together", [1, 128])
def test_contacts_read_no_whole_table(portal: Engine, together: int) -> None:
    """The notifier's question goes by the unique index of the id that it knows."""
    ids = [f"cus_{number * 7}" for number in range(1, together + 1)]

    def ask(session: Session) -> None:
        found = people.contacts(
            session,
            stripe_customers={StripeCustomer(OWN, one) for one in ids},
            public_ids=[],
            now=NOW,
        )
        assert len(found) == together

    small = {"businesses", "account_states", "link_evidence", "customer_aliases"}
    assert full_scans(portal, ask, small) == []


def test_what_billing_is_asked_about_is_found_among_what_is_open(portal: Engine) -> None:
    """Each failed charge wakes this question, while a hundred thousand invoices are open of which nothing is to be asked."""
    with portal.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE invoices SET last_failed_at = now(), card_of_failure = NULL WHERE invoice_id IN "
            "(SELECT invoice_id FROM invoices WHERE status = 'open' ORDER BY invoice_id LIMIT 3)"
        )
        connection.exec_driver_sql("ANALYZE invoices")

    def ask(session: Session) -> None:
        days = dt.timedelta(days=1)
        found = billing_sync.invoices_to_ask_about(
            session,
            NOW + days,
            5,
            failed_since=NOW - days,
            tried_since=NOW - 14 * days,
            changed_between=(NOW - days, NOW),
        )
        assert len(found) == 3

    (plan,) = plans(portal, ask)
    assert "Seq Scan on invoices" not in plan


@pytest.fixture(scope="module")
def named(portal: Engine) -> tuple[str, str]:
    """Evidence on nearly every customer; the host's ids of one, and of their business."""
    with portal.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO link_evidence (stripe_customer_id, source, object_id, customer_ref, denies, said_at, noted_at) "
            "SELECT platform_stripe_customer_id, 'metadata', platform_stripe_customer_id, public_id, false, now(), now() "
            "FROM customers WHERE platform_stripe_customer_id IS NOT NULL AND id > 10"
        )
        connection.exec_driver_sql("UPDATE customers SET link_source = 'metadata' WHERE id > 10")
        connection.exec_driver_sql("ANALYZE")
        external_id, business_id = connection.exec_driver_sql(
            "SELECT external_id, business_id FROM customers JOIN businesses ON businesses.id = business_pk "
            "WHERE customers.id = 77"
        ).one()
    return external_id, business_id


def test_an_upsert_of_a_customer_reads_no_whole_table(
    portal: Engine, named: tuple[str, str]
) -> None:
    """Each host tells of all its customers every night."""
    external_id, business_id = named

    def upsert(session: Session) -> None:
        found = people.before_upsert(session, business_id, external_id)
        assert found is not None
        assert people.change_customer(session, found.id, {"name": "New", "updated_at": NOW})

    assert full_scans(portal, upsert, {"businesses"}) == []


def test_evidence_is_decided_without_reading_a_whole_table(
    portal: Engine, named: tuple[str, str]
) -> None:
    """Who is whose is found by indexes: what names a customer by either id, what is said of a Stripe customer, whose link
    nobody speaks for."""
    external_id, business_id = named

    def decide(session: Session) -> None:
        said = [
            Evidence(
                *(OWN, f"evt_{n}", f"evt_{n}", f"cus_{n}", f"sub_{n}", Source.METADATA, NOW),
                names=names,
            )
            for n, names in enumerate(
                (CustomerRef(seed.public_id(70)), CustomerRef(external_id, business_id)), 14
            )
        ]
        assert take_in(session, said, NOW) == [True, True]
        assert links.named_already(session, Merchant(OWN), business_id, {external_id}) == {
            external_id
        }
        assert links.unknown_links(session, None, 0, 100)

    small = {"businesses", "link_conflicts", "deleted_stripe_customers", "cancellation_requests"}
    assert full_scans(portal, decide, small | {"customer_aliases"}) == []


def test_the_relay_reads_only_what_waits(billing: Engine) -> None:
    """With 100,000 published rows the relay's question goes by the partial index of what is not."""

    def due(session: Session) -> None:
        assert len(OUTBOX.due(session, NOW + dt.timedelta(hours=1), 100)) == 3

    (plan,) = plans(billing, due)
    assert "ix_outbox_unpublished" in plan
    assert "Seq Scan" not in plan


def test_the_backlog_reads_only_what_waits(billing: Engine) -> None:
    """The metric that is asked for every few seconds does not count the published rows."""
    (plan,) = plans(billing, lambda session: OUTBOX.backlog(session, NOW))
    assert "ix_outbox_unpublished" in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize("together", [1, 100])
def test_what_webhooks_told_of_invoices_is_found_by_them(billing: Engine, together: int) -> None:
    """Looking again without Stripe reads the inbox by the invoice, not whole."""
    ids = [f"in_{number * 7}" for number in range(1, together + 1)]

    def look(session: Session) -> None:
        assert len(payloads_about(session, OWN, ids)) == 2 * together

    assert full_scans(billing, look, set()) == []


def test_a_webhook_is_stored_without_reading_the_inbox(billing: Engine) -> None:
    """What is new is told from what is known by the primary key alone, however many webhooks there are."""
    event = parse_event(b'{"id": "evt_7", "type": "invoice.paid", "data": {"object": {}}}')
    again = parse_event(b'{"id": "evt_new", "type": "invoice.paid", "data": {"object": {}}}')

    def store(session: Session) -> None:
        rows = [(one, "{}", Translation(Status.IGNORED)) for one in (event, again)]
        assert intake.store(session, rows, NOW) == {StripeId(OWN, "evt_new"): False}

    (plan,) = plans(billing, store)
    assert "Conflict Resolution: NOTHING" in plan
    assert full_scans(billing, store, {"payment_method_changes", "platform_refusals"}) == []


@pytest.mark.parametrize("service", ["billing", "notifier"])
def test_forgetting_reads_only_what_is_old(
    service: str, billing: Engine, notifier: Engine, request: pytest.FixtureRequest
) -> None:
    """With nothing old in 100,000 rows a table the hourly round of the retention rules reads none of them whole."""
    engine: Engine = request.getfixturevalue(service)
    rules = {"billing": BILLINGS_RULES, "notifier": NOTIFIERS_RULES}[service]

    def prune(session: Session) -> None:
        assert set(prune_batch(session, rules, NOW - RETENTION).values()) == {0}

    # New cards, accounts, imports and runs are few; the notifier's outbox and its webhooks to hosts are empty here.
    small = {"recoveries", "recovery_runs", "payment_tries"}
    small |= {"payment_method_changes", "payment_method_change_events"}
    small |= {"platform_refusals", "spent_codes", "stripe_reads", "stripe_import_customers"}
    hooks = {"hook_events", "hook_deliveries", "hook_attempts"}
    small |= {"outbox", *hooks, "welcome_runs"} if service == "notifier" else set()
    assert full_scans(engine, prune, small) == []


def test_what_is_due_is_found_among_what_was_sent(notifier: Engine) -> None:
    """The sender's question goes by the partial index of what is not over, and takes its incidents by their keys."""

    def lease(session: Session) -> None:
        assert len(lease_due(session, NOW + dt.timedelta(hours=1), 16)) == 16

    found = plans(notifier, lease)
    assert "ix_notifications_due" in found[0]
    assert full_scans(notifier, lease, set()) == []


@pytest.mark.parametrize("business_id", [None, "b7"])
def test_what_was_observed_is_read_page_by_page(notifier: Engine, business_id: str | None) -> None:
    """Of one business and of all: a page goes by the partial index, from the last one's place on; all together are not sorted."""

    def pages(session: Session) -> None:
        rows = observed.page(session, business_id=business_id, since=None, after=None, limit=200)
        assert len(rows) == 200
        after = rows[-1]
        more = observed.page(session, business_id=business_id, since=None, after=after, limit=200)
        ids = [one.notification_id for one in (*rows, *more)]
        assert len(set(ids)) == 400

    for plan in plans(notifier, pages):
        assert "ix_notifications_observed" in plan
        assert business_id is not None or "Sort" not in plan


@pytest.mark.parametrize("together", [1, 24])
def test_events_about_invoices_read_no_whole_table(notifier: Engine, together: int) -> None:
    """A batch of failures, on known invoices: claims, incidents, what was told, and the new rows, all by indexes."""
    batch = [
        Event(
            id=f"evt_new_{number}",
            occurred_at=NOW,
            correlation_id="evt",
            data=InvoicePaymentFailed(
                invoice_id=f"in_{number}",
                stripe_customer_id=f"cus_{number}",
                status="open",
                currency="usd",
                amount_due=100,
                amount_remaining=100,
                attempt_count=2,
            ),
        )
        for number in range(1, together + 1)
    ]

    def hear(session: Session) -> None:
        assert len(handle_invoices(session, batch, NOW)) == together

    assert full_scans(notifier, hear, {"deleted_customers"}) == []


@pytest.mark.parametrize("together", [1, 16])
def test_locking_what_goes_out_reads_no_whole_table(notifier: Engine, together: int) -> None:
    """The rows and incidents of a batch of emails are locked, and written back, by their keys."""
    numbers = range(1, together + 1)

    def lock(session: Session) -> None:
        invoices = [StripeId(OWN, f"in_{number}") for number in numbers]
        incidents, rows = lock_to_send(
            session,
            [f"ntf_{number}" for number in numbers],
            invoices,
            [StripeCustomer(OWN, f"cus_{number}") for number in numbers],
        )
        assert len(incidents) == len(rows) == together
        store_incidents(session, incidents.values())
        note_mailed(session, incidents.values())
        store_sent(session, rows.values())

    assert full_scans(notifier, lock, set()) == []


def test_a_bounce_and_a_new_link_find_their_emails_by_an_index(notifier: Engine) -> None:
    """By the name that SendGrid gave the message, and by the Stripe customer."""

    def find(session: Session) -> None:
        assert sent_as(session, {f"msg_{number}" for number in range(1, 17)})["msg_7"] == "ntf_7"
        assert not waiting_as(session, StripeCustomer(OWN, "cus_7"))

    assert full_scans(notifier, find, set()) == []
