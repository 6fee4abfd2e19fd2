"""What a host gives over HTTP, wherever it gives it: ids by one rule, and nothing twice."""

from __future__ import annotations

import urllib.parse

import pytest

from tests.unit.portal.api_host import ApiHost

GOOD = (
    "a/b",
    "a//b",
    "a/",
    ".",
    "..",
    "%2F",
    "a%2Fb",
    "a?b",
    "a#b",
    "a+b",
    "é",
    "שלום",
    "😀",
    "a" * 100,
)
BAD = ("", " ", "a b", "a\tb", "a\nb", "a\0b", "a\x7fb", "a\x85b", "a\u00a0b", "a\u202eb", "\u2066a", "a\u2028b", "a" * 101)  # fmt: skip


def quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


@pytest.mark.whole
@pytest.mark.parametrize("own", GOOD)
def test_an_id_that_is_taken_is_found_again(host: ApiHost, own: str) -> None:
    """In a body, in the query and in the address."""
    key = host.key()
    host.ok("POST", "/businesses", key, {"business_id": own, "name": "B"})
    ada = {"business_id": own, "external_id": own, "name": "Ada", "email": "ada@example.com"}
    customer = host.ok("POST", "/customers", key, ada)["customer_id"]
    visit = {"external_id": own, "title": "Visit", "starts_at": "2030-01-01T10:00:00Z"}
    host.ok("POST", f"/customers/{customer}/appointments", key, {"appointments": [visit]})
    assert host.ok("GET", f"/businesses/{quoted(own)}", key)["business_id"] == own
    found = host.ok("GET", f"/customers?business_id={quoted(own)}&external_id={quoted(own)}", key)
    assert [one["customer_id"] for one in found["data"]] == [customer]
    gone = host.ok("DELETE", f"/customers/{customer}/appointments/{quoted(own)}", key)
    assert gone == {"external_id": own, "deleted": True}


@pytest.mark.whole
@pytest.mark.parametrize("own", BAD)
def test_what_is_no_id_is_refused_wherever_it_stands(host: ApiHost, own: str) -> None:
    """400 with the field in a body; in the query 400, or that there is none; in an address there is none."""
    key = host.key()
    host.ok("POST", "/businesses", key, {"business_id": "b", "name": "B"})
    ada = {"business_id": "b", "external_id": "1", "name": "Ada", "email": "ada@example.com"}
    customer = host.ok("POST", "/customers", key, ada)["customer_id"]
    for path, body in (
        ("/businesses", {"business_id": own, "name": "B"}),
        ("/customers", {**ada, "external_id": own}),
        ("/customers", {**ada, "business_id": own}),
    ):
        told = host.send("POST", path, key, body)
        assert told.status == 400
        assert told.json["errors"][0]["field"] in ("business_id", "external_id")
    visit = {"external_id": own, "title": "Visit", "starts_at": "2030-01-01T10:00:00Z"}
    told = host.send("POST", f"/customers/{customer}/appointments", key, {"appointments": [visit]})
    assert told.json["errors"][0]["field"].startswith("appointments[0].external_id")
    assert host.send("GET", f"/customers?business_id={quoted(own)}", key).status in (400, 404)
    if own:
        assert host.send("GET", f"/businesses/{quoted(own)}", key).status == 404


def test_what_stands_in_the_address_twice_is_refused(host: ApiHost) -> None:
    """Whoever reads before us may count the other one."""
    key = host.key()
    for path in (
        "/customers?business_id=a&business_id=b", "/businesses?limit=1&limit=1", "/events?since=&since=1",
    ):  # fmt: skip
        told = host.send("GET", path, key)
        assert told.status == 400
        assert told.json["errors"][0]["detail"] == "given more than once"


@pytest.mark.parametrize("path", ["/events", "/customers", "/incidents"])
def test_an_empty_id_of_a_business_is_not_every_business(host: ApiHost, path: str) -> None:
    """A host whose variable is empty is told so."""
    key = host.key()
    host.ok("POST", "/businesses", key, {"business_id": "b", "name": "B"})
    for one in (key, host.key("b")):
        told = host.send("GET", f"{path}?business_id=", one)
        assert (told.status, told.json["errors"][0]["field"]) == (404, "business_id")
