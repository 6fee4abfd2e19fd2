"""The HTTP API for host applications: what its routes do, and what they refuse."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import eventlet
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from services.portal.domain.api_keys import new_key
from services.portal.domain.people import COLUMNS
from services.portal.models import (
    AppointmentRow,
    BusinessRow,
    CustomerRow,
    IdempotentRequestRow,
)
from services.portal.web.api.entrypoints import SAME_TIME, WAITING_BULKS
from services.portal.web.api.problems import CODES
from services.portal.web.entrypoints import NOTHING_HERE_SECONDS
from services.portal.web.limiter import Limiter
from shared.contracts.host_api import CustomerEntry
from shared.contracts.rpc.api_keys import SCOPES
from shared.database import DatabaseUnavailable
from tests.unit import tables
from tests.unit.portal.api_host import ApiHost, Told, query, routes

BUSINESS = {"business_id": "sunrise", "name": "Sunrise Home Cleaning", "color": "#c2410c"}
ADA = {
    "business_id": "sunrise",
    "external_id": "1001",
    "name": "Ada Lindqvist",
    "email": "ada@example.com",
    "locale": "en_US",
}


@pytest.fixture
def key(host: ApiHost) -> str:
    return tables.filled(host.db.engine, with_key, host)


def with_key(host: ApiHost) -> str:
    """The key of a host that has told of its businesses."""
    made = host.key()
    host.ok("POST", "/businesses", made, BUSINESS)
    host.woken.clear()
    return made


@pytest.fixture
def ada(host: ApiHost, key: str) -> str:
    """Portico's id of a customer."""
    return str(host.ok("POST", "/customers", key, ADA)["customer_id"])


def refused(told: Told, code: str, field: str | None = None) -> None:
    """The answer is a whole problem with this code, about this field."""
    assert told.headers["Content-Type"] == "application/problem+json"
    assert (told.json["code"], told.status) == (code, CODES[code])
    assert (told.json["status"], told.json["type"]) == (told.status, "about:blank")
    assert [one["field"] for one in told.json["errors"]] == ([] if field is None else [field])


# -- who asks


def test_every_bad_key_gets_the_same_answer(host: ApiHost, key: str) -> None:
    """Missing, mangled, of another mode, unknown, revoked: nothing tells which; and after the same time."""
    good = new_key("test")
    answers = set()
    for header in (
        "", "Bearer", f"Bearer {good}", f"Bearer {good[:-1]}", f"Basic {key}", f"Bearer {new_key('live')}",
        f"Bearer {key} {key}", "Bearer " + "x" * 8000,
    ):  # fmt: skip
        began = time.monotonic()
        told = host.send("GET", "/businesses", None, Authorization=header)
        assert told.not_before - began >= NOTHING_HERE_SECONDS
        refused(told, "unauthorized")
        assert told.headers["WWW-Authenticate"] == 'Bearer realm="portico"'
        answers.add(told.text)
    assert len(answers) == 1


def test_a_key_that_can_be_none_costs_no_query(host: ApiHost, key: str) -> None:
    """Its checksum is wrong, or its mode."""
    before = host.questions
    for wrong in (key[:-1] + ("A" if key[-1] != "A" else "B"), new_key("live"), "portico_test_"):
        refused(host.send("GET", "/businesses", wrong), "unauthorized")
    assert host.questions == before
    refused(host.send("GET", "/businesses", new_key("test")), "unauthorized")
    assert host.questions == before + 1


@pytest.mark.whole
@pytest.mark.parametrize("name", [name for name, _ in routes()])
def test_each_route_wants_its_scope(host: ApiHost, key: str, name: str) -> None:
    """With every other scope nothing is read of the request, and nothing done."""
    (one,) = (route for other, route in routes() if other == name)
    weak = host.key(scopes=[scope for scope in SCOPES if scope != one.scope])
    told = host.send(one.method, re.sub("<[^>]+>", "x", one.path), weak, {})
    refused(told, "insufficient_scope")
    assert one.scope in told.json["detail"]


def test_a_key_is_limited_and_told_when_to_come_back(host: ApiHost, key: str) -> None:
    """429 with the seconds; another key is not concerned."""
    other = host.key()
    host.portal.wiring.api_limiter = Limiter(most=3)
    for _ in range(3):
        host.ok("GET", "/businesses", key)
    told = host.send("GET", "/businesses", key)
    refused(told, "rate_limited")
    assert 1 <= int(told.headers["Retry-After"]) <= 61
    host.ok("GET", "/businesses", other)


def test_of_a_keys_bulk_requests_one_is_done_at_a_time(host: ApiHost, key: str) -> None:
    """Few wait for it, each with a worker; more are told to come back. Its other requests and other keys' bulk are not concerned."""
    bulk = {"business_id": "sunrise", "customers": []}
    host.ok("POST", "/customers/bulk", key, bulk)
    (turns,) = host.portal.wiring.bulks.values()
    with turns:  # one is under way
        waiting = [
            eventlet.spawn(host.send, "POST", "/customers/bulk", key, bulk)
            for _ in range(WAITING_BULKS)
        ]
        eventlet.sleep(0)
        told = host.send("POST", "/customers/bulk", key, bulk)
        refused(told, "rate_limited")
        assert told.headers["Retry-After"] == "1"
        host.ok("GET", "/businesses", key)
        host.ok("POST", "/customers/bulk", host.key(), bulk)
        assert not any(one.dead for one in waiting)
    assert [one.wait().status for one in waiting] == [200] * WAITING_BULKS
    host.ok("POST", "/customers/bulk", key, bulk)


def test_what_tells_nothing_takes_the_same_time(host: ApiHost, ada: str) -> None:
    """Somebody else's customer, and nobody."""
    host.ok("POST", "/businesses", host.key(), {"business_id": "other", "name": "Other"})
    other = host.key("other")
    told = []
    for customer_id in (ada, "A" * 22, "x"):
        began = time.monotonic()
        told.append(host.send("GET", f"/customers/{customer_id}", other))
        assert told[-1].not_before - began >= NOTHING_HERE_SECONDS
    assert 404 in SAME_TIME
    assert {(one.status, one.text) for one in told} == {(404, told[0].text)}


# -- what is asked


def test_the_way_of_a_customer(host: ApiHost, key: str) -> None:
    """Made, changed, found, listed, with appointments and a link: by plain HTTP alone."""
    first = host.send("POST", "/customers", key, ADA)
    assert first.status == 201
    ada = first.json["customer_id"]
    again = host.send("POST", "/customers", key, {**ADA, "name": "Ada L.", "locale": None})
    assert (again.status, again.json["created"], again.json["customer_id"]) == (200, False, ada)
    found = host.ok("GET", f"/customers/{ada}", key)
    assert (found["name"], found["locale"], found["business_id"]) == ("Ada L.", None, "sunrise")
    by_id = host.ok("GET", "/customers" + query(business_id="sunrise", external_id="1001"), key)
    assert by_id == {"data": [found], "has_more": False}
    counts = host.ok(
        "POST", f"/customers/{ada}/appointments", key,
        {"appointments": [{"external_id": "a/1", "title": "Cleaning", "starts_at": "2030-01-01T10:00:00Z"}]},
    )  # fmt: skip
    assert counts == {"created": 1, "updated": 0, "unchanged": 0}
    for deleted in (True, False):
        gone = host.ok("DELETE", f"/customers/{ada}/appointments/a%2F1", key)
        assert gone == {"external_id": "a/1", "deleted": deleted}
    link = host.ok("GET", f"/customers/{ada}/link", key)
    assert link["url"].endswith(link["token"])
    new = host.ok("POST", f"/customers/{ada}/link/rotate", key)
    assert new["generation"] == link["generation"] + 1
    assert host.ok("GET", f"/customers/{ada}/link", key) == new
    reference = host.ok("POST", f"/customers/{ada}/checkout_reference", key)["reference"]
    assert len(reference) == 86
    assert host.woken == []
    host.ok("POST", "/businesses", key, {**BUSINESS, "name": "Renamed"})
    assert host.woken == ["rights"]


@pytest.mark.whole
def test_a_stripe_customer_is_linked_and_unlinked(host: ApiHost, key: str, ada: str) -> None:
    """The host's word; given to two it is a conflict, and nothing is written."""
    assert "relay" not in host.woken
    done = host.ok("POST", f"/customers/{ada}/stripe_link", key, {"stripe_customer_id": "cus_ada"})
    assert "relay" in host.woken
    assert done["platform_stripe_customer_id"] == "cus_ada"
    state = host.ok("GET", f"/customers/{ada}/payment_state", key)
    assert state == {
        "account": "",
        "customer_id": ada,
        "platform_stripe_customer_id": "cus_ada",
        "can_manage_billing": True,
        "owed": [],
    }
    found = host.ok("GET", "/customers" + query(business_id="sunrise", stripe_customer_id="cus_ada"), key)  # fmt: skip
    assert [one["customer_id"] for one in found["data"]] == [ada]
    bob = {**ADA, "external_id": "1002", "platform_stripe_customer_id": "cus_ada"}
    refused(host.send("POST", "/customers", key, bob), "stripe_customer_conflict")
    assert len(host.ok("GET", "/customers?business_id=sunrise", key)["data"]) == 1
    done = host.ok("POST", f"/customers/{ada}/stripe_unlink", key, {})
    assert done["platform_stripe_customer_id"] is None
    done = host.ok("POST", f"/customers/{ada}/stripe_unlink", key, {"withdraw_only": True, "stripe_customer_id": "cus_ada"})  # fmt: skip
    assert done["platform_stripe_customer_id"] is None


def test_lists_come_in_pages(host: ApiHost, key: str) -> None:
    """In the order in which they were made, each once, until there are no more."""
    entries = [{"external_id": f"c{n}", "name": "N", "email": "n@example.com"} for n in range(7)]
    host.ok("POST", "/customers/bulk", key, {"business_id": "sunrise", "customers": entries})
    seen: list[str] = []
    more: dict[str, Any] = {}
    while True:
        page = host.ok("GET", "/customers" + query(business_id="sunrise", limit=3, **more), key)
        seen += [one["external_id"] for one in page["data"]]
        if not page["has_more"]:
            break
        more = {"starting_after": page["data"][-1]["customer_id"]}
    assert seen == [entry["external_id"] for entry in entries]
    host.ok("POST", "/businesses", key, {"business_id": "b2", "name": "Two"})
    page = host.ok("GET", "/businesses?limit=1", key)
    assert (page["data"][0]["business_id"], page["has_more"]) == ("sunrise", True)
    page = host.ok("GET", "/businesses?limit=1&starting_after=sunrise", key)
    assert (page["data"][0]["business_id"], page["has_more"]) == ("b2", False)
    assert host.ok("GET", "/businesses/b2", key) == page["data"][0]


@pytest.mark.whole
def test_many_customers_at_once(host: ApiHost, key: str, ada: str) -> None:
    """Omitted keeps, null clears; one that is wrong is left out and named, and the others are written."""
    entries = [
        {"external_id": "1001", "name": "Ada", "email": "ada@example.com"},
        {"external_id": "1002", "name": "Bob", "email": "no address"},
        {"external_id": "1003", "name": "Cy", "email": "cy@example.com", "platform_stripe_customer_id": "cus_cy"},
    ]  # fmt: skip
    told = {"business_id": "sunrise", "customers": entries}
    done = host.ok("POST", "/customers/bulk", key, told)
    assert {name: done[name] for name in ("created", "updated", "unchanged")} == {
        "created": 1, "updated": 1, "unchanged": 0,
    }  # fmt: skip
    assert done["errors"] == [{"row": 1, "error": "email: expected an email address"}]
    assert host.ok("GET", f"/customers/{ada}", key)["locale"] == "en_US"
    entries[0]["locale"] = None  # type: ignore[assignment]
    host.ok("POST", "/customers/bulk", key, told)
    assert host.ok("GET", f"/customers/{ada}", key)["locale"] is None


@pytest.mark.whole
@pytest.mark.parametrize("blank", ["", " ", "\t", "\u00a0", "\u3000", " en "])
@pytest.mark.parametrize("name", ["locale", "timezone", "platform_stripe_customer_id"])
def test_nothing_is_said_by_a_blank_text(
    host: ApiHost, key: str, ada: str, name: str, blank: str
) -> None:
    """For one customer or for many: null clears, and "" is a mistake that would otherwise pass for done."""
    before = host.ok("GET", f"/customers/{ada}", key)
    refused(host.send("POST", "/customers", key, {**ADA, name: blank}), "invalid_argument", name)
    entry = {each: value for each, value in ADA.items() if each != "business_id"}
    told = {
        "business_id": "sunrise",
        "customers": [{**entry, "external_id": "1"}, {**entry, name: blank}],
    }
    done = host.ok("POST", "/customers/bulk", key, told)
    assert done["errors"] == [{"row": 1, "error": f"{name}: expected a text without spaces"}]
    assert host.ok("GET", f"/customers/{ada}", key) == before


def test_what_cannot_be_read_of_many_is_named_by_its_place(host: ApiHost, key: str) -> None:
    """As what is wrong is: another type, a misspelt name, an odd character, no object. The others are written."""
    good = {"name": "Ada", "email": "ada@example.com"}
    entries = [
        {**good, "external_id": 5},
        {**good, "external_id": "1", "nmae": "Ada"},
        {**good, "external_id": "2", "name": "A\x00"},
        good,
        "3",
        None,
        {**good, "external_id": "4"},
        {**good, "external_id": "5", "email": "nobody"},
    ]
    done = host.ok("POST", "/customers/bulk", key, {"business_id": "sunrise", "customers": entries})
    assert done == {"created": 1, "updated": 0, "unchanged": 0, "errors": [
        {"row": 0, "error": "external_id: expected str, got int"},
        {"row": 1, "error": "unknown argument nmae"},
        {"row": 2, "error": "name: expected text without control characters"},
        {"row": 3, "error": "missing external_id"},
        {"row": 4, "error": "expected an object"},
        {"row": 5, "error": "expected an object"},
        {"row": 7, "error": "email: expected an email address"},
    ]}  # fmt: skip
    told = {"business_id": "sunrise", "customers": {"external_id": "1"}}
    refused(host.send("POST", "/customers/bulk", key, told), "invalid_argument", "customers")
    told = {"business_id": 5, "customers": []}
    refused(host.send("POST", "/customers/bulk", key, told), "invalid_argument", "business_id")


def test_an_entry_has_what_an_import_has() -> None:
    """A new column of customers comes with the bulk call, too."""
    assert tuple(CustomerEntry.__struct_fields__) == COLUMNS


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"{", "invalid_request", None),
        (b"[]", "invalid_request", None),
        (b"\xff", "invalid_request", None),
        (b"[" * 5000, "invalid_request", None),
        (b'{"business_id": "sunrise", "external_id": "1", "name": "A"}', "invalid_argument", "email"),
        ({**ADA, "nmae": "Ada"}, "invalid_argument", "nmae"),
        ({**ADA, "email": 5}, "invalid_argument", "email"),
        ({**ADA, "email": "nobody"}, "invalid_argument", "email"),
        ({**ADA, "name": "A\x00"}, "invalid_argument", "name"),
        ({**ADA, "name": "\ud800"}, "invalid_request", None),
        ({**ADA, "name": None}, "invalid_argument", "name"),
        ({**ADA, "external_id": "a b"}, "invalid_argument", "external_id"),
        ({**ADA, "business_id": "nobody"}, "not_found", "business_id"),
        ({**ADA, "locale": "klingon"}, "invalid_argument", "locale"),
        ({**ADA, "platform_stripe_customer_id": "gcus_1"}, "invalid_argument", "platform_stripe_customer_id"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_bad_input_is_named_and_nothing_is_written(
    host: ApiHost, key: str, body: Any, code: str, field: str | None
) -> None:
    """Half a document, wrong types, odd Unicode, what is misspelt: problem details, and no row."""
    told = host.send("POST", "/customers", key, body)
    refused(told, code, field)
    with host.db.reading() as session:
        assert session.scalars(select(CustomerRow)).all() == []


def test_what_is_missing_or_misspelt_is_named(host: ApiHost, key: str) -> None:
    """In the body and in the address."""
    told = host.send("POST", "/customers", key, {"business_id": "sunrise"})
    assert "external_id" in told.json["detail"]
    for address in ("/customers?limit=0", "/customers?limit=101", "/customers?limit=x"):
        refused(host.send("GET", address, key), "invalid_argument", "limit")
    told = host.send("GET", "/customers?page=2", key)
    assert "page" in told.json["detail"]
    refused(host.send("GET", "/customers", key), "invalid_argument", "business_id")
    refused(
        host.send("GET", "/customers?business_id=sunrise&starting_after=x", key),
        "not_found",
        "starting_after",
    )
    assert host.send("POST", "/businesses?limit=1", key, BUSINESS).status == 400
    told = host.send("POST", "/customers", key, ADA, Content_Type="text/plain")
    refused(told, "unsupported_media_type")
    refused(host.send("GET", "/nothing", key), "not_found")
    refused(host.send("PATCH", "/customers", key), "method_not_allowed")


def test_too_many_at_once_are_refused(host: ApiHost, key: str) -> None:
    """More than a thousand customers, or five hundred appointments: named, and nothing is written."""
    entry = {"external_id": "1", "name": "A", "email": "a@example.com"}
    told = host.send("POST", "/customers/bulk", key, {"business_id": "sunrise", "customers": [entry] * 1001})  # fmt: skip
    refused(told, "invalid_argument", "customers")


# -- once or again


def test_a_repeated_request_is_done_once_and_answered_alike(
    host: ApiHost, key: str, ada: str
) -> None:
    """With the same Idempotency-Key, whatever has changed since; without one each counts."""
    first = host.send("POST", "/customers", key, {**ADA, "external_id": "2"}, Idempotency_Key="1")
    again = host.send("POST", "/customers", key, {**ADA, "external_id": "2"}, Idempotency_Key="1")
    assert (first.status, again.status) == (201, 201)
    assert first.text == again.text
    rotated = host.ok("POST", f"/customers/{ada}/link/rotate", key, Idempotency_Key="2")
    assert host.ok("POST", f"/customers/{ada}/link/rotate", key, Idempotency_Key="2") == rotated
    assert rotated["generation"] == 2
    assert host.ok("POST", f"/customers/{ada}/link/rotate", key)["generation"] == 3


def test_no_secret_is_kept_for_a_repeated_request(host: ApiHost, key: str, ada: str) -> None:
    """Links and references are made anew; what is kept names nobody."""
    link = host.ok("POST", f"/customers/{ada}/link/rotate", key, Idempotency_Key="1")
    made = host.ok("POST", f"/customers/{ada}/checkout_reference", key, Idempotency_Key="2")
    host.ok("POST", f"/customers/{ada}/checkout_reference", key, Idempotency_Key="2")
    host.ok("POST", "/customers", key, ADA, Idempotency_Key="3")
    with host.db.reading() as session:
        rows = session.scalars(select(IdempotentRequestRow)).all()
        stored = " ".join(
            f"{row.digest} {row.body_digest} {row.status} {row.answer}" for row in rows
        )
    assert len(rows) == 3
    for secret in (link["token"], made["reference"], key, "ada@example.com", "Ada"):
        assert secret not in stored


def test_a_key_is_good_for_one_request(host: ApiHost, key: str) -> None:
    """Another body is 422; another address, or another API key, is another request."""
    host.ok("POST", "/customers", key, ADA, Idempotency_Key="1")
    told = host.send("POST", "/customers", key, {**ADA, "name": "Eve"}, Idempotency_Key="1")
    refused(told, "idempotency_key_reused")
    host.ok("POST", "/businesses", key, BUSINESS, Idempotency_Key="1")
    host.ok("POST", "/customers", host.key(), {**ADA, "name": "Eve"}, Idempotency_Key="1")
    for bad in ("", " ", "ä", "x" * 256):
        told = host.send("POST", "/customers", key, ADA, Idempotency_Key=bad)
        refused(told, "invalid_argument", "Idempotency-Key")


def test_what_failed_may_be_sent_again(host: ApiHost, key: str) -> None:
    """Nothing was written, and the same Idempotency-Key is good for the request that is put right."""
    wrong = {**ADA, "email": "nobody"}
    refused(host.send("POST", "/customers", key, wrong, Idempotency_Key="1"), "invalid_argument", "email")  # fmt: skip
    assert host.send("POST", "/customers", key, ADA, Idempotency_Key="1").status == 201


# -- one business's key


def test_a_businesss_key_makes_no_business(host: ApiHost, key: str) -> None:
    """It changes its own; another one's is as one that there is not."""
    own = host.key("sunrise")
    host.ok("POST", "/businesses", own, {**BUSINESS, "name": "Sunrise"})
    host.ok("POST", "/businesses", key, {"business_id": "other", "name": "Other"})
    answers = {
        host.send("POST", "/businesses", own, {"business_id": one, "name": "Taken"}).text
        for one in ("other", "new", " sunrise ")
    }
    assert len(answers) == 1
    with host.db.reading() as session:
        names = set(session.scalars(select(BusinessRow.name)))
    assert names == {"Sunrise", "Other"}
    assert [one["name"] for one in host.ok("GET", "/businesses", own)["data"]] == ["Sunrise"]


@pytest.mark.whole
def test_a_businesss_key_takes_no_stripe_customer_of_anothers(
    host: ApiHost, key: str, ada: str
) -> None:
    """Though the host's word would overrule Stripe's metadata: who holds it speaks for one business alone."""
    host.ok("POST", "/businesses", key, {"business_id": "other", "name": "Other"})
    host.ok("POST", f"/customers/{ada}/stripe_link", key, {"stripe_customer_id": "cus_ada"})
    with host.db.transaction() as session:
        row = session.scalars(select(CustomerRow).where(CustomerRow.public_id == ada)).one()
        row.link_source = "metadata"
    other = host.key("other")
    eve = {
        **ADA,
        "business_id": "other",
        "external_id": "e",
        "platform_stripe_customer_id": "cus_ada",
    }
    refused(host.send("POST", "/customers", other, eve), "stripe_customer_conflict")
    done = host.ok("POST", "/customers/bulk", other, {
        "business_id": "other",
        "customers": [{name: value for name, value in eve.items() if name != "business_id"}],
    })  # fmt: skip
    assert [one["row"] for one in done["errors"]] == [0]
    del eve["platform_stripe_customer_id"]
    made = host.ok("POST", "/customers", other, eve)["customer_id"]
    told = host.send("POST", f"/customers/{made}/stripe_link", other, {"stripe_customer_id": "cus_ada"})  # fmt: skip
    refused(told, "stripe_customer_conflict")
    found = host.ok("GET", f"/customers/{ada}", key)
    assert found["platform_stripe_customer_id"] == "cus_ada"


@pytest.mark.whole
def test_a_businesss_key_takes_no_sender(host: ApiHost, key: str) -> None:
    """Domains are authenticated for the whole installation: it would write as another business. What it has it may repeat or give up."""
    own, sender = host.key("sunrise"), "billing@sunrise.example"
    host.ok("POST", "/businesses", key, {**BUSINESS, "sender_email": sender})
    taken = {**BUSINESS, "name": "Taken", "sender_email": "billing@other.example"}
    for headers in ({}, {"Idempotency_Key": "1"}):
        told = host.send("POST", "/businesses", own, taken, **headers)
        refused(told, "installation_key_required")
    found = host.ok("GET", "/businesses/sunrise", own)
    assert (found["name"], found["sender_email"]) == (BUSINESS["name"], sender)
    for given, then in (
        ({}, sender),
        ({"sender_email": f" {sender} "}, sender),
        ({"sender_email": None}, None),
    ):
        host.ok("POST", "/businesses", own, {**BUSINESS, **given})
        assert host.ok("GET", "/businesses/sunrise", own)["sender_email"] == then
    told = host.send("POST", "/businesses", own, {**BUSINESS, "sender_email": sender})
    refused(told, "installation_key_required")


class Away:
    """A database that does not answer."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        raise DatabaseUnavailable("no answer in time")
        yield


def test_an_audit_line_says_ok_of_what_was_done_alone(host: ApiHost, key: str, ada: str) -> None:
    """Not of what was stopped by a database that is away."""
    host.ok("GET", "/businesses", key)
    host.portal.db = Away()
    with capture_logs() as lines, pytest.raises(DatabaseUnavailable):
        host.send("POST", f"/customers/{ada}/link/rotate", key)
    (line,) = [one for one in lines if one.get("audit")]
    assert (line["customer_id"], line["outcome"]) == (ada, "DatabaseUnavailable")


@pytest.mark.whole
def test_an_audit_line_says_what_was_changed(host: ApiHost, key: str, ada: str) -> None:
    """Which customer is whose, and of how many customers of which business; of a request that can't be read who and where."""
    entry = {"external_id": "1", "name": "Bob", "email": "bob@example.com"}
    with capture_logs() as lines:
        host.ok("POST", f"/customers/{ada}/stripe_link", key, {"stripe_customer_id": "cus_ada"})
        host.ok("POST", f"/customers/{ada}/stripe_unlink", key, {"withdraw_only": True})
        host.ok(
            "POST", "/customers/bulk", key, {"business_id": "sunrise", "customers": [entry] * 2}
        )
        host.send("POST", f"/customers/{ada}/stripe_link", key, {"stripe_customer_id": 5})
        host.ok("POST", f"/customers/{ada}/link/rotate", key)
    facts = [
        {name: one[name] for name in ("outcome", "customer_id", "stripe_customer_id", "withdraw_only", "business_id", "customers") if name in one}
        for one in lines if one.get("audit")
    ]  # fmt: skip
    assert facts == [
        {"outcome": "ok", "customer_id": ada, "stripe_customer_id": "cus_ada"},
        {"outcome": "ok", "customer_id": ada, "stripe_customer_id": None, "withdraw_only": True},
        {"outcome": "ok", "business_id": "sunrise", "customers": 2},
        {"outcome": "InvalidArgument", "customer_id": ada},
        {"outcome": "ok", "customer_id": ada},
    ]
    assert "bob@example.com" not in str(lines)


def test_an_appointment_of_another_customer_stays(host: ApiHost, key: str, ada: str) -> None:
    """The id is the customer's own: the same of another customer is another appointment."""
    bob = host.ok("POST", "/customers", key, {**ADA, "external_id": "2"})["customer_id"]
    visit = {"external_id": "a", "title": "Cleaning", "starts_at": "2030-01-01T10:00:00Z"}
    for who in (ada, bob):
        host.ok("POST", f"/customers/{who}/appointments", key, {"appointments": [visit]})
    host.ok("DELETE", f"/customers/{ada}/appointments/a", key)
    with host.db.reading() as session:
        assert len(session.scalars(select(AppointmentRow)).all()) == 1


def test_a_host_reads_whether_its_business_observes(host: ApiHost, key: str) -> None:
    """One by itself, in the list, and with the installation."""
    host.ok("POST", "/businesses", key, BUSINESS)
    path = f"/businesses/{BUSINESS['business_id']}"
    assert host.ok("GET", path, key)["observed"] is False
    host.portal.wiring.observes = True
    assert host.ok("GET", path, key)["observed"] is True
    host.portal.wiring.observes = False
    host.portal.set_mode(BUSINESS["business_id"], "live")
    host.portal.set_mode(BUSINESS["business_id"], "observe")
    (listed,) = host.ok("GET", "/businesses", key)["data"]
    assert listed["observed"] is True
    assert listed["live_since"].endswith("Z")
