"""Requests that are sent again: under way, answered, failed, forgotten."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.handlers import idempotency
from services.portal.handlers.idempotency import (
    LEASE,
    Kept,
    OtherRequest,
    RequestName,
    StillRunning,
)
from services.portal.models import IdempotentRequestRow
from services.portal.retention import RULES
from shared.contracts.deadlines import DATABASE_STATEMENT
from shared.contracts.host_api import REPEATED_WITHIN
from shared.retention import RETENTION, prune_batch
from tests.unit.portal.api_host import ApiHost
from tests.unit.portal.builders import NOW

DONE = Kept(201, '{"created":true}')


def name(body: bytes = b"{}", **changes: str) -> RequestName:
    given = {"key_id": "key_1", "method": "POST", "target": "/customers?", "key": "a word"}
    return idempotency.name_of(**{**given, **changes}, body=body)


def later(wait: dt.timedelta) -> dt.datetime:
    return NOW + wait


def test_a_request_is_done_once(session: Session) -> None:
    """Under way it is refused, answered it is answered again, whatever body comes it is that of the first."""
    assert idempotency.begin(session, name(), NOW) is None
    with pytest.raises(StillRunning):
        idempotency.begin(session, name(), NOW)
    idempotency.finish(session, name(), NOW, DONE)
    assert idempotency.begin(session, name(), NOW) == DONE
    with pytest.raises(OtherRequest):
        idempotency.begin(session, name(b"[]"), NOW)


@pytest.mark.parametrize("what", ["key_id", "method", "target", "key"])
def test_another_request_has_another_name(session: Session, what: str) -> None:
    """Of another API key, method or address, or with another word."""
    idempotency.begin(session, name(), NOW)
    assert idempotency.begin(session, name(**{what: "other"}), NOW) is None


def test_what_failed_is_as_if_it_had_not_come(session: Session) -> None:
    """Another body is as good as the same; what was answered is not forgotten by it."""
    idempotency.begin(session, name(), NOW)
    idempotency.abandon(session, name(), NOW)
    assert idempotency.begin(session, name(b"[]"), NOW) is None
    idempotency.finish(session, name(b"[]"), NOW, DONE)
    idempotency.abandon(session, name(b"[]"), NOW)
    assert idempotency.begin(session, name(b"[]"), NOW) == DONE


def test_a_request_whose_process_died_may_be_done_by_another(session: Session) -> None:
    """After a time that no statement takes; the first, should it live, writes nothing then."""
    assert dt.timedelta(seconds=3 * DATABASE_STATEMENT) < LEASE
    idempotency.begin(session, name(), NOW)
    with pytest.raises(StillRunning):
        idempotency.begin(session, name(), later(LEASE - dt.timedelta(seconds=1)))
    assert idempotency.begin(session, name(), later(LEASE)) is None
    with pytest.raises(StillRunning):
        idempotency.finish(session, name(), NOW, DONE)
    idempotency.finish(session, name(), later(LEASE), DONE)


def test_an_answer_is_kept_for_a_day_and_no_longer(session: Session) -> None:
    """Then the word is good for something new, and its row goes."""
    idempotency.begin(session, name(), NOW)
    idempotency.finish(session, name(), NOW, DONE)
    assert (
        idempotency.begin(session, name(), later(REPEATED_WITHIN - dt.timedelta(seconds=1))) == DONE
    )
    assert idempotency.begin(session, name(b"[]"), later(REPEATED_WITHIN)) is None
    idempotency.begin(session, name(key="old"), NOW)
    now = later(REPEATED_WITHIN + dt.timedelta(seconds=1))
    assert prune_batch(session, RULES, now - RETENTION, now=now)["idempotent_requests"] == 1
    left = session.scalars(select(IdempotentRequestRow.began_at)).all()
    assert left == [later(REPEATED_WITHIN)]


def test_a_second_request_is_refused_while_the_first_is_under_way() -> None:
    """409, with when to come back; and nothing of it is done."""
    host = ApiHost()
    key = host.key()
    business = {"business_id": "sunrise", "name": "Sunrise"}
    told = []
    real = host.portal._first

    def meanwhile(*args: object) -> object:
        told.append(host.send("POST", "/businesses", key, business, Idempotency_Key="1"))
        return real(*args)

    host.portal._first = meanwhile
    assert host.send("POST", "/businesses", key, business, Idempotency_Key="1").status == 200
    (second,) = told
    assert (second.status, second.json["code"]) == (409, "request_in_progress")
    assert second.headers["Retry-After"] == "1"
