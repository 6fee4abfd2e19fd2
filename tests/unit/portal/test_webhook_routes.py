"""`/api/v1/webhook_endpoints`: the notifier's endpoints, by the same rules as by RPC, made once however often it is asked."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from services.notifier.domain.hook_signing import Signer
from services.notifier.handlers.hooks import HookRules
from services.notifier.models import HookDelivery
from services.portal.models import IdempotentRequestRow
from shared.contracts.rpc.errors import RemoteFault
from shared.nameko_ext.rpc import RpcTimeout
from tests.unit.portal.api_host import ApiHost, Told, query

URL = "https://hooks.example.com/in"


def create(host: ApiHost, key: str, **more: Any) -> dict[str, Any]:
    """A new endpoint, with its secret."""
    told = host.send("POST", "/webhook_endpoints", key, {"url": URL, **more})
    assert told.status == 201, told.text
    made: dict[str, Any] = told.json
    return made


def asked(host: ApiHost, name: str) -> list[dict[str, Any]]:
    """What the notifier was asked by this method."""
    return [given for method, given in host.notifier.webhooks.calls if method == name]


def test_an_endpoint_from_the_first_to_the_last(host: ApiHost, key: str) -> None:
    """Made, tried, changed, rotated, replayed and deleted."""
    made = create(host, key, event_types=["invoice.paid"])
    assert made["secret"].startswith("whsec_")
    one = f"/webhook_endpoints/{made['about']['endpoint_id']}"
    assert host.ok("GET", one, key) == made["about"]
    assert host.ok("POST", f"{one}/test", key)["count"] == 1
    since = (dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).isoformat()
    assert host.ok("POST", f"{one}/replay", key, {"since": since})["count"] == 0
    assert host.ok("POST", one, key, {"enabled": False, "event_types": []}) == {
        **made["about"], "enabled": False, "event_types": [], "disabled_because": "by_hand",
        "disabled_at": host.ok("GET", one, key)["disabled_at"],
    }  # fmt: skip
    assert host.ok("POST", f"{one}/rotate", key)["secret"] != made["secret"]
    assert host.ok("GET", f"{one}/attempts", key) == {"data": [], "has_more": False}
    assert host.ok("DELETE", one, key)["deleted"]
    assert host.send("GET", one, key).status == 404


@pytest.mark.whole
@pytest.mark.parametrize("lost", [False, True], ids=["answered", "lost on the way"])
def test_a_request_that_comes_again_makes_nothing_twice(
    host: ApiHost, key: str, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an endpoint nor a secret nor a test nor a replay, even where the notifier did it and the portal did not hear so. No secret is kept for
    that."""

    def twice(path: str, body: Any) -> list[Any]:
        if lost:
            real = host.notifier.webhooks.call

            def deaf(name: str, arguments: dict[str, Any]) -> Any:
                real(name, arguments)
                raise RpcTimeout

            with monkeypatch.context() as patched:
                patched.setattr(host.notifier.webhooks, "call", deaf)
                assert host.send("POST", path, key, body, Idempotency_Key="1").status == 503
        return [host.send("POST", path, key, body, Idempotency_Key="1") for _ in range(2)]

    first, second = twice("/webhook_endpoints", {"url": URL})
    assert (first.status, second.status, first.json) == (201, 201, second.json)
    assert len(host.ok("GET", "/webhook_endpoints", key)["data"]) == 1
    one = f"/webhook_endpoints/{first.json['about']['endpoint_id']}"
    turned, again = twice(f"{one}/rotate", None)
    assert turned.json == again.json
    assert turned.json["secret"] == Signer(["h" * 32]).secret(one.rpartition("/")[2], 2)
    with host.db.reading() as session:
        assert [row.answer for row in session.scalars(select(IdempotentRequestRow))] == [None, None]
    tried, once_more = twice(f"{one}/test", None)
    assert (tried.status, tried.json) == (200, once_more.json)
    with host.notifier.webhooks.db.reading() as session:
        assert list(session.scalars(select(HookDelivery.hook_event_id))) == [tried.json["event_id"]]
        before = session.scalars(select(HookDelivery)).one()
        assert before.replayed_at is None
    sent, once_more = twice(f"{one}/replay", {"event_id": tried.json["event_id"]})
    assert (sent.status, sent.json) == (200, once_more.json)
    assert sent.json["count"] == 1
    assert [given["request_id"] for given in asked(host, "replay_webhooks")] == [
        asked(host, "replay_webhooks")[0]["request_id"]
    ] * (2 if lost else 1)
    other = host.send("POST", "/webhook_endpoints", key, {"url": URL + "2"}, Idempotency_Key="1")
    assert other.status == 422


def test_what_a_notifier_of_the_release_before_does_not_know_is_for_later(
    host: ApiHost, key: str
) -> None:
    """While a roll has not come to it: the request is right, and may be sent again."""
    one = f"/webhook_endpoints/{create(host, key)['about']['endpoint_id']}"
    host.notifier.answers["test_webhook_endpoint"] = [
        RemoteFault("InvalidArgument", "unknown argument request_id")
    ]
    told = host.send("POST", f"{one}/test", key, Idempotency_Key="1")
    assert (told.status, told.json["code"]) == (503, "unavailable")
    assert host.send("POST", f"{one}/test", key, Idempotency_Key="1").status == 200


def test_what_was_undone_since_a_request_is_not_done_again_by_repeating_it(
    host: ApiHost, key: str
) -> None:
    """An endpoint that was deleted stays so, and a secret that was replaced is not replaced once more."""

    def send(path: str, word: str, body: Any = None) -> Told:
        return host.send("POST", path, key, body, Idempotency_Key=word)

    made = send("/webhook_endpoints", "made", {"url": URL})
    one = f"/webhook_endpoints/{made.json['about']['endpoint_id']}"
    first, second = (send(f"{one}/rotate", word) for word in ("first", "second"))
    late = send(f"{one}/rotate", "first")
    assert (late.status, late.json["errors"][0]["field"]) == (400, "endpoint_id")
    assert "rotated once more since" in late.json["detail"]
    assert send(f"{one}/rotate", "second").json == second.json != first.json
    host.ok("DELETE", one, key)
    late = send("/webhook_endpoints", "made", {"url": URL})
    assert (late.status, late.json["code"]) == (404, "not_found")
    assert host.ok("GET", "/webhook_endpoints", key)["data"] == []


@pytest.mark.whole
def test_endpoints_come_in_pages_and_each_sees_its_own(host: ApiHost, key: str) -> None:
    """A business's key its own, the installation's all, or one business's."""
    for business in ("sunrise", "other", None, "sunrise"):
        create(host, key, **({"business_id": business} if business else {}))
    everything = host.ok("GET", "/webhook_endpoints" + query(limit=3), key)
    last = everything["data"][-1]["endpoint_id"]
    rest = host.ok("GET", "/webhook_endpoints" + query(starting_after=last), key)
    assert [everything["has_more"], rest["has_more"]] == [True, False]
    owners = [one["business_id"] for one in [*everything["data"], *rest["data"]]]
    assert sorted(owners, key=str) == [None, "other", "sunrise", "sunrise"]
    own = host.key("sunrise")
    for told in (
        host.ok("GET", "/webhook_endpoints", own),
        host.ok("GET", "/webhook_endpoints" + query(business_id="sunrise"), key),
    ):
        assert {one["business_id"] for one in told["data"]} == {"sunrise"}
    assert create(host, own)["about"]["business_id"] == "sunrise"
    told = host.send("GET", "/webhook_endpoints" + query(starting_after="whe_no"), key)
    assert (told.status, told.json["errors"][0]["field"]) == (404, "starting_after")


def test_bad_endpoints_are_named(host: ApiHost, key: str) -> None:
    """The notifier's words, as problem details with the field."""
    one = f"/webhook_endpoints/{create(host, key)['about']['endpoint_id']}"
    bad: list[tuple[str, Any, int, str]] = [
        ("/webhook_endpoints", {"url": "http://169.254.169.254/"}, 400, "url"),
        ("/webhook_endpoints", {"url": URL, "event_types": ["no.such"]}, 400, "event_types[0]"),
        ("/webhook_endpoints", {"url": URL, "business_id": "nobody"}, 404, "business_id"),
        (one, {"url": "https://127.0.0.1/"}, 400, "url"),
        (f"{one}/replay", {}, 400, "since"),
        (f"{one}/replay", {"since": "2026-01-01T00:00:00"}, 400, "since"),
        (f"{one}/replay", {"event_id": "evh_none"}, 404, "event_id"),
        ("/webhook_endpoints/whe_none/test", None, 404, "endpoint_id"),
    ]
    for path, body, status, field in bad:
        told = host.send("POST", path, key, body)
        assert (told.status, told.json["errors"][0]["field"]) == (status, field), told.text


def test_without_keys_or_notifier_it_says_so(host: ApiHost, key: str) -> None:
    """Webhooks that are off are a bad request, and a notifier that doesn't answer one for later."""
    host.notifier.answers["webhook_endpoints"] = [RpcTimeout()]
    told = host.send("GET", "/webhook_endpoints", key)
    assert (told.status, told.json["code"]) == (503, "unavailable")
    assert told.headers["Retry-After"]
    host.notifier.webhooks.notifier.hooks.rules = HookRules(Signer([]))
    told = host.send("POST", "/webhook_endpoints", key, {"url": URL})
    assert told.status == 400
    assert "HOOK_KEYS" in told.json["detail"]


def test_urls_and_secrets_stay_out_of_logs(host: ApiHost, key: str) -> None:
    """An address may have a secret in its path."""
    with capture_logs() as lines:
        made = create(host, key, url=URL + "/s3cret", business_id="sunrise")
    (line,) = [one for one in lines if one.get("audit")]
    assert (line["business_id"], line["outcome"]) == ("sunrise", "ok")
    assert "s3cret" not in str(lines)
    assert made["secret"] not in str(lines)
    assert asked(host, "create_webhook_endpoint")[0]["url"].endswith("s3cret")
