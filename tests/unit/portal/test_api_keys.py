"""Keys of the HTTP API: their form, and making, knowing and revoking them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.domain import api_keys as domain
from services.portal.handlers import api_keys
from services.portal.models import ApiKeyRow
from services.portal.retention import RULES
from shared.contracts.rpc.api_keys import SCOPES, CreatedApiKey
from shared.contracts.rpc.errors import InvalidArgument, NotFound
from shared.retention import RETENTION, prune_batch
from shared.telemetry import redact
from tests.unit.portal.builders import NOW, add_business, ago, ahead


def make(session: Session, **changes: Any) -> CreatedApiKey:
    given: dict[str, Any] = {
        "name": "our CRM",
        "scopes": ["customers:read"],
        "business_id": None,
        "expires_at": None,
        "mode": "test",
        "now": NOW,
    }
    return api_keys.create(session, **given | changes)


def known(session: Session, key: str, now: dt.datetime = NOW) -> domain.Credential | None:
    return api_keys.recognise(session, [domain.digest(key)], now)[0]


# -- their form


def test_a_key_has_178_random_bits_and_a_checksum() -> None:
    """A prefix with the mode, 30 of base62, and 6 that are the CRC32 of these."""
    keys = {domain.new_key("live") for _ in range(50)}
    assert len(keys) == 50
    for key in keys:
        assert re.fullmatch(r"portico_live_[0-9A-Za-z]{36}", key)
        assert domain.is_well_formed(key, "live")
        assert not domain.is_well_formed(key, "test")


def test_a_checksum_is_as_long_as_every_other() -> None:
    """Small numbers have leading zeros."""
    assert {len(domain.checksum("A" * length)) for length in range(2000)} == {6}


@given(st.integers(0, 35), st.sampled_from(domain.BASE62))
def test_a_key_with_one_wrong_character_is_none(place: int, character: str) -> None:
    """It is refused by its form, and nobody asks the database."""
    key = "portico_test_" + "k" * 30 + domain.checksum("k" * 30)
    at = len("portico_test_") + place
    mangled = key[:at] + character + key[at + 1 :]
    assert domain.is_well_formed(mangled, "test") == (mangled == key)


@pytest.mark.whole
@given(st.text())
def test_any_other_text_is_no_key(text: str) -> None:
    """Whatever stands in the header."""
    assert not domain.is_well_formed(text, "live")


def test_a_key_that_is_logged_is_not_legible() -> None:
    """Wherever it stands in a line."""
    key = domain.new_key("live")
    assert key not in redact(f"Authorization: Bearer {key}")


# -- making them


@pytest.mark.whole
def test_a_key_is_shown_once_and_only_its_hash_is_kept(session: Session) -> None:
    """Neither the row nor the list has it; nor does a log that prints the answer."""
    made = make(session)
    row = session.scalars(select(ApiKeyRow)).one()
    stored = " ".join(str(getattr(row, column.name)) for column in ApiKeyRow.__table__.columns)
    assert row.digest == domain.digest(made.key)
    for shown in (stored, repr(api_keys.listed(session, None)), repr(made)):
        assert made.key not in shown
        assert made.key[13:30] not in shown
    assert made.about.hint == f"portico_test_…{made.key[-4:]}"


def test_a_key_is_one_businesss_or_all(session: Session) -> None:
    """Whoever shows it is known by that, with its scopes in their usual order."""
    add_business(session)
    own = make(session, business_id="sunrise", scopes=["links:read", "customers:read"])
    every = make(session, scopes=list(SCOPES))
    first, second = known(session, own.key), known(session, every.key)
    assert first is not None
    assert second is not None
    assert (first.business_id, first.scopes) == ("sunrise", {"customers:read", "links:read"})
    assert (second.business_id, second.scopes) == (None, set(SCOPES))
    assert own.about.scopes == ["customers:read", "links:read"]
    listed = {key.key_id: key.business_id for key in api_keys.listed(session, None)}
    assert listed == {own.about.key_id: "sunrise", every.about.key_id: None}
    assert [key.key_id for key in api_keys.listed(session, "sunrise")] == [own.about.key_id]


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"business_id": "nobody"}, NotFound, "business_id"),
        ({"scopes": []}, InvalidArgument, "scopes"),
        ({"name": " "}, InvalidArgument, "name"),
        ({"expires_at": NOW}, InvalidArgument, "expires_at"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_about_a_new_key_is_named(
    session: Session, changes: dict[str, Any], error: type[Exception], field: str
) -> None:
    """And no key is made."""
    with pytest.raises(error, match=f"^{field}: "):
        make(session, **changes)
    assert api_keys.listed(session, None) == []


def test_two_keys_of_a_name_are_good_at_a_time(session: Session) -> None:
    """So a host changes over without a failed request; a third is refused until one is revoked or has expired."""
    add_business(session)
    first = make(session, expires_at=ahead(days=1))
    second = make(session)
    with pytest.raises(InvalidArgument, match=r"^name: 2 keys"):
        make(session)
    make(session, name="another")
    make(session, business_id="sunrise")
    assert known(session, first.key)
    assert known(session, second.key)
    api_keys.revoke(session, second.about.key_id, NOW)
    make(session)
    make(session, now=ahead(days=1))


# -- knowing them


def test_a_key_that_is_unknown_revoked_or_expired_is_nobodys(session: Session) -> None:
    """Which of these it is nobody learns, the caller no more than whoever asked."""
    good, revoked = make(session), make(session)
    expired = make(session, name="other", expires_at=ahead(hours=1))
    api_keys.revoke(session, revoked.about.key_id, NOW)
    digests = [
        domain.digest(key)
        for key in (revoked.key, good.key, expired.key, domain.new_key("test"), good.key)
    ]
    later = ahead(hours=1)
    found = api_keys.recognise(session, digests, later)
    assert [one.key_id if one else None for one in found] == [
        None, good.about.key_id, None, None, good.about.key_id,
    ]  # fmt: skip


def test_a_revoked_key_stays_revoked_since_the_first_time(session: Session) -> None:
    """Revoking it again changes nothing; one that isn't there is told."""
    made = make(session)
    assert api_keys.revoke(session, made.about.key_id, NOW).revoked_at == NOW
    assert api_keys.revoke(session, made.about.key_id, ahead(days=1)).revoked_at == NOW
    with pytest.raises(NotFound):
        api_keys.revoke(session, "key_none", NOW)


def test_the_last_use_is_written_once_a_minute(session: Session) -> None:
    """However often the key comes; a request that is refused is no use."""
    made, other = make(session), make(session)
    for seconds, used in ((0, 0), (30, 0), (59, 0), (60, 60), (100, 60)):
        assert known(session, made.key, ahead(seconds=seconds))
        (told, idle) = api_keys.listed(session, None)
        assert told.last_used_at == ahead(seconds=used)
        assert idle.last_used_at is None
        session.expire_all()
    assert other.about.last_used_at is None


def test_keys_that_are_good_for_nothing_are_forgotten(session: Session) -> None:
    """After the time that all such rows are kept; those that are good stay."""
    made = make(session)
    gone = make(session)
    api_keys.revoke(session, gone.about.key_id, ago(days=91))
    make(session, name="old", now=ago(days=200), expires_at=ago(days=100))
    session.flush()
    prune_batch(session, RULES, NOW - RETENTION)
    assert [key.key_id for key in api_keys.listed(session, None)] == [made.about.key_id]
