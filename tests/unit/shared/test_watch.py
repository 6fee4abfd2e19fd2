"""Whether a listener listens, and when it is beyond help: by what it was told and when, on a clock of the test's own."""

from __future__ import annotations

import pytest

from shared.messaging.watch import (
    BLIND_SECONDS,
    HOPELESS_SECONDS,
    PROBE_SECONDS,
    SILENCE_SECONDS,
    Watch,
)
from tests.unit.shared.conftest import Seconds


@pytest.fixture
def watch(clock: Seconds) -> Watch:
    return Watch(clock)


def pass_time(clock: Seconds, watch: Watch, seconds: float, *, broker: bool) -> list[float]:
    """Second by second, with a probe whenever one is wanted; when it was hopeless, in seconds from the beginning."""
    hopeless = []
    for passed in range(1, int(seconds) + 1):
        clock.now += 1
        if watch.wants_probe():
            watch.probed(broker)
        if watch.is_hopeless:
            hopeless.append(passed)
    return hopeless


def test_one_that_never_listened_says_so(watch: Watch) -> None:
    """Until its consumers stand it is not connected."""
    assert watch.problem == "not connected to the broker"
    assert not watch.is_consuming


def test_one_that_listens_has_no_problem_until_the_broker_is_silent(
    clock: Seconds, watch: Watch
) -> None:
    """What was true at the last answer holds for four seconds, and is told within five."""
    watch.listening()
    clock.now += SILENCE_SECONDS
    assert watch.is_consuming
    assert watch.problem == ""
    clock.now += 0.5
    assert not watch.is_consuming
    assert watch.problem.startswith("the broker has not answered")
    watch.listening()
    assert watch.is_consuming


def test_what_is_missing_is_told_though_messages_come(watch: Watch) -> None:
    """An exchange that another service declares: the consumers stand, and the page says what is not right."""
    watch.listening()
    watch.incomplete("no exchange")
    assert watch.is_consuming
    assert watch.problem == "no exchange"
    watch.listening()
    assert watch.problem == ""


def test_a_broker_that_is_away_never_ends_anything(clock: Seconds, watch: Watch) -> None:
    """However long, and also when it went while the listener was well."""
    assert pass_time(clock, watch, 10_000, broker=False) == []
    watch.listening()
    watch.lost("gone")
    assert pass_time(clock, watch, 10_000, broker=False) == []


def test_one_that_cannot_get_back_to_a_broker_that_is_there_is_hopeless_in_a_minute(
    clock: Seconds, watch: Watch
) -> None:
    """Counted from the first fresh connection that worked."""
    watch.listening()
    watch.lost("refused")
    first, *_ = pass_time(clock, watch, 90, broker=True)
    assert HOPELESS_SECONDS <= first <= HOPELESS_SECONDS + PROBE_SECONDS


def test_one_whose_loop_hangs_is_hopeless_too(clock: Seconds, watch: Watch) -> None:
    """It says nothing any more, not even that it is lost."""
    watch.listening()
    assert pass_time(clock, watch, 90, broker=True) != []


def test_the_minute_begins_anew_when_the_broker_was_away(clock: Seconds, watch: Watch) -> None:
    """It is not the listener's fault then."""
    watch.lost("gone")
    assert pass_time(clock, watch, 50, broker=True) == []
    assert pass_time(clock, watch, PROBE_SECONDS, broker=False) == []
    assert pass_time(clock, watch, 50, broker=True) == []


def test_a_process_that_stood_still_judges_nothing_by_it(clock: Seconds, watch: Watch) -> None:
    """Stopped for an hour right after a good probe: that hour is no evidence."""
    watch.lost("gone")
    pass_time(clock, watch, 2, broker=True)
    clock.now += BLIND_SECONDS + 3600
    assert pass_time(clock, watch, 30, broker=True) == []


def test_listening_again_forgets_it(clock: Seconds, watch: Watch) -> None:
    """One that healed and is lost again has its whole minute."""
    watch.lost("gone")
    pass_time(clock, watch, 50, broker=True)
    for _ in range(10):
        watch.listening()
        clock.now += 1
    watch.lost("gone")
    assert pass_time(clock, watch, 50, broker=True) == []


def test_one_that_comes_and_goes_has_not_healed(clock: Seconds, watch: Watch) -> None:
    """Connected for a second and lost again, all the time, is no listener."""
    hopeless = []
    for _ in range(40):
        watch.lost("gone")
        hopeless += pass_time(clock, watch, 3, broker=True)
        watch.listening()
        clock.now += 1
    assert hopeless != []


def test_waiting_for_what_another_service_declares_is_no_fault(
    clock: Seconds, watch: Watch
) -> None:
    """That service may not have been started yet."""
    watch.lost("no exchange", waits=True)
    assert watch.problem == "no exchange"
    assert pass_time(clock, watch, 1000, broker=True) == []
