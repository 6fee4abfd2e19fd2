"""Whose word each webhook endpoint takes: secret by path by account by mode."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select
from structlog.testing import capture_logs
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from services.billing.domain.accounts import AccountState, Directory, KnownAccount, Way
from services.billing.handlers import inbox
from services.billing.models import InboxEvent, OutboxEvent, StripeAccount
from services.billing.queries import accounts
from services.billing.rpc.accounts import Accounts
from services.billing.service import BillingService
from services.billing.web import AccountHttp, store_batch
from shared.contracts.accounts import OWN, Account
from shared.database import Transactions
from shared.events import decode
from shared.nameko_ext.batching import batch_transactions
from shared.settings import Secret
from tests.fixtures.accounts import let_in
from tests.fixtures.unpublished import made_key
from tests.unit.billing.conftest import NOW, payload
from tests.unit.billing.test_webhook import signed

CONNECTED, WITH_KEY, STRANGER = Account("acct_1"), Account("acct_2"), Account("acct_9")
OWN_SECRET, CONNECT, KEYED = (made_key("whsec_", number) for number in (1, 2, 3))


def directory(livemode: bool) -> Directory:
    """A connected account, and one with its own key."""
    return Directory(
        livemode=livemode,
        accounts=[
            KnownAccount(CONNECTED, Way.CONNECTED, AccountState.CONNECTED, livemode),
            KnownAccount(WITH_KEY, Way.OWN_KEY, AccountState.CONNECTED, livemode),
        ],
    )


@pytest.fixture
def billing(database: Transactions) -> Any:
    """The service without its framework."""
    made: Any = BillingService()
    made.database = database
    made.settings = SimpleNamespace(
        stripe_webhook_secrets=(Secret(OWN_SECRET),),
        stripe_connect_webhook_secrets=(Secret(CONNECT),),
    )
    secrets = {WITH_KEY: (Secret(KEYED),)}
    made.accounts = SimpleNamespace(
        directory=directory(False), webhook_secrets=lambda one: secrets.get(one, ())
    )
    made.store = batch_transactions("webhooks", store_batch, database)
    made.woken = []
    made.wake_relay = lambda: made.woken.append("relay")
    made.wake_accounts = lambda: made.woken.append("accounts")
    return made


def event(account: str | None, *, livemode: bool = False, type: str | None = None) -> bytes:
    """A failed charge, or another event, of an account."""
    told = json.loads(payload("invoice.payment_failed"))
    told["livemode"] = livemode
    if account is not None:
        told["account"] = account
    if type is not None:
        told |= {"type": type, "data": {"object": {"id": "ca_1", "object": "application"}}}
        told["id"] = f"evt_{type.replace('.', '')}"
    return json.dumps(told).encode()


def post(billing: Any, endpoint: str, body: bytes, secret: str) -> Response:
    header = [("Stripe-Signature", signed(body, secret=secret, at=int(time.time())))]
    request = Request(EnvironBuilder(method="POST", data=body, headers=header).get_environ())
    if endpoint == "own":
        return billing.stripe_webhook(request)
    if endpoint == "connect":
        return billing.connect_webhook(request)
    request.path_values = {"account": endpoint}  # type: ignore[attr-defined]
    return refused(billing, request) or billing.account_webhook(request, endpoint)


def refused(billing: Any, request: Any) -> Any:
    """What the endpoint of an account with its own key answers without a look at the body, if anything."""
    provider = Accounts()
    provider.holder = billing.accounts
    door = AccountHttp("POST", "/webhooks/stripe/<account>")
    door.container = SimpleNamespace(dependencies={provider})
    return door._refuse_nobodys(request)


SPEAKS = {
    ("own", OWN_SECRET, None): (OWN, "translated"),
    ("connect", CONNECT, CONNECTED): (CONNECTED, "translated"),
    ("connect", CONNECT, STRANGER): (STRANGER, "connected"),
    ("connect", CONNECT, WITH_KEY): (WITH_KEY, "translated"),
    (WITH_KEY, KEYED, None): (WITH_KEY, "translated"),
    (WITH_KEY, KEYED, WITH_KEY): (WITH_KEY, "translated"),
}
"""Endpoint, secret and the account in the event: whose event it is, and what becomes of it. All else is refused."""


@pytest.mark.parametrize("named", [None, CONNECTED, WITH_KEY, STRANGER], ids=str)
@pytest.mark.parametrize("secret", [OWN_SECRET, CONNECT, KEYED])
@pytest.mark.parametrize("endpoint", ["own", "connect", CONNECTED, WITH_KEY, STRANGER])
def test_a_secret_speaks_for_its_own_accounts_alone(
    billing: Any, database: Transactions, endpoint: str, secret: str, named: str | None
) -> None:
    """Everything else is answered with an error, in one line at most, and nothing is stored."""
    with capture_logs() as lines:
        answer = post(billing, endpoint, event(named), secret)
    with database.reading() as session:
        stored = [(row.account, row.status) for row in session.scalars(select(InboxEvent))]
        said = [decode(body).data.account for body in session.scalars(select(OutboxEvent.body))]
    expected = SPEAKS.get((endpoint, secret, named))
    if expected is None:
        assert answer.status_code == (404 if endpoint in (CONNECTED, STRANGER) else 400)
        assert (stored, said) == ([], [])
        assert len(lines) <= 1
        return
    account, status = expected
    assert (answer.status_code, answer.get_json()) == (200, {"received": status})
    assert stored == [(account, status)]
    assert said == ([account] if status == "translated" else [])
    assert [line["log_level"] for line in lines] == ["info"]


@pytest.mark.parametrize(
    ("endpoint", "secret", "named"),
    [("connect", CONNECT, CONNECTED), ("connect", CONNECT, STRANGER)],
)
def test_a_test_event_at_a_live_connect_endpoint_is_dropped(
    billing: Any, database: Transactions, endpoint: str, secret: str, named: str
) -> None:
    """Stripe sends them by design: answered, counted, and neither stored nor told."""
    billing.accounts.directory = directory(True)
    label = {"type": "invoice.payment_failed", "outcome": "other_mode"}
    before = REGISTRY.get_sample_value("portico_stripe_webhooks_total", label) or 0
    with capture_logs() as lines:
        answer = post(billing, endpoint, event(named), secret)
    assert (answer.status_code, answer.get_json()) == (200, {"received": "other_mode"})
    assert REGISTRY.get_sample_value("portico_stripe_webhooks_total", label) == before + 1
    assert lines == []
    with database.reading() as session:
        assert session.scalars(select(InboxEvent)).all() == []
    assert post(billing, endpoint, event(named, livemode=True), secret).status_code == 200


@pytest.mark.parametrize(
    ("endpoint", "secret", "named"),
    [("own", OWN_SECRET, None), ("connect", CONNECT, CONNECTED), (WITH_KEY, KEYED, None)],
)
def test_a_live_event_in_test_mode_is_quarantined(
    billing: Any, endpoint: str, secret: str, named: str | None
) -> None:
    """That is nobody's design: a key or an endpoint is of the wrong mode."""
    answer = post(billing, endpoint, event(named, livemode=True), secret)
    assert answer.get_json() == {"received": "quarantined"}


@pytest.mark.parametrize("named", ["../own", STRANGER, CONNECTED])
def test_an_address_that_names_no_account_with_a_key_is_refused_before_its_body(
    billing: Any, named: str
) -> None:
    """Whatever it is signed with, and counted; so is what has no signature."""
    label = {"type": "unknown", "outcome": "refused"}
    before = REGISTRY.get_sample_value("portico_stripe_webhooks_total", label) or 0
    signature = {"Stripe-Signature": signed(b"{}", secret=KEYED, at=int(time.time()))}
    answer = refused(billing, SimpleNamespace(path_values={"account": named}, headers=signature))
    assert answer.status_code == 404
    assert REGISTRY.get_sample_value("portico_stripe_webhooks_total", label) == before + 1
    known = {"account": WITH_KEY}
    assert refused(billing, SimpleNamespace(path_values=known, headers={})).status_code == 400
    assert refused(billing, SimpleNamespace(path_values=known, headers=signature)) is None


def test_before_the_accounts_are_known_none_is_called_unknown(billing: Any) -> None:
    """Stripe is asked to come again."""
    billing.accounts.directory = Directory(livemode=False, read=False)
    request = SimpleNamespace(path_values={"account": WITH_KEY}, headers={})
    assert refused(billing, request).status_code == 503


def test_an_account_that_shuts_us_out_is_disconnected_by_its_event(
    billing: Any, database: Transactions
) -> None:
    """In the commit that stores it, told to the others; a repeat, or one of before it came back, does nothing."""
    with database.transaction() as session:
        let_in(session, CONNECTED)
    gone = event(CONNECTED, type="account.application.deauthorized")
    assert post(billing, "connect", gone, CONNECT).get_json() == {"received": "translated"}
    assert "accounts" in billing.woken
    with database.transaction() as session:
        row = session.get_one(StripeAccount, CONNECTED)
        assert row.state == "disconnected"
        (body,) = session.scalars(select(OutboxEvent.body)).all()
        told = decode(body)
        assert (told.type, told.data.account) == ("stripe_account.changed", CONNECTED)
        assert accounts.connect(session, CONNECTED, livemode=False, now=NOW.replace(year=2027))
    assert post(billing, "connect", gone, CONNECT).get_json() == {"received": "duplicate"}
    late = json.loads(gone) | {"id": "evt_late"}
    post(billing, "connect", json.dumps(late).encode(), CONNECT)
    with database.reading() as session:
        assert session.get_one(StripeAccount, CONNECTED).state == "connected"


@pytest.mark.parametrize(("enabled", "state"), [(False, "restricted"), (True, "connected")])
def test_an_account_that_stripe_restricts_is_known_as_such(
    billing: Any, database: Transactions, enabled: bool, state: str
) -> None:
    """And served all the same."""
    before = AccountState.CONNECTED if not enabled else AccountState.RESTRICTED
    with database.transaction() as session:
        let_in(session, CONNECTED, state=before)
    told = json.loads(event(CONNECTED, type="account.updated"))
    told["data"]["object"] = {"id": CONNECTED, "object": "account", "charges_enabled": enabled}
    post(billing, "connect", json.dumps(told).encode(), CONNECT)
    with database.reading() as session:
        assert session.get_one(StripeAccount, CONNECTED).state == state


def waiting(database: Transactions, account: str, ids: list[str]) -> None:
    """Events stored before their account was served."""
    with database.transaction() as session:
        for id in ids:
            body = json.loads(event(account)) | {"id": id}
            body["data"]["object"]["id"] = f"in_{id}"
            received = inbox.read_webhook(
                json.dumps(body).encode(), directory=Directory(livemode=False)
            )
            assert inbox.store_webhooks(session, [received], NOW) == [inbox.Outcome.CONNECTED]


@pytest.mark.whole
def test_what_was_stored_before_an_account_was_let_in_is_translated_once_it_is(
    database: Transactions,
) -> None:
    """Oldest first, in batches, each once; what is of accounts that are still not served stays."""
    waiting(database, STRANGER, ["evt_s"])
    waiting(database, CONNECTED, [f"evt_{number:03}" for number in range(inbox.AGAIN_BATCH + 5)])
    waiting(database, WITH_KEY, ["evt_k"])
    with database.transaction() as session:
        let_in(session, CONNECTED)
        let_in(session, STRANGER, state=AccountState.DISCONNECTED)
    rounds = []
    for _ in range(5):
        with database.transaction() as session:
            told = inbox.translate_again(session, directory(False), NOW)
            rounds.append((told.account, told.events) if told else None)
    assert rounds == [
        (CONNECTED, inbox.AGAIN_BATCH),
        (CONNECTED, 5),
        (WITH_KEY, 1),
        None,
        None,
    ]
    with database.reading() as session:
        said = [
            decode(body)
            for body in session.scalars(select(OutboxEvent.body).order_by(OutboxEvent.id))
        ]
        assert [one.correlation_id for one in said[:3]] == ["evt_000", "evt_001", "evt_002"]
        assert len(said) == inbox.AGAIN_BATCH + 6
        rows = session.execute(select(InboxEvent.account, InboxEvent.status).distinct()).all()
    assert set(map(tuple, rows)) == {
        (STRANGER, "connected"),
        (CONNECTED, "translated"),
        (WITH_KEY, "translated"),
    }
