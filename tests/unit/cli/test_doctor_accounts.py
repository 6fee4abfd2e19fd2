"""`portico doctor` about the accounts beside the installation's own: each planted fault is found and named, and nothing else."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from portico.checks.accounts import (
    MOST_KEYS,
    MOST_NAMED,
    check_own_keys,
    check_reads,
    check_standing,
)
from portico.cli.findings import Finding, Level
from portico.commands.doctor import Probes
from services.billing.adapters.stripe.account import KeyOwner, WebhookEndpoint
from services.billing.domain.accounts import AccountState, KnownAccount, Way
from services.billing.domain.errors import OwnKeyRefused, StripePermissionMissing
from services.billing.domain.reads import ReadKey, ReadPool
from services.billing.own_keys import OwnKey
from services.billing.queries.accounts import connect, disconnect
from services.billing.queries.reads import add_reads
from services.billing.stripe_events.translation import WANTED
from services.portal.models import BusinessRow, CustomerRow
from services.portal.queries.businesses import ChargedAs
from shared.contracts.accounts import OWN, Account
from shared.contracts.rpc.errors import StripeRefused, StripeUnavailable
from shared.database import Transactions, make_engine
from shared.migrations import upgrade
from shared.settings import Secret
from tests.fixtures.unpublished import STRIPE_TEST_KEY, made_key

THEIRS, PLATFORM = Account("acct_theirs"), "acct_platform"
ENDPOINT = WebhookEndpoint(
    "we_1", f"https://hooks.example.com/webhooks/stripe/{THEIRS}", True, "2026-10-28.endive", WANTED
)


def key_of(account: Account) -> OwnKey:
    return OwnKey(account, Secret(made_key("rk_test_", 1)), (Secret(made_key("whsec_", 1)),))


@dataclass
class Theirs:
    """An account with its own key, all well until it is spoiled."""

    whose: str | None = THEIRS
    lacking: list[str] = field(default_factory=list)
    endpoints: list[WebhookEndpoint] = field(default_factory=lambda: [ENDPOINT])
    trouble: Exception | None = None
    api_version = "2026-10-28.endive"

    statement: str | None = None

    def key_owner(self) -> KeyOwner | None:
        if self.trouble is not None:
            raise self.trouble
        return KeyOwner(self.whose, self.statement) if self.whose else None

    def lacking_rights(self) -> list[str]:
        return self.lacking

    def webhook_endpoints(self) -> list[WebhookEndpoint]:
        assert "webhook_endpoints" not in self.lacking
        return self.endpoints


def levels(findings: Any) -> dict[str, Level]:
    return {one.code: one.level for one in findings}


def examined(theirs: Theirs, account: Account = THEIRS) -> dict[str, Level]:
    keys = {account: key_of(account)}
    return levels(check_own_keys(keys, lambda: PLATFORM, lambda key: theirs))


def test_a_good_key_is_well() -> None:
    """Its endpoint, too."""
    assert examined(Theirs()) == {
        "webhook-acct_theirs": Level.OK,
        "own-key-acct_theirs": Level.OK,
    }


@pytest.mark.parametrize(
    ("spoiled", "found"),
    [
        (Theirs(whose="acct_third"), {"own-key-wrong": Level.FINDING}),
        (Theirs(whose=PLATFORM), {"own-key-wrong": Level.FINDING}),
        (Theirs(whose=None), {"own-key-unsure": Level.ASK, "webhook": Level.OK}),
        (Theirs(lacking=["events"]), {"own-key-rights": Level.FINDING, "webhook": Level.OK}),
        (Theirs(lacking=["webhook_endpoints"]), {"own-key-rights": Level.FINDING}),
        (Theirs(endpoints=[]), {"webhook-missing": Level.FINDING, "own-key": Level.OK}),
        (
            Theirs(endpoints=[replace(ENDPOINT, enabled=False)]),
            {"webhook-disabled": Level.FINDING, "own-key": Level.OK},
        ),
        (Theirs(trouble=OwnKeyRefused("401")), {"own-key-refused": Level.FINDING}),
        (Theirs(trouble=StripePermissionMissing("403")), {"own-key-refuses": Level.FINDING}),
        (Theirs(trouble=StripeRefused("400")), {"own-key-refuses": Level.FINDING}),
        (Theirs(trouble=StripeUnavailable("503")), {"own-key-unreachable": Level.UNKNOWN}),
    ],
)
def test_what_is_wrong_with_a_key_is_found(spoiled: Theirs, found: dict[str, Level]) -> None:
    """By the account, whatever it is."""
    told = {code.replace(f"-{THEIRS}", ""): level for code, level in examined(spoiled).items()}
    assert told == found


@pytest.mark.parametrize(
    ("statement", "charged_as", "told"),
    [
        ("SUNRISE HOME", None, "does not say so"),
        ("SUNRISE HOME", "SUNRISE*", "says “SUNRISE*”"),
        ("SUNRISE", "OTHER", "says “OTHER”"),
        ("SUNRISE HOME", "Sunrise home", None),
        ("SUNRISE", None, None),
        (None, "SUNRISE*", None),
    ],
)
def test_a_business_that_says_another_name_than_statements_is_for_a_person_to_look_at(
    statement: str | None, charged_as: str | None, told: str | None
) -> None:
    """With the command that tells it; where Stripe calls it by its name, or says nothing, there is nothing to say."""
    asked: list[Account] = []

    def of(account: Account) -> list[ChargedAs]:
        asked.append(account)
        return [ChargedAs("sunrise", "Sunrise", charged_as)]

    theirs = Theirs(statement=statement)
    found = check_own_keys({THEIRS: key_of(THEIRS)}, lambda: None, lambda key: theirs, of)
    looks = [one for one in found if one.code == "charged-as-sunrise"]
    assert [one.level for one in looks] == ([Level.ASK] if told else [])
    assert asked == ([THEIRS] if statement else [])
    if told:
        assert f"the business sunrise {told}" in looks[0].text
        (wish,) = re.findall(r"'({.*})'", looks[0].remedy)
        assert json.loads(wish) == {
            "business_id": "sunrise",
            "name": "Sunrise",
            "charged_as": None if statement == "SUNRISE" else statement,
        }


def test_the_own_account_needs_no_entry() -> None:
    """It would be served twice, under two names."""
    own = Account(PLATFORM)
    assert examined(Theirs(whose=PLATFORM), own) == {f"own-key-own-{own}": Level.FINDING}


def test_one_account_that_fails_leaves_the_others_to_be_looked_at() -> None:
    """Of very many the rest is counted, and `--account` picks one."""
    keys = {one: key_of(one) for one in (Account(f"acct_{number}") for number in range(60))}
    asked: list[str] = []

    def look(key: OwnKey) -> Theirs:
        asked.append(key.account)
        return Theirs(trouble=OwnKeyRefused("401"))

    told = list(check_own_keys(keys, lambda: None, look))
    assert len(asked) == MOST_KEYS
    assert told[-1].text.startswith("10 more accounts")
    asked.clear()
    picked = list(check_own_keys(keys, lambda: None, look, account="acct_55"))
    assert ([one.code for one in picked], asked) == (["own-key-refused-acct_55"], ["acct_55"])
    (unknown,) = check_own_keys(keys, lambda: None, look, account="acct_x")
    assert (unknown.code, asked) == ("own-key-unknown", ["acct_55"])


def standing(states: dict[str, AccountState], customers: dict[str, int]) -> list[Finding]:
    known = [
        KnownAccount(Account(name), Way.CONNECTED, state, False) for name, state in states.items()
    ]
    counted: Callable[[list[Account]], dict[Account, int]] = lambda named: {  # noqa: E731
        one: customers[one] for one in named if one in customers
    }
    return list(check_standing(known, counted))


def test_accounts_on_which_nothing_goes_are_named() -> None:
    """Restricted ones, and disconnected ones whose customers are still here."""
    states = {
        "acct_1": AccountState.CONNECTED,
        "acct_2": AccountState.RESTRICTED,
        "acct_3": AccountState.DISCONNECTED,
        "acct_4": AccountState.DISCONNECTED,
    }
    found = standing(states, {"acct_1": 5, "acct_4": 1200})
    assert levels(found) == {
        "account-restricted-acct_2": Level.ASK,
        "account-disconnected-acct_4": Level.FINDING,
    }
    assert "1,200 customer(s)" in found[-1].text
    keyless = KnownAccount(Account("acct_5"), Way.OWN_KEY, AccountState.DISCONNECTED, False)
    (gone,) = check_standing([keyless], lambda named: dict.fromkeys(named, 3))
    assert "its key is gone from STRIPE_ACCOUNTS_FILE" in gone.text
    assert "put its key back" in str(gone.remedy)
    let_in = replace(keyless, way=Way.CONNECTED, state=AccountState.CONNECTED)
    assert list(check_standing([let_in, keyless], lambda named: dict.fromkeys(named, 3))) == []
    many = {f"acct_{number}": AccountState.RESTRICTED for number in range(MOST_NAMED + 3)}
    assert standing(many, {})[-1].text.startswith("3 more accounts")


@pytest.mark.parametrize(
    ("used", "connected", "level"),
    [
        (100, True, Level.OK),
        (9_000, True, Level.ASK),
        (10_000, True, Level.FINDING),
        (10_000, False, Level.OK),
    ],
)
def test_the_reads_of_the_month_are_told(used: int, connected: bool, level: Level) -> None:
    """And which accounts take most of them; it is trouble only where accounts share them."""
    most = {OWN: 60, THEIRS: 40}
    (one,) = check_reads(ReadPool(10_000, used, 0), most, connected=connected)
    assert (one.code, one.level) == ("stripe-reads", level)
    assert "most: the own account 60, acct_theirs 40" in one.text


@pytest.mark.whole
def test_what_is_told_stands_in_the_databases(tmp_path: Path) -> None:
    """Reads and standings are billing's, customers the portal's; without the portal's nobody's customers are known."""
    urls = {name: f"sqlite:///{tmp_path}/{name}.sqlite3" for name in ("billing", "portal")}
    for name, url in urls.items():
        upgrade(name, url)
    billing, portal = (make_engine(url) for url in urls.values())
    now = dt.datetime.now(dt.UTC)
    with Transactions(billing).transaction() as session:
        connect(session, THEIRS, livemode=False, now=now)
        disconnect(session, THEIRS, now)
        add_reads(session, {ReadKey(THEIRS, now.date(), False): 7})
    moments = {"created_at": now, "updated_at": now}
    with Transactions(portal).transaction() as session:
        session.add(
            BusinessRow(
                id=1,
                business_id="sunrise",
                name="S",
                locale="en",
                timezone="UTC",
                account=THEIRS,
                **moments,
            )
        )
        session.flush()
        session.add(
            CustomerRow(
                account=THEIRS,
                public_id="0" * 22,
                business_pk=1,
                external_id="c1",
                name="N",
                email="n@example.com",
                link_generation=1,
                **moments,
            )
        )
    for engine in (billing, portal):
        engine.dispose()
    settings: Any = SimpleNamespace(
        stripe_accounts_file=None,
        stripe_api_key=Secret(STRIPE_TEST_KEY),
        stripe_api_base="http://127.0.0.1:9",
        stripe_read_pool=100,
        database_url=Secret(urls["billing"]),
    )
    look = Probes().accounts
    told = {
        one.code: one
        for one in look(settings, SimpleNamespace(database_url=Secret(urls["portal"])), None)
    }
    assert set(told) == {"stripe-reads", f"account-disconnected-{THEIRS}"}
    assert "7 reads" in told["stripe-reads"].text
    assert "1 customer(s)" in told[f"account-disconnected-{THEIRS}"].text
    assert [one.code for one in look(settings, None, None)] == ["stripe-reads"]
    assert [one.code for one in look(settings, None, "acct_x")] == ["own-key-unknown"]
