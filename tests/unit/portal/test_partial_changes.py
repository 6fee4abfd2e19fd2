"""A host that changes one thing says that thing alone; what is new has to be whole."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit import tables
from tests.unit.portal.api_host import ApiHost

BUSINESS = {"business_id": "sunrise", "name": "Sunrise", "color": "#c2410c"}
ADA = {"business_id": "sunrise", "external_id": "1", "name": "Ada", "email": "ada@example.com"}
VISIT = {
    "external_id": "a-1",
    "title": "Cleaning",
    "starts_at": "2030-01-01T10:00:00Z",
    "ends_at": "2030-01-01T11:00:00Z",
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
    customer: str = host.ok("POST", "/customers", key, ADA)["customer_id"]
    return customer


def refused(host: ApiHost, key: str, path: str, body: Any) -> list[dict[str, str]]:
    told = host.send("POST", path, key, body)
    assert (told.status, told.json["code"]) == (400, "invalid_argument"), told.text
    errors: list[dict[str, str]] = told.json["errors"]
    return errors


def test_a_business_that_is_there_needs_no_name(host: ApiHost, key: str) -> None:
    """Nor does any other field ask for it."""
    host.ok("POST", "/businesses", key, {"business_id": "sunrise", "timezone": "Europe/Rome"})
    found = host.ok("GET", "/businesses/sunrise", key)
    assert (found["name"], found["color"], found["timezone"]) == ("Sunrise", "#c2410c", "Europe/Rome")  # fmt: skip


def test_a_customer_who_is_there_needs_neither_name_nor_email(
    host: ApiHost, key: str, ada: str
) -> None:
    """A host that learns a language, or a Stripe customer, knows no more than that."""
    ids = {"business_id": "sunrise", "external_id": "1"}
    for change in ({"locale": "es"}, {"email": "ada@new.example"}, {"platform_stripe_customer_id": "cus_1"}, {}):  # fmt: skip
        told = host.send("POST", "/customers", key, ids | change)
        assert (told.status, told.json["customer_id"]) == (200, ada), told.text
    found = host.ok("GET", f"/customers/{ada}", key)
    assert (found["name"], found["email"], found["locale"]) == ("Ada", "ada@new.example", "es")
    assert found["platform_stripe_customer_id"] == "cus_1"


def test_of_many_customers_each_says_what_is_known(host: ApiHost, key: str, ada: str) -> None:
    """The others are written, and a new one that lacks something is named by its place."""
    customers = [
        {"external_id": "1", "timezone": "Europe/Rome"},
        {"external_id": "2", "email": "bob@example.com", "platform_stripe_customer_id": "cus_2"},
        {"external_id": "3", "name": "Eve", "email": "eve@example.com"},
    ]
    done = host.ok("POST", "/customers/bulk", key, {"business_id": "sunrise", "customers": customers})  # fmt: skip
    assert done == {
        "created": 1,
        "updated": 1,
        "unchanged": 0,
        "errors": [{"row": 1, "error": "name: missing; a new one needs it"}],
    }
    found = host.ok("GET", f"/customers/{ada}", key)
    assert (found["name"], found["timezone"]) == ("Ada", "Europe/Rome")


def test_an_appointment_that_is_there_is_moved_by_its_start_alone(
    host: ApiHost, key: str, ada: str
) -> None:
    """Or cancelled by its status; an end that is given is held against the start that is kept."""
    place = f"/customers/{ada}/appointments"
    host.ok("POST", place, key, {"appointments": [VISIT]})

    def change(**given: Any) -> Any:
        return host.ok("POST", place, key, {"appointments": [{"external_id": "a-1", **given}]})

    assert change(status="cancelled") == {"created": 0, "updated": 1, "unchanged": 0}
    assert change(title="Cleaning")["unchanged"] == 1
    assert change(starts_at="2030-01-01T10:30:00Z")["updated"] == 1
    early = {"appointments": [{"external_id": "a-1", "ends_at": "2030-01-01T10:15:00Z"}]}
    (error,) = refused(host, key, place, early)
    assert (error["field"], error["detail"]) == ("appointments[0].ends_at", "expected a time after starts_at")  # fmt: skip


@pytest.mark.parametrize("lacks", ["name", "email"])
def test_a_new_customer_is_whole(host: ApiHost, key: str, lacks: str) -> None:
    """Nobody is made of an id alone; the answer names what is missing."""
    some = {name: value for name, value in ADA.items() if name != lacks}
    assert refused(host, key, "/customers", some) == [
        {"field": lacks, "detail": "missing; a new one needs it"}
    ]
    assert host.ok("GET", "/customers?business_id=sunrise", key)["data"] == []


def test_what_else_is_new_is_whole(host: ApiHost, key: str, ada: str) -> None:
    """A business has a name, an appointment a title and a time."""
    (error,) = refused(host, key, "/businesses", {"business_id": "other", "color": "#c2410c"})
    assert error["field"] == "name"
    for lacks in ("title", "starts_at"):
        visit = {name: value for name, value in VISIT.items() if name != lacks}
        (error,) = refused(host, key, f"/customers/{ada}/appointments", {"appointments": [visit]})
        assert error["field"] == f"appointments[0].{lacks}"


def test_nothing_clears_what_is_needed(host: ApiHost, key: str, ada: str) -> None:
    """null is no name."""
    for name in ("name", "email"):
        (error,) = refused(host, key, "/customers", ADA | {name: None})
        assert error["field"] == name
