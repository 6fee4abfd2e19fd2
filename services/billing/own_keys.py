"""Accounts with keys of their own: the file of `STRIPE_ACCOUNTS_FILE`, read again when it changes.

A JSON list, so that one which is half-written is none, with an object an account:

    [{"account": "acct_1Nabc", "key": "rk_live_…", "webhook_secrets": ["whsec_…"]}]
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from services.billing.domain.accounts import ACCOUNT, mode_name
from services.billing.domain.paying import AN_API_KEY, is_api_key, is_live_key
from shared.contracts.accounts import Account
from shared.known_secrets import is_guessable, is_published
from shared.settings import Secret

KEY_PREFIXES: Final = ("sk_test_", "sk_live_", "rk_test_", "rk_live_")
MOST_BYTES: Final = 16 << 20
_VISIBLE: Final = re.compile(r"[!-~]+")
_HIDDEN: Final = (
    "has a space, the end of a line or a letter that no key has: was something copied with it?"
)
MOST_TOLD: Final = 20
"""Of what is wrong with a file, so much is told: what is wrong with one entry is often wrong with thousands."""


class WrongAccountsFile(Exception):
    """The file can't be taken: a line a problem, which names the entry and what to do, and repeats no key."""


def first_of(problems: Sequence[str]) -> list[str]:
    """The first problems, and how many more there are."""
    more = len(problems) - MOST_TOLD
    return [*problems[:MOST_TOLD], *([f"and {more} more"] if more > 0 else [])]


@dataclass(frozen=True, slots=True)
class OwnKey:
    """An account's own key, and the signing secrets of its webhook endpoint, newest first. None shows in its `repr`."""

    account: Account
    key: Secret
    webhook_secrets: tuple[Secret, ...]


@dataclass(frozen=True)
class Installation:
    """What the entries must not be, or must be like."""

    api_key: Secret | None
    """None where it is missing, which is told already."""
    webhook_secrets: tuple[Secret, ...]
    """Of the installation's own endpoints, the Connect endpoint's among them."""
    laptop: bool = False
    """Whether customers are on this machine alone: secrets that everybody knows will do."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    key: str
    webhook_secrets: list[str]


def parse_own_keys(text: str, installation: Installation) -> dict[Account, OwnKey]:
    """The accounts of a file. Raises WrongAccountsFile, which names what is wrong with it: the first `MOST_TOLD`."""
    entries = _entries(text)
    own = installation.api_key
    known = {} if own is None else {own.reveal(): "STRIPE_API_KEY"}
    known |= {
        one.reveal(): "the installation's own endpoints" for one in installation.webhook_secrets
    }
    accounts: dict[str, str] = {}
    found: dict[Account, OwnKey] = {}
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        place = f"entry {number}"
        if ACCOUNT.fullmatch(entry.account):
            place += f" ({entry.account})"
            before = accounts.setdefault(entry.account, place)
            if before != place:
                problems.append(f"{place}: the account stands in {before} already: take one out")
        else:
            problems.append(f"{place}: `account` is not an id of Stripe's, acct_…")
        problems += (f"{place}: {one}" for one in _problems(entry, installation, known))
        known[entry.key] = place
        known |= dict.fromkeys(entry.webhook_secrets, place)
        account = Account(entry.account)
        found[account] = OwnKey(
            account, Secret(entry.key), tuple(map(Secret, entry.webhook_secrets))
        )
    if problems:
        raise WrongAccountsFile("\n".join(first_of(problems)))
    return found


def _entries(text: str) -> list[_Entry]:
    """Raises WrongAccountsFile. What JSON and msgspec say of a text names places and types, and quotes no value."""
    try:
        entries = msgspec.convert(
            json.loads(text, object_pairs_hook=_without_doubles), list[_Entry]
        )
    except json.JSONDecodeError as error:
        raise WrongAccountsFile(
            f"line {error.lineno}, column {error.colno}: it is no JSON ({error.msg}); is it whole?"
        ) from None
    except _Doubled as error:
        raise WrongAccountsFile(f"an object has the field `{error}` twice: take one out") from None
    except (msgspec.ValidationError, RecursionError) as error:
        raise WrongAccountsFile(f"it has another form than expected: {error}") from None
    if not entries:
        raise WrongAccountsFile(
            "it has no entry; unset STRIPE_ACCOUNTS_FILE where no account has its own key"
        )
    return entries


class _Doubled(Exception):
    pass


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Doubled(next(name for name in names if names.count(name) > 1)[:40])
    return made


def _problems_of_key(
    entry: _Entry, installation: Installation, known: Mapping[str, str]
) -> Iterable[str]:
    live = is_live_key(installation.api_key.reveal() if installation.api_key else entry.key)
    if not entry.key.startswith(KEY_PREFIXES):
        yield "`key` should start with sk_test_, sk_live_, rk_test_ or rk_live_"
    elif not _VISIBLE.fullmatch(entry.key):
        yield f"`key` {_HIDDEN}"
    elif is_live_key(entry.key) != live:
        yield (
            f"`key` is of {mode_name(not live)} mode, STRIPE_API_KEY of {mode_name(live)} mode: give this account a key "
            f"of {mode_name(live)} mode"
        )
    if entry.key in known:
        yield f"`key` is that of {known[entry.key]}: an account has one place"
    elif not installation.laptop and is_published(entry.key):
        yield "`key` is printed in Portico's own repository: everybody knows it"


def _problems(entry: _Entry, installation: Installation, known: Mapping[str, str]) -> Iterable[str]:
    yield from _problems_of_key(entry, installation, known)
    if not entry.webhook_secrets:
        yield "`webhook_secrets` is empty: `portico stripe setup` makes the endpoint …/webhooks/stripe/acct_… and its secret"
    for number, secret in enumerate(entry.webhook_secrets, 1):
        name = f"`webhook_secrets` number {number}"
        if len(secret) < 16:
            yield f"{name} is too short ({len(secret)} of at least 16 characters)"
        elif not _VISIBLE.fullmatch(secret):
            yield f"{name} {_HIDDEN}"
        elif is_api_key(secret):
            yield f"{name} {AN_API_KEY}"
        elif secret in known:
            yield f"{name} is that of {known[secret]}: whoever knows it could speak for both; make one for each"
        elif not installation.laptop and (is_published(secret) or is_guessable(secret)):
            yield f"{name} is known or can be guessed: make another one at random"


class AccountsFile:
    """The file, with what was good in it last. Nothing of a key shows in its `repr` or in what it raises."""

    def __init__(self, path: str, installation: Installation) -> None:
        self.path = path
        self.keys: dict[Account, OwnKey] = {}
        self.problem: str | None = None
        """Why the file as it is now is not taken."""
        self._installation = installation
        self._seen: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"AccountsFile({self.path!r}, accounts={len(self.keys)})"

    def look(self, tell: Callable[[str], None] = lambda problem: None) -> bool:
        """Read the file if it has changed; whether `keys` have. One that can't be taken leaves what was good last, and is told
        once for each change."""
        try:
            seen = self._signature()
            if seen == self._seen:
                return False
            text = self._read()
            self._seen = seen
            keys = parse_own_keys(text, self._installation)
        except (OSError, ValueError) as error:  # a name that can be none, or bytes that are no text
            if isinstance(error, OSError):
                self._seen = None  # back as it was, it is another file than none
            self._refuse(getattr(error, "strerror", None) or "it can't be read as text", tell)
            return False
        except WrongAccountsFile as error:
            self._refuse(str(error), tell)
            return False
        self.problem = None
        changed = keys != self.keys
        self.keys = keys
        return changed

    def _signature(self) -> tuple[int, ...]:
        # By the name, so that a link that leads elsewhere now, as Kubernetes swaps them, is another file.
        found = os.stat(self.path)
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size

    def _read(self) -> str:
        with Path(self.path).open("rb") as file:
            body = file.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise WrongAccountsFile(f"it is larger than {MOST_BYTES >> 20} MiB")
        return body.decode("utf-8-sig")

    def _refuse(self, problem: str, tell: Callable[[str], None]) -> None:
        if problem != self.problem:
            tell(problem)
        self.problem = problem
