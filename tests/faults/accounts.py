"""Many Stripe accounts beside the own one: connected ones and such with keys of their own, in pairs that have the same ids."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from examples.host_app import Portico
from sandbox.stripe_api.places import ACCOUNT as SANDBOXS_FIRST
from tests.faults.plan import Person
from tests.faults.poster import Door
from tests.faults.system import System

IMPORTED_AT_ONCE = 500
SEEN_WITHIN = 20.0
"""Billing looks every five seconds at who was let in."""


@dataclass(frozen=True)
class OwnKeyed:
    """An account's own key, and the secret of its webhook endpoint."""

    key: str = field(default_factory=lambda: f"sk_test_{secrets.token_hex(24)}")
    webhook_secret: str = field(default_factory=lambda: f"whsec_{secrets.token_hex(24)}")


class Accounts:
    """So many accounts, and people in each: a pair has the same `cus_…`, `in_…` and `evt_…`, one of it is connected, the other one
    has its own key. With none, there is the own account alone."""

    def __init__(self, folder: Path, count: int) -> None:
        """Writes the file of own keys into the folder."""
        self.ids = [f"acct_1Faults{number:05}" for number in range(count)]
        self.own_keyed = {one: OwnKeyed() for one in self.ids[1::2]}
        self.people: list[Person] = []
        self.settings: dict[str, str] = {}
        if self.own_keyed:
            file = folder / "accounts.json"
            entries = [
                {"account": account, "key": one.key, "webhook_secrets": [one.webhook_secret]}
                for account, one in self.own_keyed.items()
            ]
            file.write_text(json.dumps(entries))
            file.chmod(0o600)
            self.settings["STRIPE_ACCOUNTS_FILE"] = str(file)

    def is_connected(self, account: str) -> bool:
        """Whether its events name it."""
        return account != "" and account not in self.own_keyed

    def doors(self, system: System) -> dict[str, Door]:
        """Where each account's events are posted to, and who signs them."""
        settings = system.stack.env("billing")
        connect = Door("/webhooks/stripe/connect", (settings["STRIPE_CONNECT_WEBHOOK_SECRETS"],))
        made = {"": Door("/webhooks/stripe", (system.stack.webhook_secret,))}
        made |= dict.fromkeys(self.ids, connect)
        return made | {
            account: Door(f"/webhooks/stripe/{account}", (one.webhook_secret,))
            for account, one in self.own_keyed.items()
        }

    def settle(self, system: System, people: int) -> None:
        """Let the accounts in, and make so many people, spread over the own account and them: each a business's customer at Portico,
        who owes one invoice at Stripe."""
        each = -(-people // (len(self.ids) + 1))
        system.sandbox("POST", "/sandbox/webhooks", {"drop": True})
        stripe = _Stripe(system)
        for number in range(each):
            stripe.owing(number)
        for number, account in enumerate(self.ids):
            other = {"copy_of": self.ids[number - 1]} if number % 2 else {"copy_of": SANDBOXS_FIRST, "new_ids": True}  # fmt: skip
            connected = {"connected": "test"} if self.is_connected(account) else {}
            system.sandbox("POST", "/sandbox/accounts", {"id": account, **other, **connected})
            if account in self.own_keyed:
                key = {"key": self.own_keyed[account].key}
                system.sandbox("POST", f"/sandbox/accounts/{account}/keys", key)
        if self.ids:
            system.rows(
                "billing",
                "INSERT INTO stripe_accounts (account, state, livemode, changed_at) "
                "SELECT unnest(%(ids)s), 'connected', false, now()",
                ids=[one for one in self.ids if self.is_connected(one)],
            )
        found = {account: list(self._people_of(stripe, account)) for account in ("", *self.ids)}
        self._at_portico(system, found)
        # In turn, so that a run has all accounts in it, whatever its size.
        self.people = [person for turn in zip(*found.values(), strict=True) for person in turn]
        system.sandbox("DELETE", "/sandbox/requests")

    def _people_of(self, stripe: _Stripe, account: str) -> Iterator[Person]:
        keyed = self.own_keyed.get(account)
        owing = stripe.invoices(account, keyed.key if keyed else None)
        pair = self.ids.index(account) // 2 if account else "own"
        for number, (invoice_id, customer_id) in enumerate(sorted(owing)):
            yield Person(
                name=f"{pair}x{number}",
                account=account,
                named=self.is_connected(account),
                customer_id=customer_id,
                invoice_id=invoice_id,
                email=f"customer{number}@{account.removeprefix('acct_').lower() or 'own'}.example.com",
            )

    def _at_portico(self, system: System, found: dict[str, list[Person]]) -> None:
        def seen() -> bool:
            """billing knows the accounts"""
            told = portico.call("billing", "stripe_account", account=self.ids[0])
            return bool(told["served"])

        with Portico(system.stack.amqp_uri, 60.0, system.calls_on) as portico:
            if self.ids:
                system.wait(seen, SEEN_WITHIN)
            for account, people in found.items():
                business = business_of(account)
                of_account = {"stripe_account": account} if account else {}
                portico.call(
                    "portal", "upsert_business", business_id=business, name=f"{business} & Sons", **of_account
                )  # fmt: skip
                rows = [
                    (f"c{number}", f"Customer {number}", one.email, None, None, one.customer_id)
                    for number, one in enumerate(people)
                ]
                _import(portico, business, rows)


def business_of(account: str) -> str:
    """The business that an account belongs to."""
    return account.removeprefix("acct_") or "faults"


def make_strangers(system: System, account: str, ids: Sequence[str]) -> None:
    """Customers of an account's business, of whom Stripe knows nothing."""
    rows = [(one, f"Customer {one}", f"{one}@example.com", None, None, one) for one in ids]
    with Portico(system.stack.amqp_uri, 60.0, system.calls_on) as portico:
        _import(portico, business_of(account), rows)


def _import(portico: Portico, business: str, rows: Sequence[tuple[str | None, ...]]) -> None:
    for start in range(0, len(rows), IMPORTED_AT_ONCE):
        part = rows[start : start + IMPORTED_AT_ONCE]
        done = portico.call("portal", "import_customers", business_id=business, rows=part)
        assert done["errors"] == []


class _Stripe:
    """The sandbox's API, as the installation's own account, or as another one."""

    def __init__(self, system: System) -> None:
        self._url, self._key = system.stack.sandbox_url, system.stack.stripe_api_key
        self._http = requests.Session()
        self._http.trust_env = False
        product = self._post("/v1/products", name="Garden care")["id"]
        self._price = self._post(
            "/v1/prices", product=product, currency="usd", unit_amount="8900", **{"recurring[interval]": "month"}
        )["id"]  # fmt: skip

    def _post(self, path: str, **form: str) -> Any:
        answer = self._http.post(self._url + path, data=form, auth=(self._key, ""), timeout=30)
        answer.raise_for_status()
        return answer.json()

    def _control(self, path: str) -> None:
        answer = self._http.post(f"{self._url}/sandbox/{path}", json={}, timeout=30)
        answer.raise_for_status()

    def owing(self, number: int) -> None:
        """One who has not paid for the second month."""
        customer = self._post(
            "/v1/customers",
            name=f"Customer {number}",
            payment_method="pm_card_visa",
            **{"invoice_settings[default_payment_method]": "pm_card_visa"},
        )
        card = customer["invoice_settings"]["default_payment_method"]
        self._post(
            "/v1/subscriptions", customer=customer["id"], default_payment_method=card, **{"items[0][price]": self._price}
        )  # fmt: skip
        self._control(f"customers/{customer['id']}/decline_next")
        self._control(f"customers/{customer['id']}/charge_now")

    def invoices(self, account: str, key: str | None) -> Iterator[tuple[str, str]]:
        """The open ones of an account, with whose each is."""
        headers = {"Stripe-Account": account} if account and key is None else {}
        query = {"status": "open", "limit": "100"}
        while True:
            answer = self._http.get(
                f"{self._url}/v1/invoices", params=query, headers=headers, auth=(key or self._key, ""), timeout=30
            )  # fmt: skip
            answer.raise_for_status()
            page = answer.json()
            yield from ((one["id"], one["customer"]) for one in page["data"])
            if not page["has_more"]:
                return
            query["starting_after"] = page["data"][-1]["id"]
