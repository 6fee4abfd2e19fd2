"""What customers may do on Stripe's page, how it speaks, and where it leads back to."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from services.billing.domain.accounts import Way
from services.billing.domain.errors import InvalidRequest


@dataclass(frozen=True)
class PortalPolicy:
    """What customers may do on Stripe's page beyond updating their card and reading their invoices.

    The default is conservative: no cancelling and no pausing without the contractor's approval.
    """

    cancel: bool = False
    pause: bool = False

    @property
    def features(self) -> dict[str, bool]:
        """Each feature of Stripe's portal that we decide on, by its name in the API, and whether it is on."""
        return {
            "payment_method_update": True,
            "invoice_history": True,
            "customer_update": False,
            "subscription_update": False,
            "subscription_cancel": self.cancel,
            "subscription_pause": self.pause,
        }


@dataclass(frozen=True)
class PortalConfiguration:
    """A Billing Portal configuration (`bpc_…`) as Stripe holds it."""

    id: str
    livemode: bool
    active: bool
    key: str | None
    """Our name for it, in its metadata under `portico_key`."""
    may: tuple[tuple[str, bool], ...]
    """Every feature that Stripe's portal offers, by its name in the API, and whether it is on."""
    login_page: bool = False
    is_default: bool = False
    """Whether it is the account's default: the one that is saved in Stripe's dashboard."""
    updated: int = 0
    """When it was last changed, in Stripe's seconds since the epoch."""
    application: str | None = None
    """The app or platform that made it, `ca_…`; None: the account itself did, or it was learnt before that was kept."""

    def is_named(self, key: str, way: Way | None, our_application: str | None) -> bool:
        """Whether it is the one that we made, on an account that we act on this `way`, and know by this key. Another platform that runs
        Portico, too, or the account itself, gives its own the same names. `our_application` is STRIPE_CLIENT_ID, `ca_…`: without it
        nothing tells what we made on a connected account. What is made with an account's own key is the account's (None)."""
        ours = {our_application} - {None} if way is Way.CONNECTED else {our_application, None}
        return self.key == key and self.application in ours

    def allows(self, feature: str) -> bool:
        return dict(self.may).get(feature, False)

    def permits(self, flow: str | None) -> bool:
        """Whether a deep link leads anywhere: each flow needs the feature of its own name."""
        return flow is None or self.allows(flow)

    def describe(self) -> list[tuple[str, bool]]:
        """Each thing a customer might do on Stripe's page, in words, and whether they may. Pausing is among them only where
        Stripe's portal offers it."""
        offered = dict(self.may)
        may = [
            (words, offered.get(feature, False))
            for feature, words in WORDS.items()
            if feature in offered or feature != "subscription_pause"
        ]
        return [*may, ("sign in at Stripe without a link of ours", self.login_page)]

    def follows(self, policy: PortalPolicy) -> bool:
        """Whether customers may do exactly what the policy says."""
        return not self.login_page and all(
            self.allows(feature) == on for feature, on in policy.features.items()
        )


WORDS: Final = {
    "payment_method_update": "update the saved payment method",
    "invoice_history": "see invoices and receipts",
    "subscription_cancel": "cancel a subscription",
    "subscription_pause": "pause a subscription (in Stripe's redesigned portal)",
    "customer_update": "change name, email or address",
    "subscription_update": "switch plans",
}
"""What each feature lets customers do. Stripe pauses in the redesigned portal only
(`params/billing_portal/_configuration_create_params.py` of stripe 16.1.0)."""

FLOWS: Final = ("payment_method_update",)
"""Deep links into Stripe's page that we offer."""


@dataclass(frozen=True)
class PortalSession:
    """A fresh session: `url` is secret and short-lived. `configuration` is what it was made on, where Stripe says so."""

    url: str
    configuration: PortalConfiguration | None = None


DASHBOARD: Final = "dashboard"
PORTICO: Final = "portico"
"""What STRIPE_PORTAL_CONFIGURATION may say besides the id of a configuration."""


class PortalSource(enum.StrEnum):
    """Whose configuration customers get on Stripe's page."""

    BUSINESS = "business"
    """One that was made for their business alone: it goes before every setting."""
    NAMED = "named"
    """The one that STRIPE_PORTAL_CONFIGURATION names."""
    DASHBOARD = "dashboard"
    """The account's default, which the business saves in Stripe's dashboard."""
    PORTICO = "portico"
    """Portico's own, because STRIPE_PORTAL_CONFIGURATION says so."""
    KEPT = "kept"
    """Portico's own, because customers had it before the dashboard's was followed, and nobody has switched."""
    NEVER_SAVED = "never_saved"
    """Portico's own, because none was ever saved in the dashboard."""

    @property
    def why(self) -> str:
        """The reason in words."""
        return _WHY[self]

    @property
    def dashboard_counts(self) -> bool:
        """Whether what is saved in the dashboard counts, or would as soon as it is."""
        return self in (PortalSource.DASHBOARD, PortalSource.NEVER_SAVED)


_WHY: Final = {
    PortalSource.BUSINESS: "it was made for this business alone",
    PortalSource.NAMED: "STRIPE_PORTAL_CONFIGURATION names it",
    PortalSource.DASHBOARD: "it is what is saved in Stripe's dashboard",
    PortalSource.PORTICO: "it is Portico's own, as STRIPE_PORTAL_CONFIGURATION says",
    PortalSource.KEPT: "it is Portico's own, as before Portico followed the dashboard",
    PortalSource.NEVER_SAVED: "it is Portico's own, since nobody has saved one in Stripe's dashboard",
}


def portal_source(
    setting: str | None, *, own: bool, keeps_portico: bool, never_saved: bool
) -> PortalSource:
    """Whose configuration counts. `setting` is STRIPE_PORTAL_CONFIGURATION, `own` whether the business has one of its own,
    `keeps_portico` whether this installation ran on Portico's before dashboards were followed, `never_saved` whether it
    is known that the dashboard has none."""
    if own:
        return PortalSource.BUSINESS
    if setting == PORTICO:
        return PortalSource.PORTICO
    if setting is None and keeps_portico:
        return PortalSource.KEPT
    if setting is not None and setting != DASHBOARD:
        return PortalSource.NAMED
    return PortalSource.NEVER_SAVED if never_saved else PortalSource.DASHBOARD


def portal_settings_url(*, livemode: bool) -> str:
    """Where the business saves what customers may do."""
    return f"https://dashboard.stripe.com/{'' if livemode else 'test/'}settings/billing/portal"


def configuration_key(business_id: str | None) -> str:
    """Our name for a configuration: the one of a business, or the default."""
    return f"business:{business_id}" if business_id else "default"


# fmt: off
PORTAL_LOCALES: Final = frozenset((
    "bg", "cs", "da", "de", "el", "en", "en-AU", "en-CA", "en-GB", "en-IE", "en-IN", "en-NZ",
    "en-SG", "es", "es-419", "et", "fi", "fil", "fr", "fr-CA", "hr", "hu", "id", "it", "ja",
    "ko", "lt", "lv", "ms", "mt", "nb", "nl", "pl", "pt", "pt-BR", "ro", "ru", "sk", "sl", "sv",
    "th", "tr", "vi", "zh", "zh-HK", "zh-TW",
))
# fmt: on
"""The languages of Stripe's page (`params/billing_portal/_session_create_params.py` of stripe 16.1.0)."""

_BY_LOWER: Final = {name.lower(): name for name in PORTAL_LOCALES}


def portal_locale(locale: str | None) -> str:
    """The language of Stripe's page for a BCP 47 tag (`de-AT`, `pt_BR`): the closest one, else `auto`."""
    if not locale:
        return "auto"
    tag = locale.replace("_", "-").lower()
    language = tag.split("-", 1)[0]
    if language in ("no", "nn"):  # Stripe speaks Norwegian in Bokmål only
        return "nb"
    return _BY_LOWER.get(tag) or _BY_LOWER.get(language) or "auto"


def check_return_url(return_url: str, public_url: str) -> None:
    """Refuse a way back that does not lead to our own house: an open redirect otherwise.

    Raises InvalidRequest. Compared by its parts, since `https://me.example.com.evil.test` starts with
    `https://me.example.com` too.
    """
    try:
        url, ours = urlsplit(return_url), urlsplit(public_url)
        same_place = (url.scheme, url.hostname, url.port) == (ours.scheme, ours.hostname, ours.port)
    except ValueError:
        raise InvalidRequest("return_url: expected an absolute http(s) URL") from None
    if url.scheme not in ("http", "https") or not same_place or "@" in url.netloc:
        raise InvalidRequest("return_url: expected a URL under PUBLIC_URL")
    if not (url.path + "/").startswith(ours.path.rstrip("/") + "/"):
        raise InvalidRequest("return_url: expected a URL under PUBLIC_URL")
