"""Answers as bytes: under the same head, whether it is made for one or for many."""

from __future__ import annotations

import pytest
from werkzeug.wrappers import Response

from shared.nameko_ext.http_answers import LOCK_DOWN, Answer, PreparedAnswer, Reply, answer_bytes
from shared.nameko_ext.web import Http

HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Refresh", "3"),
    ("Refresh", "5"),
)


def sent(reply: Reply, *, bodiless: bool = False) -> list[bytes]:
    head, _, body = answer_bytes(reply, bodiless=bodiless, connection=b"").partition(b"\r\n\r\n")
    return [*(line for line in head.split(b"\r\n") if not line.startswith(b"Date: ")), body]


@pytest.mark.parametrize("status", [200, 204, 404, 503])
@pytest.mark.parametrize("bodiless", [False, True])
def test_a_prepared_answer_is_sent_as_any_other(status: int, bodiless: bool) -> None:
    """Its own headers in their order, what locks a page down, and the length of this body."""
    for body in (b"<p>one</p>", b"<p>another</p>"):
        prepared = sent(PreparedAnswer(body, status, HEADERS), bodiless=bodiless)
        assert prepared == sent(Answer(body, status, list(HEADERS)), bodiless=bodiless)
        assert prepared == sent(Response(body, status, list(HEADERS)), bodiless=bodiless)
        names = [line.split(b": ")[0].decode() for line in prepared[1:-1]]
        assert [name for name in names if name in LOCK_DOWN] == [
            "X-Frame-Options",
            *(name for name in LOCK_DOWN if name != "X-Frame-Options"),
        ]


@pytest.mark.parametrize("value", ["3\r\nSet-Cookie: a=b", "3\n", "\u2019"])
def test_a_header_that_can_not_be_sent_is_refused(value: str) -> None:
    """Nobody puts another header, or a body, into an answer."""
    with pytest.raises(ValueError, match=r"newline|latin-1"):
        PreparedAnswer(b"", 200, (("Refresh", value),))


def test_an_entrypoint_may_give_one() -> None:
    """It goes on as it is; everything else becomes werkzeug's."""
    entrypoint, prepared = Http("GET", "/"), PreparedAnswer(b"", 200, HEADERS)
    assert entrypoint.response_from_result(prepared) is prepared
    assert isinstance(entrypoint.response_from_result("text"), Response)
