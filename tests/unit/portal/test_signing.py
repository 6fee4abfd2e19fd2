"""The codec of all signed tokens: what was signed once is read indefinitely."""

from __future__ import annotations

import datetime as dt

import pytest

from services.portal.domain.cancelling import Decision
from services.portal.tokens.links import Claim, Links
from services.portal.tokens.references import CheckoutReferences
from services.portal.tokens.request_links import Answer, RequestLinks
from shared.settings import Secret

PUBLIC_ID = "sQH5u7J0T0KcZBKzv1xqzA"
MADE_AT = dt.datetime(2026, 3, 5, 18, 0, tzinfo=dt.UTC)
URL = "https://portal.example.com"

# Made by earlier releases, in which each kind had a codec of its own or itsdangerous derived its key.
LINKS = {
    "o": "sQH5u7J0T0KcZBKzv1xqzAAAAAc.tsM0fR6N3pohYcQ-yLPUa4kr08gaX-q7dmJkOZ3zeio",
    "n": "sQH5u7J0T0KcZBKzv1xqzAAAAAc.jqes-hzsxFqqvDbJ7BG5tbJc2nPRor2W2nBxDp7wGDY",
}
APPROVALS = {
    "o": "sQH5u7J0T0KcZBKzv1xqzAE.TbBuGZeXjUxo1HR84S9HrDUObxnX9zwyatp8NVAan70",
    "n": "sQH5u7J0T0KcZBKzv1xqzAE.hNY5UNFEGzfrvFWf1vX2vONkUWGTmNw4bu4BXZM4R2c",
}
DECLINES = {
    "o": "sQH5u7J0T0KcZBKzv1xqzAI._23WFvKHULq9czjYADVEzQvS4Lkt732_SqjVj8iIZaM",
    "n": "sQH5u7J0T0KcZBKzv1xqzAI.pbYiyUJk--8JNYEV1vst6SAi2KOL0X4GJQOgbxh6ctI",
}
# With a dot before the signature, which a reference has not.
DOTTED_REFERENCES = {
    "o": "sQH5u7J0T0KcZBKzv1xqzOnyoBhiEOMKUW0SsGmpxKA.XVUBBTDHXpUDNpZ6QY9XuIOwQLDcLFnDwV6gfMArb5Q",
    "n": "sQH5u7J0T0KcZBKzv1xqzOnyoBhiEOMKUW0SsGmpxKA.4NnDcMykgphp698d0-9tJPnO45j0G-TbFENum35MyDQ",
}


@pytest.mark.parametrize("letter", ["o", "n"])
def test_tokens_of_earlier_releases_stay_as_they_were(letter: str) -> None:
    """Emails and Stripe hold tokens for months: each is read as what it was made for, and made again byte for byte."""
    keys = [Secret(letter * 32)]
    links, requests = Links(keys, URL), RequestLinks(keys, URL)
    references = CheckoutReferences(keys)

    assert links.read(LINKS[letter]) == Claim(PUBLIC_ID, 7)
    assert links.token(PUBLIC_ID, 7) == LINKS[letter]

    for decision, tokens in ((Decision.APPROVE, APPROVALS), (Decision.DECLINE, DECLINES)):
        assert requests.read(tokens[letter]) == Answer(PUBLIC_ID, decision)
        assert requests.token(PUBLIC_ID, decision) == tokens[letter]

    reference = DOTTED_REFERENCES[letter].replace(".", "")
    read = references.read(reference)
    assert (read.public_id, read.made_at, read.is_of("sunrise")) == (PUBLIC_ID, MADE_AT, True)
    assert references.write(PUBLIC_ID, "sunrise", MADE_AT) == reference


def test_tokens_of_an_older_key_are_read_beside_a_newer_one() -> None:
    """The order of the keys decides who signs, and not who is believed."""
    keys = [Secret("n" * 32), Secret("o" * 32)]
    assert Links(keys, URL).read(LINKS["o"]) == Claim(PUBLIC_ID, 7)
    assert Links(keys, URL).token(PUBLIC_ID, 7) == LINKS["n"]
