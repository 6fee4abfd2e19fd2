"""What a host sees over HTTP of customers who were enrolled from Stripe."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.portal.api_host import ApiHost, query
from tests.unit.portal.builders import enrol, seen

SUNRISE: dict[str, Any] = {"business_id": "sunrise", "name": "Sunrise"}
MINE: dict[str, Any] = {
    "business_id": "sunrise",
    "external_id": "1001",
    "name": "Ada Lindqvist",
    "email": "ada@example.com",
    "platform_stripe_customer_id": "cus_1",
}


@pytest.fixture
def host() -> ApiHost:
    return ApiHost()


@pytest.fixture
def key(host: ApiHost) -> str:
    made = host.key()
    host.ok("POST", "/businesses", made, {**SUNRISE, "enrolment": "from_stripe"})
    with host.portal.db.transaction() as session:
        enrol(session, seen(pays="paid", name="Ada"))
    return made


def test_an_enrolled_customer_is_listed_and_claimed(host: ApiHost, key: str) -> None:
    """With an id in the place of the host's own; the host's word with its own id makes them the host's, twice as once."""
    assert host.ok("GET", "/businesses/sunrise", key)["enrolment"] == "from_stripe"
    (found,) = host.ok("GET", "/customers" + query(business_id="sunrise"), key)["data"]
    assert (found["external_id"], found["name"]) == ("stripe:cus_1", "Ada")
    for _ in range(2):
        claimed = host.ok("POST", "/customers", key, MINE)
        assert claimed["customer_id"] == found["customer_id"]
        assert claimed["platform_stripe_customer_id"] == "cus_1"
    (found,) = host.ok("GET", "/customers" + query(business_id="sunrise"), key)["data"]
    assert (found["external_id"], found["name"]) == ("1001", "Ada Lindqvist")


def test_the_merged_id_leads_to_the_customer(host: ApiHost, key: str) -> None:
    """A key of the business may ask under the id that it was told before."""
    own = host.key("sunrise")
    (before,) = host.ok("GET", "/customers" + query(business_id="sunrise"), own)["data"]
    bare = {**MINE, "email": "l@example.com"}
    del bare["platform_stripe_customer_id"]
    made = host.ok("POST", "/customers", own, bare)
    host.ok(
        "POST",
        f"/customers/{made['customer_id']}/stripe_link",
        own,
        {"stripe_customer_id": "cus_1"},
    )
    found = host.ok("GET", f"/customers/{before['customer_id']}", own)
    assert found["customer_id"] == made["customer_id"]


def test_new_ids_that_begin_as_ours_are_refused(host: ApiHost, key: str) -> None:
    """With the field that is wrong and what to do."""
    told = host.send("POST", "/customers", key, {**MINE, "external_id": "stripe:cus_2"})
    assert told.status == 400
    assert "ids that begin with stripe:" in str(told.json)


def test_a_businesss_key_enrols_nobody(host: ApiHost, key: str) -> None:
    """The account may be one that other businesses share. What it has it may repeat, or give up."""
    own = host.key("sunrise")
    host.ok("POST", "/businesses", own, {**SUNRISE, "enrolment": "from_stripe"})
    host.ok("POST", "/businesses", own, {**SUNRISE, "enrolment": "by_host"})
    told = host.send("POST", "/businesses", own, {**SUNRISE, "enrolment": "from_stripe"})
    assert (told.status, told.json["code"]) == (403, "installation_key_required")
    assert host.ok("GET", "/businesses/sunrise", own)["enrolment"] == "by_host"
