"""What the arguments of the RPC methods must mean. Types are checked before, by the methods' hints."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
from babel.numbers import is_currency
from msgspec import UNSET

from services.portal.domain.enrolment import Enrolment
from services.portal.domain.people import STRIPE_ACCOUNT, STRIPE_CUSTOMER
from services.portal.domain.snapshot import LONGEST_NOTE, LONGEST_STATEMENT
from shared.contracts.rpc.errors import InvalidArgument
from shared.contracts.rpc.portal import (
    AppointmentArgument,
    BusinessArguments,
    ReminderPolicyArgument,
)
from shared.l10n.locales import parse_locale
from shared.l10n.palette import COLOR
from shared.text import is_email, without_turns

HOSTNAME: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
MAX_APPOINTMENTS: Final = 500
"""How many appointments one call may bring."""


DEFAULT_LOCALE: Final = "en"
DEFAULT_TIMEZONE: Final = "UTC"
"""A business's, until it is given."""


def reminder_policy(field: str, given: ReminderPolicyArgument | None) -> dict[str, Any] | None:
    """The policy as it is stored, or None for the default. Quiet hours have both ends and leave some of the day."""
    if given is None:
        return None
    if (given.quiet_from is None) != (given.quiet_until is None):
        raise InvalidArgument(f"{field}: expected quiet_from and quiet_until, or neither")
    if given.quiet_from is not None and given.quiet_from == given.quiet_until:
        raise InvalidArgument(
            f"{field}: expected quiet hours that end at another time than they start"
        )
    return dict(msgspec.to_builtins(given))


def text(field: str, value: str, longest: int) -> str:
    """A line of text of 1 to `longest` characters, trimmed."""
    trimmed = value.strip()
    if not 1 <= len(trimmed) <= longest:
        raise InvalidArgument(f"{field}: expected 1 to {longest} characters")
    categories = {unicodedata.category(character) for character in trimmed}
    if not categories.isdisjoint(("Cc", "Cs")):
        raise InvalidArgument(f"{field}: expected one line without control characters")
    if categories <= {"Cf", "Zs"}:
        raise InvalidArgument(f"{field}: expected a character that can be seen")
    return trimmed


def optional_text(field: str, value: str | None, longest: int) -> str | None:
    """The same, or None; a blank text is None."""
    return text(field, value, longest) if value is not None and value.strip() else None


def email(field: str, value: str) -> str:
    """An e-mail address."""
    trimmed = text(field, value, 254)
    if not is_email(trimmed):
        raise InvalidArgument(f"{field}: expected an email address")
    return trimmed


def sender_email(field: str, value: str | None) -> str | None:
    """An address that emails may come from, or None. In ASCII: the address of a header that every server takes."""
    if value is None:
        return None
    address = email(field, value)
    if not address.isascii():
        raise InvalidArgument(f"{field}: expected an email address in ASCII (a domain as xn--…)")
    return address


def sentence(field: str, value: str | None, longest: int) -> str | None:
    """Somebody's own words to customers, or None: one line of plain text, without what turns the direction of text."""
    if value is None:
        return None
    return optional_text(field, " ".join(without_turns(value).split()), longest)


def identifier(field: str, value: str, longest: int = 100) -> str:
    """An id: no spaces, no control characters, nothing that turns the direction of the text after it: on a terminal and in a log line it
    would look like another."""
    trimmed = text(field, value, longest)
    if any(character.isspace() for character in trimmed):
        raise InvalidArgument(f"{field}: expected an id without spaces")
    if without_turns(trimmed) != trimmed:
        raise InvalidArgument(f"{field}: expected an id without marks that turn text around")
    return trimmed


def stripe_customer(field: str, value: str) -> str:
    """Stripe's id of a customer. A guest's (`gcus_…`) is none: the API knows no such customer, and they have no billing page."""
    trimmed = value.strip()
    if not re.fullmatch(STRIPE_CUSTOMER, trimmed):
        raise InvalidArgument(
            f"{field}: expected Stripe's id of a customer, cus_ and letters or digits, like cus_NffrFeUfNV2Hib"
        )
    return trimmed


def stripe_account(field: str, value: str | None) -> str:
    """Stripe's id of an account; empty for None."""
    trimmed = "" if value is None else value.strip()
    if value is not None and not re.fullmatch(STRIPE_ACCOUNT, trimmed):
        raise InvalidArgument(
            f"{field}: expected Stripe's id of an account, acct_ and letters or digits, like acct_1Nv0FGQ9RKHgCVdK"
        )
    return trimmed


def web_address(field: str, value: str | None) -> str | None:
    """An http(s) URL of at most 500 characters with a real host name, or None."""
    trimmed = optional_text(field, value, 500)
    if trimmed is None:
        return None
    wrong = InvalidArgument(
        f"{field}: expected a URL that starts with https:// or http://, without spaces and user name, an international name as xn--…"
    )
    try:
        parts = urlsplit(trimmed)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise wrong
    # The host becomes part of a Content-Security-Policy: nothing else may get in there.
    if not HOSTNAME.fullmatch(host) or any(character.isspace() for character in trimmed):
        raise wrong
    return trimmed


def color(field: str, value: str | None) -> str | None:
    """A colour as `#rrggbb`, or None."""
    if value is None:
        return None
    if not COLOR.fullmatch(value):
        raise InvalidArgument(f"{field}: expected a colour like #1a7f5a")
    return value.lower()


def locale(field: str, value: str | None) -> str | None:
    """A locale that Babel knows, in its canonical spelling (`en_GB`), or None."""
    if value is None:
        return None
    known = parse_locale(value[:35])
    if known is None:
        raise InvalidArgument(f"{field}: expected a locale like en or es_MX")
    return str(known)


def currency(field: str, value: str | None) -> str | None:
    """A currency's code, in lower case as Stripe writes it, or None."""
    trimmed = optional_text(field, value, 10)
    if trimmed is None:
        return None
    if not is_currency(trimmed.upper()):
        raise InvalidArgument(f"{field}: expected a currency's code of ISO 4217, like usd or eur")
    return trimmed.lower()


NO_ZONES: Final = frozenset({"localtime", "posixrules", "Factory", "posix", "right"})
"""What stands among the zones on many machines and is none: each machine's own, what it was before it was set up, and two folders with all
zones once more, in one of which the clock goes with leap seconds."""


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    if name.partition("/")[0] in NO_ZONES:
        return False
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def zone(field: str, value: str | None) -> str | None:
    """An IANA time zone, or None."""
    if value is None:
        return None
    if len(value) > 64 or not _is_zone(value):
        raise InvalidArgument(
            f"{field}: expected an IANA time zone like America/Los_Angeles"
        ) from None
    return value


def phone(field: str, value: str | None) -> str | None:
    """A telephone number as people write it, or None."""
    trimmed = optional_text(field, value, 50)
    if trimmed is not None and sum(character.isdigit() for character in trimmed) < 3:
        raise InvalidArgument(f"{field}: expected a telephone number")
    return trimmed


def _business_email(field: str, value: str | None) -> str | None:
    return None if value is None else email(field, value)


def _business_locale(field: str, value: str | None) -> str:
    return locale(field, value) or DEFAULT_LOCALE


def _business_zone(field: str, value: str | None) -> str:
    return zone(field, value) or DEFAULT_TIMEZONE


def _enrolment(field: str, value: str | None) -> str:
    return value or Enrolment.BY_HOST


_BUSINESS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "name": partial(text, longest=200),
    "email": _business_email,
    "phone": phone,
    "website": web_address,
    "logo_url": web_address,
    "color": color,
    "locale": _business_locale,
    "timezone": _business_zone,
    "reminder_policy": reminder_policy,
    "sender_email": sender_email,
    "service_note": partial(sentence, longest=LONGEST_NOTE),
    "charged_as": partial(sentence, longest=LONGEST_STATEMENT),
    "currency": currency,
    "enrolment": _enrolment,
}


def business(given: BusinessArguments) -> dict[str, Any]:
    """What is given of a business, checked, by the column that it goes to. Raises InvalidArgument."""
    return {
        name: check(name, value)
        for name, check in _BUSINESS.items()
        if (value := getattr(given, name)) is not UNSET
    }


NEW_BUSINESS: Final[dict[str, Any]] = {
    **dict.fromkeys(_BUSINESS),
    "locale": DEFAULT_LOCALE,
    "timezone": DEFAULT_TIMEZONE,
    "enrolment": Enrolment.BY_HOST,
}
"""What a new business has of what is not given."""


def lacking(given: Collection[str], *fields: str, at: str = "") -> str | None:
    """Which of these fields is not given of something new, which is nothing without it, in words; None: all are. `at` is where they stand."""
    missing = next((field for field in fields if field not in given), None)
    return None if missing is None else f"{at}{missing}: missing; a new one needs it"


def need(given: Collection[str], *fields: str, at: str = "") -> None:
    """Raises InvalidArgument for what is `lacking`."""
    if (lacks := lacking(given, *fields, at=at)) is not None:
        raise InvalidArgument(lacks)


_PROFILE: Final[dict[str, Callable[[str, Any], str | None]]] = {
    "name": partial(text, longest=200),
    "email": email,
    "locale": locale,
    "timezone": zone,
}


def profile_field(field: str, value: Any) -> Any:
    """The value of a field of `CustomerProfile`, checked. Raises InvalidArgument."""
    return _PROFILE[field](field, value)


def appointments(given: list[AppointmentArgument]) -> list[AppointmentArgument]:
    """The appointments, checked: each once."""
    if len(given) > MAX_APPOINTMENTS:
        raise InvalidArgument(f"appointments: expected at most {MAX_APPOINTMENTS}")
    seen: set[str] = set()
    checked = []
    for number, each in enumerate(given):
        at = f"appointments[{number}]"
        external_id = identifier(f"{at}.external_id", each.external_id)
        if external_id in seen:
            raise InvalidArgument(f"{at}.external_id: expected each appointment once")
        seen.add(external_id)
        checked.append(
            msgspec.structs.replace(
                each,
                external_id=external_id,
                title=UNSET if each.title is UNSET else text(f"{at}.title", each.title, 200),
                location=UNSET
                if each.location is UNSET
                else optional_text(f"{at}.location", each.location, 200),
            )
        )
    return checked
