"""From pages to HTTP answers, and from requests to what they wish."""

from __future__ import annotations

from collections.abc import Iterable

from babel import Locale
from werkzeug.wrappers import Request, Response

from services.portal import views
from services.portal.handlers.visits import CAME_FROM, Visit
from services.portal.texts import choose_locale


def answer(page: views.Page, status: int = 200, **headers: str) -> Response:
    """A drawn page as an answer; further headers as `Retry_After="30"`."""
    response = Response(page.html, status)
    for name, value in (*page.headers, *((key.replace("_", "-"), headers[key]) for key in headers)):
        response.headers[name] = value
    return response


def redirect(address: str) -> Response:
    """A 303 without a word in its body: the address is a secret and belongs in the header alone."""
    response = Response(status=303, headers=[("Location", address), *views.SAFE_HEADERS])
    response.autocorrect_location_header = False
    return response


def _wishes(request: Request) -> Iterable[str]:
    return (tag for tag, quality in request.accept_languages if quality > 0)


def choose_for(request: Request, visit: Visit | None = None) -> Locale:
    """The customer's own language, then the browser's, then the business's."""
    if visit is None:
        return choose_locale(_wishes(request))
    snapshot = visit.snapshot
    return choose_locale((snapshot.locale, *_wishes(request), snapshot.business.locale))


def choose_for_business(request: Request, locale: str) -> Locale:
    """For somebody at the business: its own language, then the browser's."""
    return choose_locale((locale, *_wishes(request)))


def came_from_words(value: str | None) -> str | None:
    """Only the words that we ourselves put into links."""
    return value if value in CAME_FROM else None
