"""What a host sees over HTTP of customers who were enrolled from Stripe."""

from __future__ import annotations

from typing import Any

import pytest

from services.portal.service import PortalService
from tests.unit.portal.api_host import ApiHost, query
from tests.unit.portal.builders import enrol, event, failed, seen

SUNRISE: dict[str, Any] = {"business_id": "sunrise", "name": "Sunrise"}
MINE: dict[str, Any] = {
    "business_id": "sunrise",
    "external_id": "1001",
    "name": "Ada Lindqvist",
    "email": "ada@example.com",
    "platform_stripe_customer_id": "cus_1",
}


@pytest.fixture
def key(host: ApiHost) -> str:
    made = host.key()
    host.ok("POST", "/businesses", made, {**SUNRISE, "enrolment": "from_stripe"})
    with host.portal.db.transaction() as session:
        enrol(session, seen(pays="paid", name="Ada"))
    return made


def upserted(host: ApiHost, key: str, external_id: str) -> str:
    """A customer of the host's own, with another address than anybody's; Portico's id."""
    bare = {**MINE, "external_id": external_id, "email": f"{external_id}@example.com"}
    del bare["platform_stripe_customer_id"]
    customer_id: str = host.ok("POST", "/customers", key, bare)["customer_id"]
    return customer_id


def claim(host: ApiHost, key: str) -> str:
    """The enrolled customer is merged into one of the host's own, by its word; that one's id."""
    mine = upserted(host, key, "1001")
    host.ok("POST", f"/customers/{mine}/stripe_link", key, {"stripe_customer_id": "cus_1"})
    return mine


@pytest.mark.whole
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


@pytest.mark.whole
def test_the_merged_id_leads_to_the_customer(host: ApiHost, key: str) -> None:
    """A key of the business may ask under the id that it was told before."""
    own = host.key("sunrise")
    (before,) = host.ok("GET", "/customers" + query(business_id="sunrise"), own)["data"]
    found = claim(host, own)
    assert host.ok("GET", f"/customers/{before['customer_id']}", own)["customer_id"] == found


@pytest.mark.whole
def test_the_merged_ids_incidents_are_the_customers(host: ApiHost, key: str) -> None:
    """Who asks by the id of before is not told that nothing failed."""
    (before,) = host.ok("GET", "/customers" + query(business_id="sunrise"), key)["data"]
    claim(host, key)
    PortalService.on_events(host.portal, [event(failed(stripe_customer_id="cus_1"))])
    asked = query(business_id="sunrise", customer_id=before["customer_id"])
    assert [one["invoice_id"] for one in host.ok("GET", f"/incidents{asked}", key)["data"]] == ["in_1"]  # fmt: skip


@pytest.mark.whole
def test_a_list_goes_on_at_nobody_who_was_merged_meanwhile(host: ApiHost, key: str) -> None:
    """The place of who was merged is gone; going on at the place of the customer they are now would skip those in between."""
    upserted(host, key, "1002")
    (first,) = host.ok("GET", "/customers" + query(business_id="sunrise", limit=1), key)["data"]
    claim(host, key)
    asked = query(business_id="sunrise", starting_after=first["customer_id"])
    told = host.send("GET", f"/customers{asked}", key)
    assert (told.status, told.json["errors"][0]["field"]) == (404, "starting_after")


def test_new_ids_that_begin_as_ours_are_refused(host: ApiHost, key: str) -> None:
    """With the field that is wrong and what to do."""
    told = host.send("POST", "/customers", key, {**MINE, "external_id": "stripe:cus_2"})
    assert told.status == 400
    assert "ids that begin with stripe:" in str(told.json)


@pytest.mark.whole
def test_a_businesss_key_enrols_nobody(host: ApiHost, key: str) -> None:
    """The account may be one that other businesses share. What it has it may repeat, or give up."""
    own = host.key("sunrise")
    host.ok("POST", "/businesses", own, {**SUNRISE, "enrolment": "from_stripe"})
    host.ok("POST", "/businesses", own, {**SUNRISE, "enrolment": "by_host"})
    told = host.send("POST", "/businesses", own, {**SUNRISE, "enrolment": "from_stripe"})
    assert (told.status, told.json["code"]) == (403, "installation_key_required")
    assert host.ok("GET", "/businesses/sunrise", own)["enrolment"] == "by_host"
