"""The settings of billing, from the environment; wrong ones are told all at once at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from services.billing.domain.paying import AN_API_KEY, is_api_key, is_live_key
from services.billing.domain.portal import DASHBOARD, PORTICO
from services.billing.own_keys import AccountsFile, Installation
from shared.service_settings import ServiceSettings, read_service
from shared.settings import REQUIRED, Reader, Secret, is_loopback
from shared.stripe_connect import STRIPE_CONNECT, read_client_id, read_connect_base

STRIPE_API = "https://api.stripe.com"


@dataclass(frozen=True, kw_only=True)
class StripeSettings:
    """What it takes to set Stripe up, before there is a broker, a name or a webhook endpoint. No secret shows in its `repr`."""

    database_url: Secret
    stripe_api_key: Secret
    stripe_api_base: str
    stripe_portal_configuration: str | None
    """`dashboard`, `portico`, or the id of a configuration; None: `dashboard`, but for those who ran on Portico's before."""

    stripe_client_id: str | None = None
    """What our key's account is called as a platform, `ca_…`, with which businesses connect their accounts; None: it is none."""
    stripe_accounts_file: AccountsFile | None = None
    """The accounts with keys of their own, as they stood in the file at the start."""

    @property
    def names_portal_configuration(self) -> bool:
        """Whether the setting names one configuration, which Portico uses and never changes."""
        return self.stripe_portal_configuration not in (None, DASHBOARD, PORTICO)

    @property
    def livemode(self) -> bool:
        """Whether the key works on real money; events and configurations must be of the same mode."""
        return is_live_key(self.stripe_api_key.reveal())


@dataclass(frozen=True, kw_only=True)
class Settings(StripeSettings, ServiceSettings):
    """What billing needs to know to run. No secret shows in its `repr`."""

    stripe_webhook_secrets: tuple[Secret, ...]
    """Of the endpoint for the installation's own account."""
    public_url: str
    stripe_look_rate: int
    """How many requests a second this process may spend on looking at invoices before emails about them, and at prices."""
    stripe_connect_webhook_secrets: tuple[Secret, ...] = ()
    """Of the endpoint for connected accounts."""
    stripe_connect_base: str = STRIPE_CONNECT
    """Where Stripe's OAuth is."""
    stripe_read_pool: int = 10_000
    """How many reads Stripe allows our key in thirty days, of all accounts that it works on."""


def load_for_stripe(environ: Mapping[str, str] = os.environ) -> StripeSettings:
    """Read and check only what setting Stripe up takes. Raises SettingsError that names every wrong one."""
    read = Reader(environ)
    found = _read_stripe(read)
    public_url = _public_url(read, default=None)  # it is not needed, only believed
    file = _read_accounts_file(read, found, (), public_url)
    read.refuse_known(public_url)
    read.done()
    return replace(found, stripe_accounts_file=file)


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings. Raises SettingsError that names every wrong one."""
    read = Reader(environ)
    service = read_service(read, listens="where billing takes webhooks", address="127.0.0.1:8001")
    stripe = _read_stripe(read)
    secrets = read.secrets(
        "STRIPE_WEBHOOK_SECRETS",
        meaning="the signing secrets of the webhook endpoint, newest first; without one anybody could send events",
        example="whsec_…,whsec_…",
        min_length=16,
    )
    connect_secrets = read.secrets(
        "STRIPE_CONNECT_WEBHOOK_SECRETS",
        meaning="on a platform: the signing secrets of the webhook endpoint for connected accounts, newest first",
        example="whsec_…,whsec_…",
        default=(),
        min_length=16,
    )
    read.check(
        "STRIPE_CONNECT_WEBHOOK_SECRETS",
        not set(connect_secrets or ()) & set(secrets or ()),
        "has a secret that stands in STRIPE_WEBHOOK_SECRETS, too: each endpoint has its own, and speaks for its own accounts alone",
    )
    _check_signing(read, "STRIPE_WEBHOOK_SECRETS", secrets)
    _check_signing(read, "STRIPE_CONNECT_WEBHOOK_SECRETS", connect_secrets)
    public_url = _public_url(read)
    accounts_file = _read_accounts_file(
        read, stripe, (*(secrets or ()), *(connect_secrets or ())), public_url
    )
    look_rate = read.integer(
        "STRIPE_LOOK_RATE",
        meaning="how many requests a second each billing process may ask of Stripe to look at invoices before emails "
        "about them, and at what subscriptions cost that a page has shown; beyond that its webhooks are believed",
        default=6,
        minimum=0,
        maximum=100,
    )
    read_pool = read.integer(
        "STRIPE_READ_POOL",
        meaning="on a platform: how many reads (GET requests) Stripe allows it in thirty days for its own and all connected accounts "
        "together; connected accounts are reconciled within it, customers are never refused for it",
        default=10_000,
        minimum=0,
        maximum=1_000_000_000,
    )
    connect_base = read_connect_base(read)
    read.check(
        "STRIPE_CONNECT_BASE",
        not isinstance(stripe.stripe_api_key, Secret)
        or not stripe.livemode
        or urlsplit(connect_base or "").scheme == "https",
        "must be https:// with a live key",
    )
    read.refuse_known(public_url)
    read.done()
    return Settings(
        **service | vars(stripe) | {"stripe_accounts_file": accounts_file},
        stripe_webhook_secrets=secrets,
        public_url=public_url,
        stripe_look_rate=look_rate,
        stripe_connect_webhook_secrets=connect_secrets,
        stripe_connect_base=connect_base,
        stripe_read_pool=read_pool,
    )


def _check_signing(read: Reader, name: str, secrets: tuple[Secret, ...] | None) -> None:
    for number, secret in enumerate(secrets or (), 1):
        told = f"entry {number} {AN_API_KEY}"
        read.check(name, not is_api_key(secret.reveal()), told)


def _read_accounts_file(
    read: Reader, stripe: StripeSettings, secrets: tuple[Secret, ...], public_url: str | None
) -> AccountsFile | None:
    meaning = (
        "a JSON file with the accounts that have keys of their own: `account`, `key` and `webhook_secrets` of each; "
        "read again when it changes"
    )
    example = "/run/secrets/stripe-accounts.json"
    path = read.text("STRIPE_ACCOUNTS_FILE", meaning=meaning, example=example, default=None)
    if path is None:
        return None
    laptop = public_url is not None and is_loopback(public_url)
    file = AccountsFile(path, Installation(stripe.stripe_api_key, secrets, laptop))
    file.look()
    if file.problem is not None:
        problems = "\n      ".join(file.problem.splitlines())
        told = f"can't be taken: {problems}\n      {meaning}; for example STRIPE_ACCOUNTS_FILE={example}"
        read.check("STRIPE_ACCOUNTS_FILE", False, told)
    return file


def _public_url(read: Reader, default: Any = REQUIRED) -> Any:
    return read.url(
        "PUBLIC_URL",
        meaning="where customers reach the portal",
        example="https://me.example.com",
        default=default,
    )


def _read_stripe(read: Reader) -> StripeSettings:
    database_url = read.database_url("billing")
    key = read.secret(
        "STRIPE_API_KEY",
        meaning="a secret or restricted key of your Stripe account",
        example="sk_test_…",
    )
    base = read.url(
        "STRIPE_API_BASE",
        meaning="Stripe's API, or a stand-in for it",
        example=STRIPE_API,
        default=STRIPE_API,
    )
    read.check(
        "STRIPE_API_BASE", not str(base).endswith("/v1"), "ends with /v1, which comes after it"
    )
    configuration = read.text(
        "STRIPE_PORTAL_CONFIGURATION",
        meaning="what customers may do on Stripe's page: `dashboard`, what is saved in Stripe's dashboard; `portico`, "
        "Portico's own configuration, which lets them update the card and see invoices; or a configuration `bpc_…`. Unset it is "
        "`dashboard`, and `portico` where a release before ran that knew no other",
        example="dashboard",
        default=None,
    )
    client_id = read_client_id(read)
    if isinstance(key, Secret):  # else it is missing, which is told already
        value = key.reveal()
        read.check(
            "STRIPE_API_KEY",
            value.startswith(("sk_test_", "sk_live_", "rk_test_", "rk_live_")),
            "is not a secret key: it should start with sk_test_, sk_live_, rk_test_ or rk_live_",
        )
        read.check(
            "STRIPE_API_BASE",
            not is_live_key(value) or urlsplit(base or "").scheme == "https",
            "must be https:// with a live key",
        )
    read.check(
        "STRIPE_PORTAL_CONFIGURATION",
        configuration in (None, DASHBOARD, PORTICO) or str(configuration).startswith("bpc_"),
        "is not a portal configuration: it should be dashboard, portico, or start with bpc_",
    )
    return StripeSettings(
        database_url=database_url,
        stripe_api_key=key,
        stripe_api_base=base,
        stripe_portal_configuration=configuration,
        stripe_client_id=client_id,
    )
