"""Keys of the HTTP API that were good a moment ago: not looked up again, and not good for longer than is said."""

from __future__ import annotations

import pytest

from services.portal.domain.api_keys import Credential
from services.portal.handlers import api_keys
from services.portal.web.known_keys import KNOWN_SECONDS, MOST_KNOWN, KnownKeys
from shared.clock import utc_now
from tests.unit.portal.api_host import ApiHost


@pytest.fixture
def key(host: ApiHost) -> str:
    return host.key()


def test_a_good_key_is_looked_up_once_in_five_seconds(host: ApiHost, key: str) -> None:
    """A key that was revoked at another process is refused after that time, and looked up at each try then."""
    clock = [100.0]
    host.portal.wiring.known_keys = KnownKeys(lambda: clock[0])
    other = host.key()
    for each in (key, other) * 3:
        host.ok("GET", "/businesses", each)
    assert host.questions == 2
    with host.db.transaction() as session:
        for one in api_keys.listed(session, None):
            api_keys.revoke(session, one.key_id, utc_now())
    clock[0] += KNOWN_SECONDS - 0.1
    host.ok("GET", "/businesses", key)
    clock[0] += 0.1
    assert host.send("GET", "/businesses", key).status == 401
    assert host.send("GET", "/businesses", key).status == 401
    assert host.questions == 4


def test_a_key_that_is_revoked_here_is_refused_at_once(host: ApiHost, key: str) -> None:
    """With one replica there are no five seconds."""
    host.ok("GET", "/businesses", key)
    (only,) = host.portal.api_keys()
    host.portal.revoke_api_key(only.key_id)
    assert host.send("GET", "/businesses", key).status == 401


def test_as_many_keys_are_known_as_memory_has_room_for() -> None:
    """Unknown ones take none."""
    known, credential = KnownKeys(), Credential("key_1", None, frozenset())
    for number in range(3 * MOST_KNOWN):
        assert known.credential(f"good {number}", lambda _: credential) is credential
        assert known.credential(f"bad {number}", lambda _: None) is None
        assert len(known._known) <= MOST_KNOWN
