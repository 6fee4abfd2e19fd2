"""What customers may do on Stripe's page, how it speaks, and where it leads back to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from services.billing.domain.errors import InvalidRequest


@dataclass(frozen=True)
class PortalPolicy:
    """What customers may do on Stripe's page beyond updating their card and reading their invoices.

    The default is conservative: no cancelling and no pausing without the contractor's approval.
    """

    cancel: bool = False
    pause: bool = False


@dataclass(frozen=True)
class PortalConfiguration:
    """A Billing Portal configuration (`bpc_…`) as Stripe holds it."""

    id: str
    livemode: bool
    active: bool
    key: str | None
    """Our name for it, in its metadata under `portico_key`."""
    may: tuple[tuple[str, bool], ...]
    """Every feature of Stripe's portal by its name in the API, and whether it is on."""
    login_page: bool = False

    def allows(self, feature: str) -> bool:
        return dict(self.may).get(feature, False)

    def describe(self) -> list[tuple[str, bool]]:
        """Each thing a customer might do on Stripe's page, in words, and whether they may."""
        return [
            ("update the saved payment method", self.allows("payment_method_update")),
            ("see invoices and receipts", self.allows("invoice_history")),
            ("cancel a subscription", self.allows("subscription_cancel")),
            ("pause a subscription", self.allows("subscription_pause")),
            ("change name, email or address", self.allows("customer_update")),
            ("switch plans", self.allows("subscription_update")),
            ("sign in at Stripe without a link of ours", self.login_page),
        ]

    def follows(self, policy: PortalPolicy) -> bool:
        """Whether customers may do exactly what the policy says."""
        wanted = {
            "payment_method_update": True,
            "invoice_history": True,
            "customer_update": False,
            "subscription_update": False,
            "subscription_cancel": policy.cancel,
            "subscription_pause": policy.pause,
        }
        return not self.login_page and all(
            self.allows(name) == value for name, value in wanted.items()
        )


FLOWS: Final = ("payment_method_update",)
"""Deep links into Stripe's page that we offer."""


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
