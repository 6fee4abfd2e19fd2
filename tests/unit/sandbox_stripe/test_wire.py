"""Form-encoded parameters, their types, and what is refused."""

from __future__ import annotations

import pytest

from sandbox.stripe_api import StripeError
from sandbox.stripe_api.forms import decode
from tests.unit.sandbox_stripe.conftest import Stripe


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        ("email=a%40b.c", {"email": "a@b.c"}),
        ("metadata[a]=1&metadata[b]=", {"metadata": {"a": "1", "b": ""}}),
        ("expand[]=a&expand[]=b", {"expand": ["a", "b"]}),
        (
            "items[0][price]=p&items[1][price]=q",
            {"items": {"0": {"price": "p"}, "1": {"price": "q"}}},
        ),
        ("l[][a]=1&l[][b]=2&l[][a]=3", {"l": [{"a": "1", "b": "2"}, {"a": "3"}]}),
        ("", {}),
    ],
)
def test_bracket_parameters_nest(encoded: str, decoded: dict[str, object]) -> None:
    """Names in brackets become nested objects and lists."""
    assert decode(encoded) == decoded


@pytest.mark.parametrize("encoded", ["[a]=1", "a[b=1", "a]=1", "&".join(["a" + "[b]" * 20 + "=1"])])
def test_malformed_names_are_a_400(encoded: str) -> None:
    """A parameter name that can't be read is refused, not a crash."""
    with pytest.raises(StripeError) as caught:
        decode(encoded)
    assert caught.value.status == 400


def test_unknown_parameter_is_refused(stripe: Stripe) -> None:
    """A parameter that Stripe does not know is named, as Stripe names it."""
    with pytest.raises(StripeError, match="Received unknown parameter: foo") as caught:
        stripe.post("/v1/customers", foo=1)
    assert (caught.value.status, caught.value.code, caught.value.param) == (
        400,
        "parameter_unknown",
        "foo",
    )


def test_unknown_nested_parameter_is_named_with_its_brackets(stripe: Stripe) -> None:
    """Inside an object the name carries the path to it."""
    with pytest.raises(StripeError) as caught:
        stripe.post("/v1/customers", invoice_settings={"colour": "red"})
    assert caught.value.param == "invoice_settings[colour]"


def test_fields_of_old_api_versions_are_unknown(stripe: Stripe) -> None:
    """What an invoice has lost with an API version can't be asked for."""
    with pytest.raises(StripeError) as caught:
        stripe.post("/v1/payment_intents", amount=1, currency="usd", payment_method_types=["card"])
    assert caught.value.code == "parameter_unknown"


def test_missing_parameter_is_named(stripe: Stripe) -> None:
    """A required parameter that is not there is named."""
    with pytest.raises(StripeError, match="Missing required param: amount") as caught:
        stripe.post("/v1/payment_intents", currency="usd")
    assert caught.value.code == "parameter_missing"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"amount": "ten", "currency": "usd"}, "parameter_invalid_integer"),
        ({"amount": 10, "currency": ""}, "parameter_invalid_empty"),
        ({"amount": 10, "currency": "usd", "confirm": "perhaps"}, None),
        ({"amount": 10, "currency": "usd", "capture_method": "later"}, None),
        ({"amount": 10, "currency": "usd", "capture_method": "manual"}, None),
        ({"amount": 10, "currency": "usd", "metadata": "x"}, None),
        ({"amount": 10, "currency": "usd", "shipping": "x"}, None),
    ],
)
def test_wrong_values_are_a_400(
    stripe: Stripe, params: dict[str, object], code: str | None
) -> None:
    """A value of the wrong kind is refused before anything happens."""
    with pytest.raises(StripeError) as caught:
        stripe.post("/v1/payment_intents", **params)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert stripe.get("/v1/payment_intents")["data"] == []


def test_empty_string_unsets(stripe: Stripe) -> None:
    """An empty value takes a field or a metadata key away."""
    id = stripe.customer(name="Ada", metadata={"a": "1", "b": "2"})
    changed = stripe.post(f"/v1/customers/{id}", name="", metadata={"a": ""})
    assert (changed["name"], changed["metadata"]) == (None, {"b": "2"})


def test_unknown_route_and_unknown_object_are_404(stripe: Stripe) -> None:
    """Stripe says which of the two is unknown."""
    with pytest.raises(StripeError, match="Unrecognized request URL") as caught:
        stripe.get("/v1/nothing")
    assert caught.value.status == 404
    with pytest.raises(StripeError, match="No such customer: 'cus_x'") as caught:
        stripe.get("/v1/customers/cus_x")
    assert (caught.value.status, caught.value.code) == (404, "resource_missing")


def test_pages_walk_the_list_both_ways(stripe: Stripe) -> None:
    """Newest first; cursors go down and up without gaps, also after one has been deleted."""
    made = [stripe.customer() for _ in range(7)]
    first = stripe.get("/v1/customers", limit=3)
    assert [c["id"] for c in first["data"]] == made[:3:-1]
    assert first["has_more"] is True
    stripe.delete(f"/v1/customers/{made[3]}")
    rest = stripe.get("/v1/customers", limit=9, starting_after=first["data"][-1]["id"])
    assert [c["id"] for c in rest["data"]] == made[2::-1]
    assert rest["has_more"] is False
    back = stripe.get("/v1/customers", limit=2, ending_before=made[2])
    assert [c["id"] for c in back["data"]] == [made[5], made[4]]
    assert back["has_more"] is True


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 101}, {"starting_after": "cus_x"}])
def test_impossible_pages_are_refused(stripe: Stripe, params: dict[str, object]) -> None:
    """A limit out of range and a cursor that does not exist are a 400."""
    with pytest.raises(StripeError) as caught:
        stripe.get("/v1/customers", **params)
    assert caught.value.status == 400


def test_expand_replaces_ids_by_objects(stripe: Stripe) -> None:
    """Also along a list's data and through several objects."""
    customer = stripe.customer("pm_card_visa")
    subscription = stripe.subscription(customer)
    seen = stripe.get(
        f"/v1/subscriptions/{subscription['id']}",
        expand=["customer", "latest_invoice.payments.data.payment.payment_intent"],
    )
    payment = seen["latest_invoice"]["payments"]["data"][0]["payment"]
    assert seen["customer"]["id"] == customer
    assert payment["payment_intent"]["status"] == "succeeded"
    with pytest.raises(StripeError, match="cannot be expanded"):
        stripe.get(f"/v1/customers/{customer}", expand=["email"])


def test_private_fields_never_show(stripe: Stripe) -> None:
    """What only the sandbox knows stays inside."""
    customer = stripe.customer("pm_card_visa")
    stripe.post("/sandbox/portal_default")
    session = stripe.post("/v1/billing_portal/sessions", customer=customer)
    method = stripe.get(f"/v1/customers/{customer}/payment_methods")["data"][0]
    assert not [key for obj in (session, method) for key in obj if key.startswith("_")]
