"""The file of accounts with keys of their own: what is refused, what stays, and that no key is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.billing.own_keys import (
    MOST_TOLD,
    AccountsFile,
    Installation,
    OwnKey,
    WrongAccountsFile,
    parse_own_keys,
)
from shared.contracts.accounts import Account
from shared.settings import Secret
from tests.fixtures.unpublished import STRIPE_TEST_KEY, WEBHOOK_SECRET, made_key

OWN_KEY = STRIPE_TEST_KEY
CONNECT_SECRET = WEBHOOK_SECRET
KEY_1, KEY_2 = made_key("rk_test_", 1), made_key("sk_test_", 2)
SECRET_1, SECRET_2, SECRET_3 = (made_key("whsec_", number) for number in (3, 4, 5))
INSTALLATION = Installation(Secret(OWN_KEY), (Secret(CONNECT_SECRET),))
SECRETS = (OWN_KEY, CONNECT_SECRET, KEY_1, KEY_2, SECRET_1, SECRET_2)


def entry(**changes: Any) -> dict[str, Any]:
    """One that is right."""
    return {"account": "acct_1", "key": KEY_1, "webhook_secrets": [SECRET_1], **changes}


SECOND = entry(account="acct_2", key=KEY_2, webhook_secrets=[SECRET_2])


def test_each_account_has_its_key_and_its_secrets() -> None:
    """Restricted keys will do, and several secrets while one is renewed; none shows in a `repr`."""
    found = parse_own_keys(
        json.dumps([entry(webhook_secrets=[SECRET_1, SECRET_3]), SECOND]),
        INSTALLATION,
    )
    assert {one: key.key.reveal() for one, key in found.items()} == {
        "acct_1": KEY_1,
        "acct_2": KEY_2,
    }
    assert len(found[Account("acct_1")].webhook_secrets) == 2
    assert not any(secret in repr(found) for secret in SECRETS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1, column 1: it is no JSON"),
        (json.dumps([entry(), SECOND], indent=1)[:-9], "line 13.*is it whole"),
        ("{}", "another form than expected: Expected `array`"),
        ("[]", "it has no entry"),
        ([entry(key=7)], r"Expected `str`, got `int` - at `\$\[0\].key`"),
        ([entry(colour="red")], "unknown field `colour`"),
        ([{"account": "acct_1", "key": KEY_1}], "missing required field `webhook_secrets`"),
        (f'[{{"key": "{KEY_1}", "key": "{KEY_2}"}}]', "the field `key` twice"),
        ([entry(account="sunrise")], "entry 1: `account` is not an id of Stripe's"),
        ([entry(account="")], "entry 1: `account` is not an id of Stripe's"),
        (
            [entry(), SECOND | {"account": "acct_1"}],
            r"entry 2 \(acct_1\): .* in entry 1 \(acct_1\)",
        ),
        ([entry(key="pk_test_1")], r"entry 1 \(acct_1\): `key` should start with sk_test_"),
        (
            [entry(key=KEY_1.replace("test", "live"))],
            "`key` is of live mode, STRIPE_API_KEY of test",
        ),
        ([entry(key=OWN_KEY)], "`key` is that of STRIPE_API_KEY"),
        ([entry(), SECOND | {"key": KEY_1}], r"entry 2 \(acct_2\): `key` is that of entry 1"),
        ([entry(key=KEY_1 + "\n")], "`key` has a space, the end of a line or a letter"),
        ([entry(webhook_secrets=[f" {SECRET_1}"])], "number 1 has a space, the end of a line"),
        ([entry(webhook_secrets=[])], "`webhook_secrets` is empty: `portico stripe setup"),
        ([entry(webhook_secrets=[KEY_2])], "number 1 is a key of Stripe's API"),
        ([entry(webhook_secrets=["short"])], "number 1 is too short .5 of at least 16 characters"),
        ([entry(webhook_secrets=["whsec_" + "ab" * 9])], "is known or can be guessed"),
        ([entry(webhook_secrets=[CONNECT_SECRET])], "is that of the installation's own endpoints"),
        ([entry(), SECOND | {"webhook_secrets": [SECRET_1]}], "number 1 is that of entry 1"),
        ("[" * 100_000, "."),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(text: Any, problem: str) -> None:
    """What is wrong, where, and what to do; never with a key or a secret."""
    body = text if isinstance(text, str) else json.dumps(text)
    with pytest.raises(WrongAccountsFile, match=problem) as refused:
        parse_own_keys(body, INSTALLATION)
    assert not any(secret in str(refused.value) for secret in SECRETS)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_all_that_is_wrong_is_told_at_once() -> None:
    """A line a problem."""
    with pytest.raises(WrongAccountsFile) as refused:
        parse_own_keys(
            json.dumps([entry(key="x", webhook_secrets=[]), entry(account="?")]), INSTALLATION
        )
    assert len(str(refused.value).splitlines()) == 3


def test_of_very_much_that_is_wrong_the_first_is_told() -> None:
    """Keys of the wrong mode for thousands of accounts: each line was an alarm of its own, every five seconds compared with all."""
    live = [
        entry(account=f"acct_{number}", key=made_key("rk_live_", number)) for number in range(99)
    ]
    with pytest.raises(WrongAccountsFile) as refused:
        parse_own_keys(json.dumps(live), INSTALLATION)
    told = str(refused.value).splitlines()
    assert len(told) == MOST_TOLD + 1
    assert told[-1].startswith("and ")


def test_a_published_secret_will_do_on_a_laptop() -> None:
    """As for the other settings."""
    laptop = Installation(INSTALLATION.api_key, INSTALLATION.webhook_secrets, laptop=True)
    text = json.dumps([entry(webhook_secrets=["whsec_" + "ab" * 9])])
    assert parse_own_keys(text, laptop)


def test_a_change_is_seen_and_a_bad_one_leaves_the_last_good(tmp_path: Path) -> None:
    """Read again when it changes, and told once a change."""
    path, told = tmp_path / "accounts.json", list[str]()
    path.write_text(json.dumps([entry()]), "utf-8-sig")  # as Windows' editors write it
    file = AccountsFile(str(path), INSTALLATION)
    assert (file.look(told.append), file.look(told.append)) == (True, False)
    whole = json.dumps([entry(), SECOND])
    path.write_text(whole[:-20])
    assert (file.look(told.append), file.look(told.append), list(file.keys)) == (
        False,
        False,
        ["acct_1"],
    )
    assert "is it whole" in str(file.problem)
    path.write_text(whole)
    assert (file.look(told.append), list(file.keys), file.problem) == (
        True,
        ["acct_1", "acct_2"],
        None,
    )
    path.unlink()
    assert (file.look(told.append), file.look(told.append), len(file.keys)) == (False, False, 2)
    assert len(told) == 2
    assert "No such file" in told[1]
    assert not any(secret in repr(file) + "".join(told) for secret in SECRETS)


def test_a_file_that_was_away_is_taken_when_it_is_back(tmp_path: Path) -> None:
    """The same file, to its times: a mount that fails for a moment, a link that is swapped back."""
    path, away = tmp_path / "accounts.json", tmp_path / "away"
    (tmp_path / "data").mkdir()
    path.symlink_to("data/accounts.json")
    (tmp_path / "data" / "accounts.json").write_text(json.dumps([entry()]))
    file = AccountsFile(str(path), INSTALLATION)
    assert file.look()
    (tmp_path / "data").rename(away)
    assert not file.look()
    assert "No such file" in str(file.problem)
    away.rename(tmp_path / "data")
    assert not file.look()
    assert (file.problem, list(file.keys)) == (None, ["acct_1"])


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    """Kubernetes swaps a link to a directory; sizes and times may be the same."""
    for number, one in enumerate((entry(), SECOND)):
        made = tmp_path / str(number)
        made.mkdir()
        (made / "accounts.json").write_text(json.dumps([one]))
        os.utime(made / "accounts.json", (1, 1))
    (tmp_path / "data").symlink_to("0")
    file = AccountsFile(str(tmp_path / "data" / "accounts.json"), INSTALLATION)
    assert file.look()
    (tmp_path / "new").symlink_to("1")
    (tmp_path / "new").rename(tmp_path / "data")
    assert file.look()
    assert list(file.keys) == ["acct_2"]


def test_an_own_key_is_its_account(tmp_path: Path) -> None:
    """Two that are read from the same text are the same, so that a file which is written anew is no change."""
    one, two = (parse_own_keys(json.dumps([entry()]), INSTALLATION) for _ in range(2))
    assert one == two == {"acct_1": OwnKey(Account("acct_1"), Secret(KEY_1), (Secret(SECRET_1),))}
