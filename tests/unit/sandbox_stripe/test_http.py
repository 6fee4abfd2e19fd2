"""The API and the faults over WSGI, without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from flask import Flask
from flask.testing import FlaskClient

from sandbox.faults import BadFault, Faults, parse
from sandbox.stripe_api import blueprint, keep_answer
from tests.unit.sandbox_stripe.conftest import build

KEY = {"Authorization": "Bearer sk_test_0123456789ab"}


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    stripe = build()
    app = Flask("test")
    Faults(partial(keep_answer, stripe.world)).install(app)
    app.register_blueprint(blueprint(stripe.world))
    yield app.test_client()
    stripe.world.stop()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer sk_test_0123456789ab", 200),
        ("Bearer rk_test_0123456789ab", 200),
        ("Basic c2tfdGVzdF8wMTIzNDU2Nzg5YWI6", 200),
        ("Bearer sk_live_0123456789ab", 401),
        ("Basic ????", 401),
        ("", 401),
    ],
)
def test_only_test_keys_are_taken(client: FlaskClient, header: str, status: int) -> None:
    """By Bearer or Basic; an error names no whole key."""
    answer = client.get("/v1/customers", headers={"Authorization": header})
    assert answer.status_code == status
    assert "sk_live_0123456789ab" not in answer.text


def test_errors_have_stripes_shape(client: FlaskClient) -> None:
    """Type, code, message, parameter and where it is documented, with the request's id in a header."""
    answer = client.post("/v1/customers", data={"foo": "1"}, headers=KEY)
    error = answer.get_json()["error"]
    assert answer.status_code == 400
    assert error["code"] == "parameter_unknown"
    assert error["doc_url"].endswith("parameter-unknown")
    assert error["request_log_url"].endswith(answer.headers["Request-Id"])


def test_a_replay_says_so(client: FlaskClient) -> None:
    """The second answer is the first one, marked."""
    headers = {**KEY, "Idempotency-Key": "one"}
    first, second = (
        client.post("/v1/customers", data={"email": "a@b.c"}, headers=headers) for _ in range(2)
    )
    assert first.data == second.data
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"


def test_clients_without_a_version_may_be_old(client: FlaskClient) -> None:
    """Stripe's CLI names no version and sends what the current one no longer knows."""
    data = {"amount": "1", "currency": "usd", "payment_method_types[0]": "card"}
    versioned = {**KEY, "Stripe-Version": "2026-10-28.endive"}
    assert client.post("/v1/payment_intents", data=data, headers=KEY).status_code == 200
    assert client.post("/v1/payment_intents", data=data, headers=versioned).status_code == 400


def test_json_bodies_and_other_methods_are_refused(client: FlaskClient) -> None:
    """The API is form-encoded."""
    assert client.post("/v1/customers", json={"a": 1}, headers=KEY).status_code == 400
    assert client.put("/v1/customers", headers=KEY).status_code == 405


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, None),
        (403, "more_permissions_required"),
        (409, "lock_timeout"),
        (429, "rate_limit"),
        (500, None),
    ],
)
def test_faults_hit_as_often_as_asked(client: FlaskClient, status: int, code: str | None) -> None:
    """Two requests fail with Stripe's own error, the third is answered."""
    fault = {"match": "POST /v1/customers", "status": status, "times": 2}
    assert client.post("/sandbox/faults", json=fault).status_code == 200
    answers = [client.post("/v1/customers", headers=KEY) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].get_json()["error"].get("code") == code
    assert client.get("/v1/customers", headers=KEY).status_code == 200


def test_a_status_has_several_reasons(client: FlaskClient) -> None:
    """The code can be chosen, on API v2 as well; only the limit of requests says which limit it was."""
    for status, code in ((401, "api_key_expired"), (403, "account_invalid"), (429, "lock_timeout")):
        fault = {"match": "GET /v*", "status": status, "code": code}
        assert client.post("/sandbox/faults", json=fault).status_code == 200
        answer = client.get("/v2/core/events/evt_x", headers=KEY)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)
        assert "Stripe-Rate-Limited-Reason" not in answer.headers
    client.post("/sandbox/faults", json={"match": "GET /v1/*", "status": 429})
    assert "Stripe-Rate-Limited-Reason" in client.get("/v1/customers", headers=KEY).headers


def test_a_429_can_say_when_to_come_back(client: FlaskClient) -> None:
    """By a header, where that is asked for; else without."""
    limited = {"match": "GET /v1/*", "status": 429}
    told = []
    for fault in (limited, {**limited, "retry_after": 3}):
        client.post("/sandbox/faults", json=fault)
        told.append(client.get("/v1/customers", headers=KEY).headers.get("Retry-After"))
    assert told == [None, "3"]


def test_a_key_without_access_is_a_403(client: FlaskClient) -> None:
    """A revoked key, and an account that is not this one: the console's own doors stay open."""
    stranger = {**KEY, "Stripe-Account": "acct_stranger"}
    own = {**KEY, "Stripe-Account": client.get("/v1/account", headers=KEY).get_json()["id"]}
    assert client.get("/v1/customers", headers=own).status_code == 200
    error = client.get("/v1/customers", headers=stranger).get_json()["error"]
    assert error["code"] == "account_invalid"
    assert "'acct_stranger'" in error["message"]
    client.post("/sandbox/account", json={"revoked": True})
    refused = client.get("/v1/customers", headers=KEY)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (403, "account_invalid")
    client.post("/sandbox/account", json={"revoked": False})
    assert client.get("/v1/customers", headers=KEY).status_code == 200


def test_a_fault_can_hide_an_answer(client: FlaskClient) -> None:
    """With `after` the request takes effect all the same: what a lost answer looks like."""
    client.post("/sandbox/faults", json={"match": "POST /v1/*", "status": 500, "after": True})
    assert client.post("/v1/customers", headers=KEY).status_code == 500
    assert len(client.get("/v1/customers", headers=KEY).get_json()["data"]) == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_key_remembers_a_server_error(client: FlaskClient, after: bool) -> None:
    """With `keep` the error is replayed to its key, as Stripe does, whether the request took effect or not."""
    fault = {"match": "POST /v1/*", "status": 500, "keep": True, "after": after}
    client.post("/sandbox/faults", json=fault)
    headers = {**KEY, "Idempotency-Key": "one"}
    first, again = (client.post("/v1/customers", headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (500, 500)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(client.get("/v1/customers", headers=KEY).get_json()["data"]) == int(after)
    other = client.post("/v1/customers", headers={**KEY, "Idempotency-Key": "two"})
    assert other.status_code == 200


def test_slow_answers_and_timeouts(client: FlaskClient) -> None:
    """A delay alone is only slow; a time-out ends in 504; both are over when the faults are removed."""
    client.post("/sandbox/faults", json={"match": "* /v1/*", "delay_seconds": 0.01})
    assert client.get("/v1/customers", headers=KEY).status_code == 200
    timeout = {"match": "* /v1/*", "status": "timeout", "delay_seconds": 0.01, "times": None}
    client.post("/sandbox/faults", json=timeout)
    assert client.get("/v1/customers", headers=KEY).status_code == 504
    assert client.delete("/sandbox/faults").get_json() == {"faults": []}
    assert client.get("/v1/customers", headers=KEY).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        {"match": "GET"},
        {"match": "GET /v1", "status": 200},
        {"match": "GET /v1", "delay_seconds": -1},
        {"match": "GET /v1", "times": 0},
        {"match": "GET /v1", "after": "yes"},
        {"match": "GET /v1", "keep": 1},
        {"match": "GET /v1", "colour": "red"},
        {"match": "GET /v1", "status": 403, "code": "rate_limit"},
        {"match": "GET /v1", "status": 500, "retry_after": 1},
        {"match": "GET /v1", "status": 429, "retry_after": -1},
    ],
)
def test_faults_that_make_no_sense_are_refused(given: object) -> None:
    """Each with a sentence that says what is wrong."""
    with pytest.raises(BadFault, match=r"\w"):
        parse(given)


def test_controls_answer_json(client: FlaskClient) -> None:
    """`/sandbox/…` takes JSON, without a key, and not from a page elsewhere."""
    assert client.get("/sandbox/clock").get_json()["next_retry"] is None
    assert client.post("/sandbox/webhooks", json={"duplicate": 3}).get_json()["duplicate"] == 3
    assert client.post("/sandbox/webhooks", json={"duplicate": "3"}).status_code == 400
    assert client.post("/sandbox/webhooks", json={"colour": "red"}).status_code == 400
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/sandbox/clock", json={}, headers=elsewhere).status_code == 403
