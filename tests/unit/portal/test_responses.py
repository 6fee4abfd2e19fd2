"""From requests to what they wish."""

from __future__ import annotations

from services.portal.web import responses
from shared.nameko_ext.http_requests import HttpRequest


def asking(languages: str) -> HttpRequest:
    fields = {b"accept-language": languages.encode()}
    return HttpRequest("GET", b"/", fields, http_1_0=False, keep_alive=True)


def test_no_more_of_a_wish_is_remembered_than_is_read() -> None:
    """What a stranger writes behind it takes no memory."""
    before = responses._choose.cache_info().currsize
    wish = "pl, de;q=0.5, " + "x" * responses.LONGEST_WISH
    languages = {responses.locale_for(asking(f"{wish}{number}")).language for number in range(50)}
    assert languages == {"pl"}
    assert responses._choose.cache_info().currsize <= before + 1
