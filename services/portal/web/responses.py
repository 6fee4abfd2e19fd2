"""From pages to HTTP answers, and from requests to what they wish."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from babel import Locale
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header
from werkzeug.wrappers import Response

from services.portal.handlers.resolved_links import CAME_FROM, ResolvedLink
from services.portal.web import frame
from shared.l10n.locales import choose_locale
from shared.nameko_ext.http_answers import PreparedAnswer, Reply
from shared.nameko_ext.http_requests import HttpRequest

LONGEST_WISH: Final = 500
"""How much of a browser's list of languages is read, and remembered."""


def answer(page: frame.Page, status: int = 200, **headers: str) -> Reply:
    """A drawn page as an answer; further headers as `Retry_After="30"`."""
    more = ((key.replace("_", "-"), value) for key, value in headers.items())
    return PreparedAnswer(page.body, status, (*page.headers, *more))


def redirect(address: str) -> Response:
    """A 303 without a word in its body: the address is a secret and belongs in the header alone."""
    response = Response(status=303, headers=[("Location", address)])
    response.autocorrect_location_header = False
    return response


def locale_for(request: HttpRequest, visit: ResolvedLink | None = None) -> Locale:
    """The customer's own language, then the browser's, then the business's."""
    asked = _wish(request)
    if visit is None:
        return _choose(None, asked, None)
    return _choose(visit.snapshot.locale, asked, visit.snapshot.business.locale)


@lru_cache(maxsize=1024)
def _choose(own: str | None, asked: str, business: str | None) -> Locale:
    accepted = parse_accept_header(asked, LanguageAccept)
    return choose_locale((own, *(tag for tag, quality in accepted if quality > 0), business))


def choose_for_business(request: HttpRequest, locale: str) -> Locale:
    """For somebody at the business: its own language, then the browser's."""
    return _choose(locale, _wish(request), None)


def _wish(request: HttpRequest) -> str:
    return request.headers.get("Accept-Language", "")[:LONGEST_WISH]


def parse_source(value: str | None) -> str | None:
    """Only the words that we ourselves put into links."""
    return value if value in CAME_FROM else None
