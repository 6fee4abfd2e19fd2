"""Turns what is known about a customer and an invoice into subject, text and HTML.

The words stand in `templates/email/<kind>/`, the look of all emails in `templates/email/_layout.html`.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from babel import Locale
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from services.notifier import formats, texts, wording
from services.notifier.domain import DUNNING, Decline, Incident, Kind
from services.notifier.ports import Business, Card, Contact, InvoiceReport

TEMPLATES: Final = Path(__file__).parent / "templates" / "email"


@dataclass(frozen=True, kw_only=True, repr=False)
class Letter:
    """Everything that one email may say. Unknown things are None and are not mentioned."""

    kind: Kind
    customer_name: str
    business: Business
    link: str
    """The customer's page: absolute http(s) URL. What the button leads to, with `?from=` added."""
    locale: str | None = None
    timezone: str | None = None
    amount: int | None = None
    """Minor units: what is due, or for payment_recovered what was paid."""
    currency: str | None = None
    number: str | None = None
    card: Card | None = None
    decline: Decline | None = None
    next_attempt: dt.datetime | None = None


@dataclass(frozen=True, repr=False)
class Rendered:
    """A finished email. `subject` is one line."""

    subject: str
    text: str
    html: str


def letter(
    kind: Kind,
    contact: Contact,
    incident: Incident | None,
    report: InvoiceReport | None,
    now: dt.datetime,
) -> Letter:
    """What an email of this kind says, from what is known: billing's fresh report before our own incident."""
    fresh = report.now if report else None
    amount: int | None = None
    number: str | None = None
    next_attempt: dt.datetime | None = None
    if incident is not None:
        amount = incident.amount_remaining
        number = incident.number
        next_attempt = incident.next_payment_attempt
        if kind is Kind.PAYMENT_RECOVERED:
            amount = incident.amount_paid or incident.amount_due
    if fresh is not None and kind is not Kind.PAYMENT_RECOVERED:
        amount = fresh.amount_remaining if fresh.amount_remaining is not None else amount
        number = fresh.number or number
        next_attempt = fresh.next_payment_attempt or next_attempt
    if next_attempt is not None and next_attempt <= now:
        next_attempt = None  # a date that has passed promises nothing
    return Letter(
        kind=kind,
        customer_name=contact.name,
        business=contact.business,
        link=contact.link,
        locale=contact.locale,
        timezone=contact.timezone or contact.business.timezone,
        amount=amount or None,
        currency=incident.currency if incident and incident.currency else None,
        number=number,
        card=report.card if report else None,
        decline=fresh.decline if fresh else None,
        next_attempt=next_attempt,
    )


@dataclass(frozen=True)
class Fact:
    """One line of the box with the invoice's facts."""

    label: str
    value: str
    strong: bool = False


@dataclass
class Renderer:
    """Renders letters; safe to share between green threads (Jinja's environments are)."""

    catalogues: Path = texts.CATALOGUES
    _environments: dict[tuple[str, bool], Environment] = field(default_factory=dict)

    def render(self, letter: Letter) -> Rendered:
        """Subject, text and HTML of one email, in the customer's language if it is spoken here."""
        locale = texts.choose_locale(letter.locale, letter.business.locale, folder=self.catalogues)
        words = texts.translations(locale, self.catalogues)
        common = _common(letter, locale, words.gettext)
        plain = common | _names(letter, locale, html=False)
        rich = common | _names(letter, locale, html=True)
        subject = self._fill(letter.kind, "subject.txt", locale, plain)
        text = self._fill(letter.kind, "body.txt", locale, plain)
        html = self._fill(letter.kind, "body.html", locale, rich | {"subject": subject.strip()})
        return Rendered(
            subject=formats.plain_line(subject),
            text=re.sub(r"\n{3,}", "\n\n", text).strip() + "\n",
            html=html.strip() + "\n",
        )

    def _fill(self, kind: Kind, name: str, locale: Locale, values: dict[str, Any]) -> str:
        environment = self._environment(locale, html=name.endswith(".html"))
        return environment.get_template(f"{kind.value}/{name}").render(values)

    def _environment(self, locale: Locale, *, html: bool) -> Environment:
        key = (locale.language, html)
        if key not in self._environments:
            environment = Environment(
                loader=FileSystemLoader(TEMPLATES),
                autoescape=html,  # noqa: S701 - the text parts are plain text
                undefined=StrictUndefined,
                auto_reload=False,
                trim_blocks=True,
                lstrip_blocks=True,
                keep_trailing_newline=True,
                extensions=["jinja2.ext.i18n"],
            )
            environment.install_gettext_translations(  # type: ignore[attr-defined]
                texts.translations(locale, self.catalogues), newstyle=True
            )
            self._environments[key] = environment
        return self._environments[key]


def _common(letter: Letter, locale: Locale, gettext: wording.Gettext) -> dict[str, Any]:
    """What text and HTML share. All of it is plain text; the HTML environment escapes it."""
    asks_for_money = letter.kind in DUNNING
    amount = (
        formats.money(letter.amount, letter.currency, locale)
        if letter.amount is not None and letter.currency
        else None
    )
    card = wording.card_name(letter.card, gettext)
    next_day = (
        formats.day(letter.next_attempt, letter.timezone, locale) if letter.next_attempt else None
    )
    number = formats.plain_name(letter.number) if letter.number else None
    facts = [
        Fact(
            gettext("Amount due") if asks_for_money else gettext("Amount paid"),
            amount or "",
            strong=True,
        ),
        Fact(gettext("Invoice"), number or ""),
        Fact(gettext("Card"), _capital(card or "") if asks_for_money else ""),
    ]
    business = letter.business
    return {
        "kind": letter.kind.value,
        "lang": str(locale).replace("_", "-"),
        "direction": locale.text_direction,
        "amount": amount,
        "facts": [fact for fact in facts if fact.value],
        "why": wording.why_declined(letter.decline, card, gettext),
        "next_step": wording.what_next(letter.decline, next_day, gettext),
        "url": button_url(letter.link, letter.kind),
        "reply_to": business.email,
        "phone": formats.plain_name(business.phone) if business.phone else None,
        "website": _web(business.website),
        "logo_url": _web(business.logo_url),
        "accent": formats.accent(business.color),
    }


def _names(letter: Letter, locale: Locale, *, html: bool) -> dict[str, Any]:
    """The two names that strangers chose, made harmless for this format."""
    business = formats.plain_name(letter.business.name)
    customer = formats.plain_name(letter.customer_name, longest=60)
    if html:
        return {
            "business": _bdi(business),
            "business_plain": business,
            "customer": _bdi(customer),
            "initial": formats.initial(business),
        }
    return {
        "business": formats.isolated(business, locale),
        "customer": formats.isolated(customer, locale),
    }


def _bdi(name: str) -> Markup:
    return Markup("<bdi>{}</bdi>").format(escape(name)) if name else Markup("")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def button_url(link: str, kind: Kind) -> str:
    """The customer's page, told which email they come from: the portal opens the right form for it.

    Only emails that ask for a payment say so; the others lead to the page as it is.
    """
    if kind not in DUNNING:
        return link
    parts = urlsplit(link)
    came_from = (
        Kind.PAYMENT_ACTION_REQUIRED
        if kind is Kind.PAYMENT_ACTION_REQUIRED
        else Kind.PAYMENT_FAILED
    )
    query = urlencode({"from": came_from.value})
    return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))


def _web(url: str | None) -> str | None:
    """The URL if it is one that may stand in an email: absolute http(s)."""
    if not url or any(char.isspace() for char in url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc else None
