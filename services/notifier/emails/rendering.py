"""Turns a letter into subject, text and HTML.

The words stand in `templates/email/<kind>/`, the look of all emails in `templates/email/_layout.html`.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from babel import Locale
from babel.support import NullTranslations
from jinja2 import FileSystemLoader, StrictUndefined

from services.notifier.domain.kinds import DUNNING, KINDS, TO_BUSINESS, Action, Kind
from services.notifier.emails import formats, wording
from services.notifier.emails.constants import MailEnvironment
from services.notifier.emails.facts import Fact, amount_of, facts
from services.notifier.emails.letters import Letter
from services.notifier.emails.markup import bdi, button_url, host, host_of, web_address
from services.notifier.emails.skeletons import (
    COLORS,
    MOST,
    Skeleton,
    color_texts,
    hole,
    shape_of,
    with_holes,
)
from shared.contracts.invoices import Ending
from shared.contracts.payments import Decline, other_name
from shared.l10n.catalogues import Gettext, translations
from shared.l10n.dates import Days
from shared.l10n.locales import catalogue_of, choose_locale
from shared.l10n.palette import palette
from shared.l10n.typography import labelled
from shared.templating import escaped

COLLECTABLE: Final = (
    Ending.SUBSCRIPTION_FAILED,
    Ending.SUBSCRIPTION_UNPAID,
    Ending.NO_MORE_TRIES,
)
"""The ends after which a new payment method is charged all the same (`contracts.invoices.may_collect`)."""

TEMPLATES: Final = Path(__file__).parents[1] / "templates" / "email"


@dataclass(frozen=True, repr=False)
class Rendered:
    """A finished email. `subject` is one line."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class Button:
    """A button. Without a label it bears the template's `action`."""

    url: str
    label: str = ""

    def texts(self, number: int) -> dict[str, str]:
        """The text of its hole: the `number`th button's."""
        return {f"button{number}": self.url}

    def with_holes(self, number: int) -> Button:
        """The `number`th button, whatever it opens."""
        return Button(hole(f"button{number}"), self.label)


@dataclass(frozen=True)
class _Skeletons:
    """What subject, text and HTML of all emails of one shape have in common."""

    subject: Skeleton
    text: Skeleton
    html: Skeleton


@dataclass
class Renderer:
    """Renders letters; safe to share between green threads (Jinja's environments are)."""

    _environments: dict[tuple[str, bool], MailEnvironment] = field(default_factory=dict)
    _skeletons: dict[Hashable, _Skeletons] = field(default_factory=dict)
    """By kind, language and shape."""

    def render(self, letter: Letter) -> Rendered:
        """Subject, text and HTML of one email, in the customer's language if it is spoken here."""
        locale = choose_locale((letter.locale, letter.business.locale))
        words = translations(locale)
        common = _common(letter, locale, words)
        direction, names = locale.text_direction, _names(letter)
        plain = common | {of: formats.isolated(name, direction) for of, name in names.items()}
        box = [fact for _name, fact in facts(letter, locale, words)]
        buttons = _buttons(letter, common["url"], words.gettext)
        shape = (
            letter.kind.value,
            catalogue_of(locale),
            shape_of(plain),
            tuple([one.shape for one in box]),
            tuple([one.label for one in buttons]),
        )
        drawn = self._skeletons.get(shape)
        if drawn is None:
            drawn = self._draw(letter.kind, locale, plain, box, buttons)
            if len(self._skeletons) >= MOST:
                del self._skeletons[next(iter(self._skeletons))]
            self._skeletons[shape] = drawn
        for number, fact in enumerate(box):
            plain |= fact.texts(number)
        for number, button in enumerate(buttons):
            plain |= button.texts(number)
        subject = drawn.subject.filled(plain, None)
        rich = {
            **plain,
            **color_texts(palette(letter.business.color)),
            **{of: bdi(name) for of, name in names.items()},
            "service_note": bdi(plain["service_note"]),
            "subject": subject.strip(),
        }
        return Rendered(
            subject=formats.plain_line(subject),
            text=drawn.text.filled(plain, None),
            html=drawn.html.filled(rich, escaped),
        )

    def _draw(
        self,
        kind: Kind,
        locale: Locale,
        values: Mapping[str, Any],
        box: Sequence[Fact],
        buttons: Sequence[Button],
    ) -> _Skeletons:
        holes = {
            **with_holes(values),
            "facts": [one.with_holes(number) for number, one in enumerate(box)],
            "buttons": [one.with_holes(number) for number, one in enumerate(buttons)],
            "colors": COLORS,
            "subject": hole("subject"),
        }

        def drawn(name: str) -> str:
            environment = self._environment(locale, html=name.endswith(".html"))
            return environment.get_template(f"{kind.value}/{name}").render(holes)

        return _Skeletons(
            Skeleton(drawn("subject.txt")),
            Skeleton(_without_gaps(drawn("body.txt")).strip() + "\n"),
            Skeleton(drawn("body.html").strip() + "\n"),
        )

    def _environment(self, locale: Locale, *, html: bool) -> MailEnvironment:
        language = catalogue_of(locale)
        key = (language, html)
        if key not in self._environments:
            environment = MailEnvironment(
                loader=FileSystemLoader(TEMPLATES),
                autoescape=html,
                undefined=StrictUndefined,
                auto_reload=False,
                trim_blocks=True,
                lstrip_blocks=True,
                keep_trailing_newline=True,
                extensions=["jinja2.ext.i18n"],
            )
            environment.constants = {"direction": locale.text_direction}
            environment.filters["combine"] = operator.or_
            environment.filters["labelled"] = partial(labelled, language=language)
            words = translations(locale)
            environment.install_gettext_translations(  # type: ignore[attr-defined]
                words, newstyle=True
            )
            environment.translate_with(words.gettext)
            self._environments[key] = environment
        return self._environments[key]


def _without_gaps(text: str) -> str:
    """At most one empty line in a row: a pattern would look at each line's end."""
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text


def _common(letter: Letter, locale: Locale, words: NullTranslations) -> dict[str, Any]:
    """What text and HTML share. All of it is plain text; the HTML environment escapes it."""
    _ = words.gettext
    days = Days(locale, letter.timezone, letter.now)
    coming = letter.next_appointment
    links_until = letter.links.expires_at if letter.links else None
    business, name = letter.business, formats.plain_name(letter.business.name)
    url = button_url(letter.link, letter.kind) if letter.link else ""
    note = formats.plain_text(formats.short_lines(letter.note), 2000) if letter.note else ""
    last_tried = days.full(letter.last_tried) if letter.last_tried else None
    next_attempt = days.full(letter.next_attempt) if letter.next_attempt else None
    phone = formats.plain_name(business.phone) if business.phone else ""
    website = web_address(business.website) or ""
    return {
        "kind": letter.kind.value,
        "to_business": letter.kind in TO_BUSINESS,
        "lang": str(locale).replace("_", "-"),
        "direction": locale.text_direction,
        "amount": amount_of(letter, locale),
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
        "gone": letter.endpoint_gone,
        "last_tried": last_tried,
        "on_last_tried": days.on(last_tried) if last_tried else None,
        "next_attempt": next_attempt,
        "on_next_attempt": days.on(next_attempt) if next_attempt else None,
        "ended_unpaid": letter.ended_unpaid,
        "ends_on": days.full(letter.ends_at) if letter.ends_at else None,
        "ends_on_date": days.date(letter.ends_at) if letter.ends_at else None,
        "on_ends_on_date": days.on_date(letter.ends_at) if letter.ends_at else None,
        "ended": letter.ended,
        "links_until": days.full(links_until) if links_until else None,
        "note": note,
        "quoted_note": formats.quoted(note),
        "opens": host(host_of(url)) if url else "",
        "platform": formats.plain_name(letter.platform) if letter.platform else "",
        "has_payments": letter.has_payments,
        "next_day": days.full(coming) if coming else None,
        "next_time": days.hours(coming, None) if coming else None,
        "service_note": formats.plain_text(business.service_note or "", 200)
        if letter.kind in DUNNING
        else "",
        "url": url,
        "business_plain": name,
        "initial": formats.initial(name),
        "reply_to": business.email,
        "phone": phone,
        "dialled": phone.replace(" ", ""),
        "website": website,
        "site": website.replace("https://", "").replace("http://", ""),
        "logo_url": web_address(business.logo_url),
    }


def _buttons(letter: Letter, url: str, _: Gettext) -> list[Button]:
    """What the email can be answered with; `url` is the customer's page, empty where they are not the reader."""
    action = KINDS[letter.kind].action
    if action is Action.OPEN_INVOICE and (page := web_address(letter.dashboard_url)):
        return [Button(page, _("Open the invoice in Stripe"))]
    if action is Action.OPEN_SUBSCRIPTION and (page := web_address(letter.dashboard_url)):
        return [Button(page, _("Open the subscription in Stripe"))]
    if action is Action.DECIDE and letter.links is not None:
        return [
            # What keeps the revenue is the button that stands out.
            Button(letter.links.decline, _("Keep the subscription")),
            Button(letter.links.approve, _("Approve cancellation")),
        ]
    return [Button(url)] if url else []


def _names(letter: Letter) -> dict[str, str]:
    """The names that strangers chose, each on one line. Text and HTML each keep them from turning the sentence around them."""
    business = formats.plain_name(letter.business.name)
    customer = formats.person_name(letter.customer_name, longest=60)
    to_business = letter.kind in TO_BUSINESS
    charges = letter.kind in DUNNING or letter.kind is Kind.PAYMENT_RECOVERED
    statement = other_name(letter.business.name, letter.business.charged_as) if charges else None
    return {
        "business": business,
        "customer": customer,
        "greeted": business if to_business else customer,
        "writer": customer if to_business else business,
        "endpoint": formats.plain_name(letter.endpoint_host or "", longest=254),
        "statement": formats.plain_name(statement, longest=80) if statement else "",
    }
