"""Turns what is known about a customer and an invoice into subject, text and HTML.

The words stand in `templates/email/<kind>/`, the look of all emails in `templates/email/_layout.html`.
"""

from __future__ import annotations

import datetime as dt
import functools
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from babel import Locale
from babel.support import NullTranslations
from jinja2 import FileSystemLoader, StrictUndefined

from services.notifier import formats, texts, wording
from services.notifier.domain import (
    DUNNING,
    TO_BUSINESS,
    Incident,
    Kind,
    as_it_stands,
    how_it_ended,
)
from services.notifier.markup import bdi, button_url, web_address
from services.notifier.ports import Business, CancellationLinks, Contact, InvoiceReport
from shared.contracts.invoices import Ending, InvoiceStatus, Retry, settlement
from shared.contracts.payments import Decline, PaymentMethod
from shared.contracts.prices import Price
from shared.l10n.dates import Days
from shared.l10n.money import money
from shared.l10n.palette import palette
from shared.l10n.typography import labelled
from shared.templating import TranslatedEnvironment

PAID: Final = frozenset({Kind.PAYMENT_RECOVERED, Kind.CUSTOMER_RECOVERED})
"""The kinds that tell of money that came in."""

COLLECTABLE: Final = (
    Ending.SUBSCRIPTION_FAILED,
    Ending.SUBSCRIPTION_UNPAID,
    Ending.NO_MORE_TRIES,
)
"""The ends after which a new payment method is charged all the same (`contracts.invoices.may_collect`)."""

TEMPLATES: Final = Path(__file__).parent / "templates" / "email"


@dataclass(frozen=True)
class Line:
    """One of several invoices. `amount` in minor units."""

    amount: int
    currency: str
    number: str | None


@dataclass(frozen=True, kw_only=True, repr=False)
class Letter:
    """Everything that one email may say. Unknown things are None and are not mentioned."""

    kind: Kind
    now: dt.datetime
    """When it is written: dates say their year where it is another one."""
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
    method: PaymentMethod | None = None
    """What was charged."""
    next_method: PaymentMethod | None = None
    """What is charged next, where it is known."""
    decline: Decline | None = None
    next_attempt: dt.datetime | None = None
    tries: int = 0
    """How often Stripe has tried; 0: not known."""
    planned: Retry = Retry.UNKNOWN
    """Whether Stripe will try again by itself."""
    ended_unpaid: bool = False
    """Stripe ended the subscription over this payment."""
    paid_at: dt.datetime | None = None
    """When the payment came in."""
    description: str | None = None
    """What the subscription is called."""
    price: Price | None = None
    """What it costs, where one sentence says it."""
    ends_at: dt.datetime | None = None
    """When the subscription ends, or has ended."""
    ended: bool = False
    note: str | None = None
    """Somebody's own words: the customer's to the business, or the other way round."""
    customer_email: str | None = None
    links: CancellationLinks | None = None
    lines: tuple[Line, ...] = ()
    """What is due, invoice by invoice, where the email asks for several."""
    ending: Ending | None = None
    """How collecting ended."""
    bad_debt: bool = False
    """The invoice is marked as uncollectible."""
    mails: int = 0
    """How often the customer was asked for it by email."""
    last_tried: dt.datetime | None = None
    dashboard_url: str | None = None
    """The invoice in the business's Stripe dashboard: absolute http(s) URL."""


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
    *,
    planned: Retry = Retry.UNKNOWN,
    context: Mapping[str, Any] | None = None,
    links: CancellationLinks | None = None,
    others: Sequence[Incident] = (),
) -> Letter:
    """What an email of this kind says, from what is known: billing's fresh report before our own incident.

    `others` are further invoices that it asks for. `context` is what whoever asked for the email said (`asking.RequestContext`, as JSON types).
    """
    fresh = report.now if report else None
    context = context or {}
    amount: int | None = None
    number: str | None = None
    currency = incident.currency if incident and incident.currency else None
    next_attempt: dt.datetime | None = None
    ended = how_it_ended(incident, fresh, now) if kind is Kind.COLLECTION_ENDED else None
    if incident is not None:
        known = incident if kind in PAID else as_it_stands(incident, fresh)
        amount = settlement(incident).paid if kind in PAID else known.amount_remaining
        number = known.number
        # A date is promised only when a charge will really happen then: Stripe's word on the decline is needed for that.
        read = fresh is not None and not fresh.heard
        if read and planned is Retry.SCHEDULED and _is_ahead(known.next_payment_attempt, now):
            next_attempt = known.next_payment_attempt
    lines: list[Line] = []
    if others and incident is not None:
        lines = [
            Line(one.amount_remaining, one.currency, one.number)
            for one in (as_it_stands(incident, fresh), *others)
        ]
        # A total only where there is one: amounts of two currencies don't add up.
        same = len({line.currency for line in lines}) == 1
        amount = sum(line.amount for line in lines) if same else None
    ends_at = dt.datetime.fromisoformat(context["ends_at"]) if "ends_at" in context else None
    to_business = kind in TO_BUSINESS
    return Letter(
        kind=kind,
        now=now,
        customer_name=contact.name,
        business=contact.business,
        link="" if to_business else contact.link,
        locale=None if to_business else contact.locale,
        timezone=(None if to_business else contact.timezone) or contact.business.timezone,
        amount=amount or None,
        currency=currency,
        number=number,
        method=report.method if report else None,
        next_method=report.next_method if report else None,
        decline=fresh.decline if fresh else None,
        next_attempt=next_attempt,
        # After such a decline the count goes on, and nothing is charged.
        tries=incident.attempt_count
        if incident and not (ended and fresh and fresh.needs_new_method)
        else 0,
        planned=planned,
        ended_unpaid=fresh is not None and fresh.ended_unpaid,
        paid_at=incident.closed_at if incident and kind in PAID else None,
        description=context.get("description"),
        price=msgspec.convert(context["price"], Price) if context.get("price") else None,
        ends_at=ends_at,
        ended=context.get("ended", False) or (ends_at is not None and ends_at <= now),
        note=context.get("note"),
        customer_email=contact.email,
        links=links,
        lines=tuple(lines),
        ending=ended,
        bad_debt=fresh is not None and fresh.status is InvoiceStatus.UNCOLLECTIBLE,
        mails=context.get("mails", 0),
        last_tried=incident.last_failed_at if incident else None,
        dashboard_url=report.dashboard_url if report else None,
    )


def _is_ahead(moment: dt.datetime | None, now: dt.datetime) -> bool:
    return moment is not None and moment > now


@dataclass(frozen=True)
class Button:
    """A button. Without a label it bears the template's `action`."""

    url: str
    label: str = ""


@dataclass(frozen=True)
class Fact:
    """One line of the box with the invoice's facts."""

    label: str
    value: str
    strong: bool = False
    whole: bool = False
    """It is never broken into lines: an amount."""
    number: str = ""
    """Of several alike: stands after the label."""


@dataclass
class Renderer:
    """Renders letters; safe to share between green threads (Jinja's environments are)."""

    catalogues: Path = texts.CATALOGUES
    _environments: dict[tuple[str, bool], TranslatedEnvironment] = field(default_factory=dict)

    def render(self, letter: Letter) -> Rendered:
        """Subject, text and HTML of one email, in the customer's language if it is spoken here."""
        locale = texts.choose_locale(letter.locale, letter.business.locale, folder=self.catalogues)
        words = texts.translations(locale, self.catalogues)
        common = _common(letter, locale, words)
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

    def _environment(self, locale: Locale, *, html: bool) -> TranslatedEnvironment:
        key = (texts.catalogue(locale, self.catalogues), html)
        if key not in self._environments:
            environment = TranslatedEnvironment(
                loader=FileSystemLoader(TEMPLATES),
                autoescape=html,
                undefined=StrictUndefined,
                auto_reload=False,
                trim_blocks=True,
                lstrip_blocks=True,
                keep_trailing_newline=True,
                extensions=["jinja2.ext.i18n"],
            )
            environment.filters["combine"] = operator.or_
            environment.filters["quoted"] = formats.quoted
            environment.filters["labelled"] = partial(labelled, language=locale.language)
            words = texts.translations(locale, self.catalogues)
            environment.install_gettext_translations(  # type: ignore[attr-defined]
                words, newstyle=True
            )
            environment.translate_with(words.gettext)
            self._environments[key] = environment
        return self._environments[key]


def _common(letter: Letter, locale: Locale, words: NullTranslations) -> dict[str, Any]:
    """What text and HTML share. All of it is plain text; the HTML environment escapes it."""
    _ = words.gettext
    days = Days(locale, letter.timezone, letter.now)
    links_until = letter.links.expires_at if letter.links else None
    business = letter.business
    url = button_url(letter.link, letter.kind) if letter.link else ""
    buttons = [Button(url)] if url else []
    if letter.kind is Kind.COLLECTION_ENDED and (page := web_address(letter.dashboard_url)):
        buttons = [Button(page, _("Open the invoice in Stripe"))]
    if letter.links is not None:
        buttons = [
            # What keeps the revenue is the button that stands out.
            Button(letter.links.decline, _("Keep the subscription")),
            Button(letter.links.approve, _("Approve cancellation")),
        ]
    return {
        "kind": letter.kind.value,
        "to_business": letter.kind in TO_BUSINESS,
        "lang": str(locale).replace("_", "-"),
        "direction": locale.text_direction,
        "amount": _amount(letter, locale),
        "facts": _facts(letter, locale, days, words),
        "missing": letter.decline is Decline.NO_PAYMENT_METHOD,
        "why": wording.why_declined(letter.decline, letter.method, _),
        "next_step": wording.what_next(
            letter.decline,
            letter.method,
            letter.next_attempt,
            days,
            _,
            planned=letter.planned,
            ended=letter.ended_unpaid,
            next_method=letter.next_method,
        ),
        "tries": wording.how_often(letter.tries, words.ngettext),
        "ending": letter.ending,
        "goes_on": letter.ending in COLLECTABLE and not letter.bad_debt,
        "several": len(letter.lines) > 1,
        "mails": letter.mails,
        "last_tried": days.full(letter.last_tried) if letter.last_tried else None,
        "on_last_tried": days.on_full(letter.last_tried) if letter.last_tried else None,
        "next_attempt": days.full(letter.next_attempt) if letter.next_attempt else None,
        "on_next_attempt": days.on_full(letter.next_attempt) if letter.next_attempt else None,
        "ended_unpaid": letter.ended_unpaid,
        "ends_on": days.full(letter.ends_at) if letter.ends_at else None,
        "ends_on_date": days.date(letter.ends_at) if letter.ends_at else None,
        "on_ends_on_date": days.on_date(letter.ends_at) if letter.ends_at else None,
        "ended": letter.ended,
        "links_until": days.full(links_until) if links_until else None,
        "note": formats.plain_text(letter.note, 2000) if letter.note else "",
        "url": url,
        "buttons": buttons,
        "reply_to": business.email,
        "phone": formats.plain_name(business.phone) if business.phone else None,
        "website": web_address(business.website),
        "logo_url": web_address(business.logo_url),
        "colors": palette(business.color),
    }


def _facts(letter: Letter, locale: Locale, days: Days, words: NullTranslations) -> list[Fact]:
    """The box with what can be looked up: each kind has its own, and what is not known is left out."""
    _ = words.gettext
    amount = _amount(letter, locale) or ""
    number = formats.plain_name(letter.number) if letter.number else ""
    plan = formats.plain_name(letter.description) if letter.description else ""
    customer = formats.plain_name(letter.customer_name)
    ends_on = days.short(letter.ends_at) if letter.ends_at else ""
    paid_on = Fact(_("Paid on"), days.short(letter.paid_at) if letter.paid_at else "")
    address = Fact(_("Email address"), formats.plain_name(letter.customer_email or "", 254))
    kind = letter.kind
    if kind is Kind.CANCELLATION_REQUESTED:
        ends = Fact(_("Paid until"), ends_on)
    else:
        ends = Fact(_("Ended on") if letter.ended else _("Ends on"), ends_on)
    facts: list[Fact] = []
    if kind is Kind.COLLECTION_ENDED:
        invoices = [_line_fact(line, locale, _) for line in letter.lines]
        facts = [
            Fact(_("Customer"), customer),
            address,
            *(invoices or [Fact(_("Invoice"), number)]),
            Fact(_("Unpaid"), amount, strong=True, whole=True),
        ]
        if not invoices:
            charged = wording.method_fact(letter.method, _)
            facts += [Fact(*charged)] if charged else []
            facts.append(Fact(_("Reason"), wording.reason(letter.decline, _) or ""))
    elif letter.lines:
        facts = [_line_fact(line, locale, _) for line in letter.lines]
        facts.append(Fact(_("Amount due"), amount, strong=True, whole=True))
    elif kind in DUNNING:
        facts = [Fact(_("Amount due"), amount, strong=True, whole=True), Fact(_("Invoice"), number)]
        if charged := wording.method_fact(letter.method, _):
            facts.append(Fact(*charged))
    elif kind is Kind.PAYMENT_RECOVERED:
        facts = [
            Fact(_("Amount paid"), amount, strong=True, whole=True),
            paid_on,
            Fact(_("Invoice"), number),
        ]
    elif kind is Kind.CUSTOMER_RECOVERED:
        facts = [
            Fact(_("Customer"), customer),
            Fact(_("Amount paid"), amount, strong=True, whole=True),
            paid_on,
            Fact(_("Invoice"), number),
        ]
    elif kind is Kind.CUSTOMER_UNREACHABLE:
        facts = [
            Fact(_("Customer"), customer),
            address,
            Fact(_("Amount due"), amount, strong=True, whole=True),
            Fact(_("Invoice"), number if amount else ""),
        ]
    elif kind in (
        Kind.CANCELLATION_REQUESTED,
        Kind.SUBSCRIPTION_ENDING,
        Kind.CANCELLATION_WITHDRAWN,
    ):
        facts = [
            Fact(_("Customer"), customer),
            *([address] if kind is Kind.CANCELLATION_REQUESTED else []),
            Fact(_("Subscription"), plan),
            Fact(_("Price"), _price(letter.price, locale, words)),
            ends,
        ]
    elif kind in (Kind.CANCELLATION_APPROVED, Kind.CANCELLATION_DECLINED):
        facts = [Fact(_("Subscription"), plan), ends]
    return [fact for fact in facts if fact.value]


def _line_fact(line: Line, locale: Locale, _: wording.Gettext) -> Fact:
    number = formats.plain_name(line.number) if line.number else ""
    amount = money(line.amount, line.currency, locale)
    return Fact(_("Invoice"), amount, whole=True, number=number)


def _price(said: Price | None, locale: Locale, words: NullTranslations) -> str:
    written = functools.partial(money, locale=locale)
    return wording.price(said, written, words.gettext, words.ngettext) if said else ""


def _amount(letter: Letter, locale: Locale) -> str | None:
    if letter.amount is None or not letter.currency:
        return None
    return money(letter.amount, letter.currency, locale)


def _names(letter: Letter, locale: Locale, *, html: bool) -> dict[str, Any]:
    """The two names that strangers chose, made harmless for this format."""
    business = formats.plain_name(letter.business.name)
    customer = formats.plain_name(letter.customer_name, longest=60)
    to_business = letter.kind in TO_BUSINESS

    def shown(name: str) -> str:
        return bdi(name) if html else formats.isolated(name, locale)

    return {
        "business": shown(business),
        "business_plain": business,
        "customer": shown(customer),
        "greeted": shown(business if to_business else customer),
        "writer": shown(customer if to_business else business),
        "initial": formats.initial(business),
    }
