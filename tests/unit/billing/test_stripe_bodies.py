"""Stripe's answers, read past the library: an object by its fields, pages of lists object by object as Stripe sent them."""

from __future__ import annotations

import pytest

from services.billing.adapters.stripe.bodies import read_object, read_page
from shared.contracts.rpc.errors import StripeUnavailable


def test_objects_are_as_stripe_sent_them() -> None:
    """Byte for byte, whatever is in them; with what the next read needs: the last one's id, and the ends' age."""
    first, last = (
        b'{"id": "cus_2",  "created": 20, "odd": "1.10"}',
        b'{"created": 10, "id":"cus_1"}',
    )
    page = read_page(b'{"object": "list", "has_more": true, "data": [' + first + b"," + last + b"]}")  # fmt: skip
    assert page.objects == [first, last]
    assert (page.more, page.last, page.newest, page.oldest) == (True, "cus_1", 20, 10)


def test_an_empty_list_is_the_last_page() -> None:
    """And begins no other one."""
    page = read_page('{"object": "list", "data": []}')
    assert (page.objects, page.more, page.last) == ([], False, None)


@pytest.mark.parametrize(
    "body", ["{}", "null", '{"data": 1}', '{"data": [1]}', "<html>", b"\xff\xfe", '{"data": [{}]}']
)
def test_what_is_no_list_is_an_outage(body: str | bytes) -> None:
    """Something between us and Stripe has answered: it is asked again later."""
    with pytest.raises(StripeUnavailable):
        read_page(body)


def test_an_objects_fields_are_attributes() -> None:
    """At any depth, `items` and other names of methods as well; what was not sent is absent, and null is None."""
    read = read_object(
        '{"id": "sub_1", "items": {"data": [{"id": "si_1"}]}, "metadata": {"a b": "1", "__class__": "x"}, "ended_at": null}'
    )
    assert read["items"].data[0].id == "si_1"
    assert getattr(read.metadata, "a b") == "1"
    assert read.ended_at is None
    assert not hasattr(read, "status")


@pytest.mark.parametrize("body", ["", "null", "[1]", "1", "<html>", b"\xff\xfe", '{"id":'])
def test_what_is_no_object_is_an_outage(body: str | bytes) -> None:
    """As with a list."""
    with pytest.raises(StripeUnavailable):
        read_object(body)
