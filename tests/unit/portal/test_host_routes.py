"""What hosts ask over HTTP about failures and events, and how they have a person forgotten."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update
from structlog.testing import capture_logs

from services.portal.handlers import customers
from services.portal.handlers import host_events as listing
from services.portal.handlers.host_events import LISTED
from services.portal.models import (
    BusinessRow,
    CustomerAliasRow,
    CustomerRow,
    HostEventRow,
    InvoiceRow,
)
from services.portal.queries import host_events
from services.portal.retention import RULES
from services.portal.service import PortalService
from services.portal.web.api.problems import CODES
from shared.contracts.host_api import EventPageArguments
from shared.contracts.host_events import webhook_id
from shared.contracts.rpc.errors import RemoteFault
from shared.contracts.rpc.portal import BusinessArguments
from shared.database import Transactions
from shared.events import CustomerDeleted, SubscriptionUpdated
from shared.nameko_ext.rpc import RpcTimeout
from shared.retention import RETENTION, prune_round
from tests.unit.portal.api_host import ApiHost, query
from tests.unit.portal.builders import event, failed, paid

NOW = dt.datetime.now(dt.UTC)
ADA = {
    "business_id": "sunrise",
    "external_id": "1001",
    "name": "Ada Lindqvist",
    "email": "ada@example.com",
    "platform_stripe_customer_id": "cus_ada",
}


@pytest.fixture
def ada(host: ApiHost, key: str) -> str:
    """Portico's id of a customer."""
    return str(host.ok("POST", "/customers", key, ADA)["customer_id"])


def happens(host: ApiHost, *told: Any, at: dt.datetime = NOW) -> None:
    """Billing tells of something, and the portal takes it in, as its consumer does."""
    for one in told:
        PortalService.on_events(host.portal, [event(one, at)])


# -- events


def listed(host: ApiHost, key: str, since: str | None = None, **more: Any) -> tuple[list[Any], str]:
    """Everything after a cursor, page by page, and the next cursor."""
    found: list[Any] = []
    while True:
        asked = {"limit": 2, **more, **({"since": since} if since else {})}
        page = host.ok("GET", "/events" + query(**asked), key)
        found, since = found + page["data"], page["next"]
        if not page["has_more"]:
            return found, str(since)


def test_events_come_once_each_after_a_cursor(host: ApiHost, key: str, ada: str) -> None:
    """What the host is told over RabbitMQ, thin: with the ids to ask by. The same event again is none."""
    happens(host, failed(stripe_customer_id="cus_ada"), paid(stripe_customer_id="cus_ada"))
    found, since = listed(host, key)
    assert [one["type"] for one in found] == [
        "customer.link_changed", "invoice.payment_failed", "invoice.paid",
    ]  # fmt: skip
    assert [one["id"] for one in found] == [webhook_id(one["event_id"]) for one in found]
    assert found[1]["version"] < found[2]["version"]
    assert found[1] | {"id": "", "version": 0, "event_id": "", "occurred_at": ""} == {
        "id": "", "version": 0, "event_id": "", "type": "invoice.payment_failed", "occurred_at": "", "account": "", "business_id": "sunrise",
        "customer_id": ada, "stripe_customer_id": "cus_ada", "invoice_id": "in_1", "subscription_id": "sub_1",
    }  # fmt: skip
    assert listed(host, key, since) == ([], since)
    again = event(failed(stripe_customer_id="cus_ada"), NOW, "evt_twice/invoice.payment_failed")
    for _ in range(2):
        PortalService.on_events(host.portal, [again])
    more, _ = listed(host, key, since)
    assert [one["event_id"] for one in more] == ["evt_twice/invoice.payment_failed"]


@pytest.mark.whole
def test_a_business_hears_its_own_and_the_installation_all(
    host: ApiHost, key: str, ada: str
) -> None:
    """What is about nobody that is known the installation alone hears of."""
    happens(
        host, failed(stripe_customer_id="cus_ada"), CustomerDeleted(stripe_customer_id="cus_who")
    )
    everything, _ = listed(host, key)
    assert [one["business_id"] for one in everything] == ["sunrise", "sunrise", None]
    assert listed(host, key, business_id="sunrise")[0] == everything[:2]
    assert listed(host, host.key("sunrise"))[0] == everything[:2]
    assert listed(host, host.key("other"))[0] == []


@pytest.mark.whole
def test_of_one_stripe_customer_each_business_of_a_platform_lists_its_own(
    host: ApiHost, key: str
) -> None:
    """Charged on behalf of two, by one account: neither lists the other's invoice, and what is on nobody's behalf neither of them."""
    for name in ("alder", "birch"):
        merchant = {"on_behalf_of": f"acct_{name}"}
        with host.db.transaction() as session:
            customers.upsert_business(
                session, BusinessArguments(business_id=name, name=name, **merchant), NOW
            )
        host.ok("POST", "/customers", key, ADA | {"business_id": name})
        happens(host, failed(stripe_customer_id="cus_ada", invoice_id=f"in_{name}", **merchant))
    happens(host, failed(stripe_customer_id="cus_ada", invoice_id="in_nobody"))
    for name in ("alder", "birch"):
        told = {one["invoice_id"] for one in listed(host, host.key(name))[0]}
        assert told - {None} == {f"in_{name}"}


@pytest.mark.whole
@given(st.data())
def test_nothing_is_left_out_whichever_transaction_ends_first(data: st.DataObject) -> None:
    """Rows appear in another order than that of their ids, as transactions end; a reader between them misses none."""
    host = ApiHost()
    key = host.key()
    order = data.draw(st.permutations(range(6)))
    seen: list[str] = []
    since: str | None = None
    for number in order:
        with host.db.transaction() as session:
            host_events.add(session, [
                {"id": number + 1, "event_id": f"evt_{number}", "type": "invoice.paid", "occurred_at": NOW,
                 "noted_at": NOW, "account": ""},
            ])  # fmt: skip
        if data.draw(st.booleans()):
            found, since = listed(host, key, since)
            seen += [one["event_id"] for one in found]
    found, _ = listed(host, key, since)
    seen += [one["event_id"] for one in found]
    assert sorted(seen) == sorted(f"evt_{number}" for number in range(6))
    assert len(seen) == 6


@pytest.mark.whole
def test_a_cursor_older_than_what_is_kept_is_refused(host: ApiHost, key: str, ada: str) -> None:
    """Instead of leaving out in silence what has been forgotten; what is forgotten is older than any cursor that is taken."""
    happens(host, failed(stripe_customer_id="cus_ada"))
    listed(host, key)
    old = host_events.place_of(NOW - RETENTION - dt.timedelta(days=1))
    told = host.send("GET", "/events" + query(since=str(old)), key)
    assert (told.status, told.json["errors"][0]["field"]) == (400, "since")
    later = dt.datetime.now(dt.UTC) + RETENTION + dt.timedelta(minutes=1)
    kept = host_events.place_of(later - RETENTION)
    with host.db.transaction() as session:
        session.execute(
            update(HostEventRow).where(HostEventRow.type == "invoice.payment_failed").values(position=kept)
        )  # fmt: skip
    prune_round(host.db, RULES, later)
    with host.db.reading() as session:
        assert list(session.scalars(select(HostEventRow.type))) == ["invoice.payment_failed"]


def test_places_grow_when_everything_before_is_forgotten(host: ApiHost, key: str) -> None:
    """A cursor of before finds what comes after, be the table empty or put back to an older state."""
    row = {
        "event_id": "e",
        "type": "invoice.paid",
        "occurred_at": NOW,
        "noted_at": NOW,
        "account": "",
    }
    with host.db.transaction() as session:
        host_events.add(session, [row])
    (_,), since = listed(host, key)
    with host.db.transaction() as session:
        session.query(HostEventRow).delete()
        host_events.add(session, [row])
        host_events.place(session, dt.datetime.now(dt.UTC))
    assert len(listed(host, key, since)[0]) == 1


@pytest.mark.whole
def test_no_event_is_written_down_without_the_api(host: ApiHost, key: str, ada: str) -> None:
    """Whoever doesn't use it doesn't pay for it."""
    host.portal.db = Transactions(host.db.engine, info={LISTED: False})
    happens(host, failed(stripe_customer_id="cus_ada"))
    host.ok("POST", "/customers", key, ADA | {"platform_stripe_customer_id": "cus_new"})
    host.portal.db = host.db
    assert [one["type"] for one in listed(host, key)[0]] == ["customer.link_changed"]
    with host.db.reading() as session:
        linked = select(CustomerRow.platform_stripe_customer_id).where(CustomerRow.public_id == ada)
        assert session.scalar(linked) == "cus_new"


def test_what_others_wait_for_is_no_reason_to_ask_again(host: ApiHost, key: str, ada: str) -> None:
    """A business whose own events all have their places has seen them all, whatever comes for others meanwhile."""
    happens(host, failed(stripe_customer_id="cus_ada"))
    with host.db.transaction() as session:
        pks = dict(map(tuple, session.execute(select(BusinessRow.business_id, BusinessRow.id))))
        host_events.place(session, dt.datetime.now(dt.UTC))
        row = {"event_id": "e", "type": "t", "occurred_at": NOW, "noted_at": NOW, "account": ""}
        host_events.add(session, [row | {"business_pk": pks["sunrise"]}])
        more = {}
        for whose, pk in {**pks, None: None}.items():
            asked = EventPageArguments(limit=50)
            more[whose] = listing.listed(session, asked, pk, NOW).has_more
    assert more == {"sunrise": True, "other": False, None: True}


def test_a_cursor_is_digits(host: ApiHost, key: str) -> None:
    """Anything else is refused, in words."""
    for bad in ("", "x", "-1", "1e3", "1" * 19, "٣", "1\n"):
        told = host.send("GET", "/events" + query(since=bad), key)
        assert (told.status, told.json["detail"]) == (
            400,
            "since: expected the `next` of an answer",
        )
    assert listed(host, key, "9" * 18) == ([], "9" * 18)


# -- incidents

EMAIL = {
    "notification_id": "ntf_1", "kind": "payment_failed", "status": "sent", "invoice_id": "in_1",
    "created_at": "2026-03-03T17:00:00Z", "due_at": "2026-03-03T17:00:00Z", "sent_at": "2026-03-03T17:00:01Z",
    "last_error": "not for hosts",
}  # fmt: skip


@pytest.mark.whole
def test_an_incident_has_its_emails(host: ApiHost, key: str, ada: str) -> None:
    """The invoice by the portal, the emails by the notifier."""
    happens(host, failed(stripe_customer_id="cus_ada"))
    host.notifier.answers["emails_of_invoices"] = [[EMAIL], [EMAIL]]
    one = host.ok("GET", "/incidents/in_1?business_id=sunrise", key)
    assert (one["customer_id"], one["external_id"], one["business_id"]) == (ada, "1001", "sunrise")
    assert (one["status"], one["amount_remaining"], one["closed_at"]) == ("open", 12900, None)
    assert one["emails"] == [{
        "notification_id": "ntf_1", "kind": "payment_failed", "status": "sent", "reason": None,
        "created_at": "2026-03-03T17:00:00Z", "sent_at": "2026-03-03T17:00:01Z", "delivered_at": None,
    }]  # fmt: skip
    assert host.notifier.calls == [("emails_of_invoices", {"invoice_ids": ["in_1"]})]
    page = host.ok("GET", "/incidents", host.key("sunrise"))
    assert page == {"data": [one], "has_more": False}


def test_what_was_paid_elsewhere_came_in(host: ApiHost, key: str, ada: str) -> None:
    """Stripe may name no amount of it."""
    happens(host, failed(stripe_customer_id="cus_ada"))
    happens(host, paid(stripe_customer_id="cus_ada", amount_due=12900, amount_paid=0))
    host.notifier.answers["emails_of_invoices"] = [[]]
    one = host.ok("GET", "/incidents/in_1?business_id=sunrise", key)
    assert (one["status"], one["amount_paid"]) == ("paid", 12900)


@pytest.mark.whole
def test_incidents_come_in_pages_the_latest_first(host: ApiHost, key: str, ada: str) -> None:
    """Of those that failed at one moment, too; open ones or closed ones alone; of one customer alone."""
    bob = {**ADA, "external_id": "2", "platform_stripe_customer_id": "cus_bob"}
    bobs = host.ok("POST", "/customers", key, bob)["customer_id"]
    for number in range(5):
        at = NOW - dt.timedelta(hours=number // 2)
        happens(host, failed(invoice_id=f"in_{number}", stripe_customer_id="cus_ada"), at=at)
    happens(host, failed(invoice_id="in_bob", stripe_customer_id="cus_bob"), at=NOW - dt.timedelta(days=1))  # fmt: skip
    happens(host, paid(invoice_id="in_3", stripe_customer_id="cus_ada"))
    happens(host, paid(invoice_id="in_ok", stripe_customer_id="cus_ada"))

    def every(**only: Any) -> list[str]:
        found: list[str] = []
        more: dict[str, str] = {}
        while True:
            asked = query(business_id="sunrise", limit=2, **only, **more)
            page = host.ok("GET", f"/incidents{asked}", key)
            found += [one["invoice_id"] for one in page["data"]]
            if not page["has_more"]:
                return found
            more = {"starting_after": found[-1]}

    assert every() == ["in_1", "in_0", "in_3", "in_2", "in_4", "in_bob"]
    assert every(open="true") == ["in_1", "in_0", "in_2", "in_4", "in_bob"]
    assert every(open="false") == ["in_3"]
    assert every(customer_id=bobs) == ["in_bob"]


@pytest.mark.parametrize(
    ("learnt", "subscription", "promised"),
    [
        ({}, "past_due", True),
        ({"needs_new_method": True}, "past_due", False),
        ({"card_of_failure": None}, "past_due", False),
        ({"next_payment_attempt": NOW - dt.timedelta(minutes=1)}, "past_due", False),
        ({"auto_advance": False, "was_advancing": True}, "past_due", False),
        ({}, "unpaid", False),
    ],
)
def test_a_date_of_the_next_try_is_told_where_the_page_promises_one(
    host: ApiHost,
    key: str,
    ada: str,
    learnt: dict[str, Any],
    subscription: str,
    promised: bool,
) -> None:
    """Not while the decline isn't known, nor after one that stops Stripe's tries, nor when it has passed or nothing is collected any
    more: hosts show it to the customer as well."""
    date = NOW + dt.timedelta(days=2)
    stands = SubscriptionUpdated(
        subscription_id="sub_1", stripe_customer_id="cus_ada", status=subscription
    )
    happens(host, stands, failed(stripe_customer_id="cus_ada", next_payment_attempt=date))
    with host.db.transaction() as session:
        session.execute(
            update(InvoiceRow).values(**{"card_of_failure": InvoiceRow.last_failed_at, **learnt})
        )
    told = [
        *host.ok("GET", f"/customers/{ada}/payment_state", key)["owed"],
        host.ok("GET", "/incidents/in_1?business_id=sunrise", key),
        *host.ok("GET", "/incidents?business_id=sunrise", key)["data"],
    ]
    dates = {one["next_payment_attempt"] for one in told}
    assert dates == ({date.isoformat().replace("+00:00", "Z")} if promised else {None})


def test_somebody_elses_incident_is_as_none(host: ApiHost, key: str, ada: str) -> None:
    """Also as the place to go on from; and the notifier is not asked."""
    happens(host, failed(stripe_customer_id="cus_ada"))
    other = host.key("other")
    for address in ("/incidents/{}", "/incidents?starting_after={}"):
        answers = {host.send("GET", address.format(one), other).text for one in ("in_1", "in_no")}
        assert len(answers) == 1
        assert '"not_found"' in answers.pop()
    assert host.send("GET", f"/incidents?customer_id={ada}", other).status == 404
    assert host.send("GET", "/incidents", key).json["errors"][0]["field"] == "business_id"
    assert host.notifier.calls == []


def test_a_notifier_that_is_away_is_told(host: ApiHost, key: str, ada: str) -> None:
    """503 with when to come back, not an incident that seems to have no emails."""
    happens(host, failed(stripe_customer_id="cus_ada"))
    host.notifier.answers["emails_of_invoices"] = [RpcTimeout("notifier")]
    told = host.send("GET", "/incidents/in_1?business_id=sunrise", key)
    assert (told.status, told.json["code"]) == (CODES["unavailable"], "unavailable")
    assert int(told.headers["Retry-After"]) > 0


# -- erasing


def test_a_customer_is_forgotten_in_one_request(host: ApiHost, key: str, ada: str) -> None:
    """In the notifier, in billing, and in the portal last; the answer says what went, and then they are gone."""
    happens(host, failed(stripe_customer_id="cus_ada"))
    host.notifier.answers["erase_customer"] = [{"deleted": 3}]
    host.billing.answers["erase_customer"] = [
        {"emptied": 2, "deleted": 0, "next": "outbox:0"}, {"emptied": 0, "deleted": 4, "next": None},
    ]  # fmt: skip
    with capture_logs() as lines:
        done = host.ok("DELETE", f"/customers/{ada}", key, Idempotency_Key="1")
    assert done == {
        "customer_id": ada, "erased": True, "notifier_rows": 3, "webhook_bodies": 2, "billing_rows": 4,
        "portal_rows": done["portal_rows"], "after": None, "same_email": [],
    }  # fmt: skip
    assert done["portal_rows"] >= 3
    assert host.billing.calls[1] == ("erase_customer", {
        "stripe_customer_id": "cus_ada", "also": [ada, "ada@example.com"], "after": "outbox:0",
    })  # fmt: skip
    (line,) = [one for one in lines if one.get("audit")]
    assert (line["customer_id"], line["outcome"]) == (ada, "ok")
    assert "ada@example.com" not in str(lines)
    with host.db.reading() as session:
        for table in (CustomerRow, InvoiceRow, HostEventRow):
            assert session.scalars(select(table)).all() == []
    assert host.ok("DELETE", f"/customers/{ada}", key, Idempotency_Key="1") == done
    assert host.send("DELETE", f"/customers/{ada}", key).status == 404
    assert len(host.notifier.calls) == 1


@pytest.mark.whole
def test_a_businesss_key_forgets_by_ids_alone(host: ApiHost, key: str, ada: str) -> None:
    """It may give its customer any address, and webhooks about another business's would go with it."""
    host.ok("DELETE", f"/customers/{ada}", host.key("sunrise"))
    assert host.billing.calls == [
        ("erase_customer", {"stripe_customer_id": "cus_ada", "also": [ada], "after": "inbox:"})
    ]


@pytest.mark.whole
def test_a_stripe_customer_that_is_anothers_too_is_not_forgotten_for_that_one(
    host: ApiHost, key: str
) -> None:
    """A platform's, of two businesses: the notifier is told whose invoices go, and billing looks for the other marks alone. Who is left
    then is forgotten whole."""
    people = []
    for business_id, behalf in (("sunrise", "acct_a"), ("other", "acct_b")):
        business = {"business_id": business_id, "name": business_id, "on_behalf_of": behalf}
        host.ok("POST", "/businesses", key, business)
        customer = {**ADA, "business_id": business_id}
        people.append(host.ok("POST", "/customers", key, customer)["customer_id"])
    happens(host, failed(stripe_customer_id="cus_ada", on_behalf_of="acct_b"))
    whose = {"stripe_customer_id": "cus_ada"}
    host.ok("DELETE", f"/customers/{people[0]}", key)
    assert host.notifier.calls == [
        ("erase_customer", {**whose, "customer_id": people[0], "on_behalf_of": "acct_a"})
    ]
    looked = {"stripe_customer_id": people[0], "also": [], "after": "inbox:"}  # no address, either
    assert host.billing.calls == [("erase_customer", looked)]
    with host.db.reading() as session:
        assert session.scalars(select(InvoiceRow.on_behalf_of)).all() == ["acct_b"]
    host.ok("DELETE", f"/customers/{people[1]}", host.key("other"))
    assert host.notifier.calls[1] == ("erase_customer", {**whose, "customer_id": people[1]})
    assert host.billing.calls[1][1]["stripe_customer_id"] == "cus_ada"


@pytest.mark.whole
def test_what_one_request_has_no_time_for_the_next_goes_on_with(
    host: ApiHost, key: str, ada: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """202 with where; the customer stays until all is done, so nothing is lost when nobody goes on."""
    monkeypatch.setattr("services.portal.adapters.erasing.ERASING", 0.0)
    told = host.send("DELETE", f"/customers/{ada}", key)
    assert (told.status, told.json["erased"], told.json["after"]) == (202, False, "inbox:")
    host.ok("GET", f"/customers/{ada}", key)
    monkeypatch.setattr("services.portal.adapters.erasing.ERASING", 5.0)
    done = host.ok("DELETE", f"/customers/{ada}" + query(after="inbox:"), key)
    assert done["erased"]
    assert len(host.notifier.calls) == 1


@pytest.mark.whole
def test_an_erasure_that_can_not_go_on_forgets_no_customer(
    host: ApiHost, key: str, ada: str
) -> None:
    """A service is away, or the place is none; the same request may come again."""
    for answers in (host.notifier.answers, host.billing.answers):
        answers["erase_customer"] = [RpcTimeout("away")]
        told = host.send("DELETE", f"/customers/{ada}", key, Idempotency_Key="1")
        assert told.json["code"] == "unavailable"
        host.ok("GET", f"/customers/{ada}", key)
    host.billing.answers["erase_customer"] = [RemoteFault("InvalidArgument", "after: expected")]
    told = host.send("DELETE", f"/customers/{ada}" + query(after="x"), key)
    assert (told.status, told.json["errors"][0]["field"]) == (400, "after")
    host.ok("DELETE", f"/customers/{ada}", key, Idempotency_Key="1")


@pytest.mark.whole
def test_who_was_merged_is_forgotten_under_every_id(host: ApiHost, key: str, ada: str) -> None:
    """Emails and events of before the merge carry the enrolled customer's id alone; asked for by that id, the same."""
    with host.db.transaction() as session:
        enrolled = CustomerAliasRow(
            public_id="E" * 22,
            customer_pk=session.scalars(select(CustomerRow.id)).one(),
            link_generation=1,
            customer_generation=1,
        )
        session.add(enrolled)
    host.ok("DELETE", f"/customers/{'E' * 22}", key)
    assert host.notifier.calls == [
        ("erase_customer", {"customer_id": ada, "stripe_customer_id": "cus_ada"}),
        ("erase_customer", {"customer_id": "E" * 22}),
    ]
    looked = host.billing.calls[0][1]
    assert looked["also"] == [ada, "E" * 22, "ada@example.com"]
