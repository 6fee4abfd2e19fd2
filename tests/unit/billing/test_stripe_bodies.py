"""Pages of Stripe's lists, object by object as Stripe sent them."""

from __future__ import annotations

import pytest

from services.billing.adapters.stripe.bodies import read_page
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
