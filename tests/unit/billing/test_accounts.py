"""Which account a call to Stripe is made on, and what each account has of its own."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from services.billing.adapters.stripe.breaker import FAILURES, Breaker
from services.billing.adapters.stripe.client import OnAccount
from services.billing.domain.accounts import AccountState, Directory, KnownAccount, Way
from services.billing.domain.budget import Budget
from services.billing.domain.per_account import PerAccount
from services.billing.rpc.errors import served
from shared.contracts.accounts import (
    OWN,
    Account,
    StripeId,
    by_account,
    in_account,
    outside_account,
    read_name,
)
from shared.contracts.rpc.errors import InvalidArgument, StripeUnavailable

ROOT = Path(__file__).parents[3]
WRAPPER = ROOT / "services" / "billing" / "adapters" / "stripe" / "client.py"
OTHER = Account("acct_1")


def bare_calls(source: str) -> list[int]:
    """The lines that reach the library's resources: a client that is made, its `.v1` or `.v2`, or a request in the raw."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and node.attr in ("v1", "v2", "StripeClient", "raw_request")
    ]


@pytest.mark.whole
def test_stripes_library_is_called_through_the_wrapper_alone() -> None:
    """Whoever reached a resource of the library another way could forget the account."""
    found = {
        str(path.relative_to(ROOT)): lines
        for room in ("services", "portico", "shared")
        for path in sorted((ROOT / room).rglob("*.py"))
        if path != WRAPPER and (lines := bare_calls(path.read_text()))
    }
    assert found == {}
    assert bare_calls(WRAPPER.read_text()), "the search still knows a client when it sees one"
    assert bare_calls("found = client.v1.invoices.retrieve('in_1')")


class Library:
    """Stripe's library: keeps with which options it was called."""

    def __init__(self) -> None:
        self.options: list[dict[str, Any]] = []
        self.invoices = self

    def pay(self, id: str, params: dict[str, Any], options: dict[str, Any]) -> str:
        self.options.append(options)
        return id


@pytest.mark.parametrize(
    ("account", "sent"),
    [
        (OWN, {"idempotency_key": "pay:in_1"}),
        (OTHER, {"idempotency_key": "acct_1/pay:in_1", "stripe_account": "acct_1"}),
    ],
)
def test_each_call_is_made_on_its_account(account: Account, sent: dict[str, Any]) -> None:
    """By an option, and with a key that is the account's; the own account's calls are byte for byte those of before."""
    library = Library()
    api = OnAccount(library, account)
    assert api.invoices.pay("in_1", {}, options={"idempotency_key": "pay:in_1"}) == "in_1"
    api.invoices.pay("in_1", {})
    assert library.options == [
        sent,
        {name: sent[name] for name in sent if name != "idempotency_key"},
    ]


def test_options_that_are_not_named_are_refused() -> None:
    """Given by their place they would slip past the wrapper."""
    with pytest.raises(TypeError, match="options"):
        OnAccount(Library(), OTHER).invoices.pay("in_1", {}, {"idempotency_key": "k"})


def test_one_accounts_outage_leaves_the_others_alone() -> None:
    """Its breaker opens for itself."""
    breakers = PerAccount(Breaker)
    for _ in range(FAILURES):
        with pytest.raises(StripeUnavailable), breakers.at(OTHER).guard():
            raise StripeUnavailable("away")
    assert (breakers.at(OTHER).open, breakers.at(OWN).open) == (True, False)
    assert [one.open for one in breakers.known()] == [True, False]


def test_one_accounts_flood_leaves_the_others_alone() -> None:
    """Its budget is spent for itself."""
    budgets = PerAccount(lambda: Budget(1))
    assert budgets.at(OTHER).take(3)
    assert not budgets.at(OTHER).take(1)
    assert budgets.at(OWN).take(3)


def test_as_many_accounts_as_there_are_take_bounded_memory() -> None:
    """What was used last is remembered."""
    made: PerAccount[object] = PerAccount(object, most=3)
    first, own = made.at(Account("acct_0")), made.at(OWN)
    for number in range(1, 1000):
        made.at(Account(f"acct_{number}"))
        assert made.at(OWN) is own
    assert len(list(made.known())) == 3
    assert made.at(Account("acct_0")) is not first


def connected(account: Account = OTHER, **changes: Any) -> KnownAccount:
    """An account that let us in."""
    values = {"way": Way.CONNECTED, "state": AccountState.CONNECTED, "livemode": False}
    return KnownAccount(account, **{**values, **changes})


@pytest.mark.parametrize(
    ("known", "refusal"),
    [
        ([], "not connected here"),
        ([connected()], None),
        ([connected(way=Way.OWN_KEY)], None),
        ([connected(state=AccountState.RESTRICTED)], None),
        ([connected(state=AccountState.DISCONNECTED)], "is disconnected"),
        ([connected(livemode=True)], "connected in live mode; our key is of test mode"),
    ],
)
def test_an_account_is_served_while_it_lets_us_in(
    known: list[KnownAccount], refusal: str | None
) -> None:
    """The own one always, another one in the mode of our key; a caller is told why not."""
    directory = Directory(livemode=False, accounts=known)
    assert directory.why_not_served(OWN) is None
    assert served("", directory) == OWN
    found = directory.why_not_served(OTHER)
    if refusal is None:
        assert (found, served("acct_1", directory)) == (None, OTHER)
        return
    assert refusal in str(found)
    with pytest.raises(
        InvalidArgument, match=f"account: acct_1 .*{refusal}; `portico stripe accounts`"
    ):
        served("acct_1", directory)


def test_nothing_is_said_of_accounts_that_could_not_be_read() -> None:
    """A caller may ask again: that an account is not served would be an answer for good."""
    directory = Directory(livemode=False, read=False)
    assert served("", directory) == OWN
    with pytest.raises(StripeUnavailable, match="could not be read yet"):
        served("acct_1", directory)


@pytest.mark.parametrize(
    "key", ["pay:in_1:pm_1:evt_1", "in_1/1/payment_failed", "evt_1/invoice.paid"]
)
def test_a_key_is_in_its_account_and_read_without_it(key: str) -> None:
    """Unchanged in the own account, so that what is stored under it is found again."""
    assert in_account(OWN, key) == key
    assert in_account(OTHER, key) == f"acct_1/{key}"
    for account in (OWN, OTHER):
        assert outside_account(account, in_account(account, key)) == key


def test_people_write_names_as_keys_are() -> None:
    """An id alone is of the own account, whatever stands behind it."""
    for name in (StripeId(OWN, "evt_1/invoice.paid"), StripeId(OTHER, "evt_1/invoice.paid")):
        assert read_name(in_account(*name)) == name


def test_ids_are_asked_for_account_by_account() -> None:
    """Each once, in the order in which rows are locked."""
    names = [
        StripeId(OTHER, "in_2"),
        StripeId(OWN, "in_3"),
        StripeId(OTHER, "in_1"),
        StripeId(OTHER, "in_2"),
    ]
    assert by_account(names) == {OWN: ["in_3"], OTHER: ["in_1", "in_2"]}
    assert sorted(set(names)) == [
        StripeId(account, id) for account, ids in by_account(names).items() for id in ids
    ]
