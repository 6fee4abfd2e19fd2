"""Memory for the bodies of requests: counted once, given back on every path, and taken from whoever holds most for longest."""

from __future__ import annotations

from collections.abc import Callable

import eventlet
import pytest

from shared.nameko_ext.http_bodies import BodyBudget, Held, NoRoom, Room, TooLarge
from tests.unit.shared.conftest import Seconds


@pytest.fixture
def budget(clock: Seconds) -> BodyBudget:
    return BodyBudget(1600, clock)


class Body:
    """A request's green thread: takes a room, adds pieces when told to, and remembers how it ended."""

    def __init__(self, budget: BodyBudget, size: int = 0) -> None:
        self._budget, self._size = budget, size
        self.outcome = ""
        self._told: eventlet.Queue[int] = eventlet.Queue()
        self.thread = eventlet.spawn(self._run)
        eventlet.sleep(0)

    def _run(self) -> None:
        try:
            with self._budget.room(10_000) as room:
                if self._size:
                    room.add(b"x" * self._size)
                while size := self._told.get():
                    room.add(b"x" * size)
                self.outcome = f"{len(room.whole())}"
                self._told.get()
        except NoRoom:
            self.outcome = "no room"

    def send(self, size: int) -> Body:
        """More of it; 0: no more will come."""
        self._told.put(size)
        eventlet.sleep(0)
        eventlet.sleep(0)
        return self


def test_a_body_counts_until_it_is_answered(budget: BodyBudget) -> None:
    """While it comes and while it is worked on, not longer."""
    body = Body(budget, 100).send(50)
    assert budget.taken == 150
    body.send(0)
    assert (body.outcome, budget.taken) == ("150", 150)
    body.send(0)
    assert budget.taken == 0


@pytest.mark.parametrize("pieces", [[b""], [b"ab"], [b"ab", b"c"], [b"a", b"", b"b" * 90, b"c"]])
def test_the_body_is_what_came(budget: BodyBudget, pieces: list[bytes]) -> None:
    """In one piece or in many."""
    with budget.room(100) as room:
        for piece in pieces:
            room.add(piece)
        assert room.whole() == b"".join(pieces)


def fail(room: Room) -> None:
    raise ValueError


def time_out(room: Room) -> None:
    with eventlet.Timeout(0.001):
        eventlet.sleep(1)


def grow_too_large(room: Room) -> None:
    room.add(b"x" * 1000)


def find_no_room(room: Room) -> None:
    room.give_way()
    room.add(b"x")


@pytest.mark.parametrize("end", [fail, time_out, grow_too_large, find_no_room])
def test_whatever_ends_it_frees_it_once(budget: BodyBudget, end: Callable[[Room], None]) -> None:
    """An error, a time-out, too large a body, no room: what it took is free again, not more and not less."""
    with budget.room(1000) as other:
        other.add(b"x" * 7)
        with pytest.raises((ValueError, eventlet.Timeout, TooLarge, NoRoom)), budget.room(600) as room:  # fmt: skip
            room.add(b"x" * 500)
            room.add(b"x" * 50)
            end(room)
        eventlet.sleep(0)
        assert (budget.taken, budget.arriving) == (7, {other})


def test_a_killed_reader_frees_it(budget: BodyBudget) -> None:
    """The process ends its green threads when it stops."""
    body = Body(budget, 100)
    body.thread.kill()
    assert (budget.taken, budget.arriving) == (0, set())


def test_what_is_announced_takes_nothing(budget: BodyBudget) -> None:
    """A length alone is only looked at: over the limit it is refused, and nothing is set aside for it."""
    with budget.room(1000) as room:
        room.expect(1000)
        with pytest.raises(TooLarge):
            room.expect(1001)
        assert budget.taken == 0


def test_who_takes_most_for_longest_gives_way(budget: BodyBudget, clock: Seconds) -> None:
    """A large body that lingers goes, while it waits for more; small and young ones stay, and the newcomer is let in."""
    small = Body(budget, 10)
    slow = Body(budget, 900)
    clock.now = 1
    young = Body(budget, 600)
    clock.now = 1.1
    newcomer = Body(budget, 200)
    eventlet.sleep(0)
    assert slow.outcome == "no room"
    assert budget.taken == 10 + 600 + 200
    for body in (small, young, newcomer):
        assert body.send(0).outcome.isdigit()


def test_room_is_made_for_more_than_one_piece(budget: BodyBudget, clock: Seconds) -> None:
    """A sixteenth of the budget at least, since looking for it costs the same."""
    crowd = [Body(budget, 10) for _ in range(160)]
    clock.now = 1
    Body(budget, 1)
    eventlet.sleep(0)
    assert sum(body.outcome == "no room" for body in crowd) == 10


def test_the_heaviest_gets_no_more(budget: BodyBudget, clock: Seconds) -> None:
    """Who holds most for longest and wants still more is refused itself; nobody else loses anything for it."""
    greedy, other = Body(budget, 1000), Body(budget, 500)
    clock.now = 1
    assert greedy.send(200).outcome == "no room"
    assert budget.taken == 500
    assert other.send(0).outcome == "500"


def test_a_whole_body_is_never_taken_back(budget: BodyBudget, clock: Seconds) -> None:
    """It is worked on: whoever comes has no room until it is answered."""
    worked_on = Body(budget, 1500).send(0)
    clock.now = 9
    assert Body(budget, 200).outcome == "no room"
    worked_on.send(0)
    assert worked_on.outcome == "1500"
    assert Body(budget, 200).outcome == ""


def test_one_that_gave_way_and_has_just_ended_is_not_interrupted(
    budget: BodyBudget, clock: Seconds
) -> None:
    """Its last piece came in the same moment: it hears so by itself, and what it does afterwards is left alone."""
    after = []

    def read() -> None:
        with budget.room(1000) as room:
            room.add(b"x" * 1000)
            clock.now = 1
            room.give_way()
            with pytest.raises(NoRoom):
                room.whole()
            eventlet.sleep(0.01)  # the answer is written
            after.append("answered")

    eventlet.spawn(read).wait()
    assert after == ["answered"]
    assert budget.taken == 0


def test_heads_and_answers_share_the_budget(budget: BodyBudget, clock: Seconds) -> None:
    """What a connection holds beside bodies counts as they do, with its newest size; the heaviest gives way, whatever it is."""
    ended: list[str] = []
    head = Held(budget, lambda _: ended.append("head"))
    head.hold(300)
    head.hold(900)
    body = Body(budget, 500)
    assert budget.taken == 1400
    clock.now = 1
    answer = Held(budget, lambda _: ended.append("answer"))
    answer.hold(600)
    assert (ended, body.outcome, budget.taken) == (["head"], "", 1100)
    answer.hold(100)
    head.free()  # its own green thread has heard
    assert budget.taken == 600
    answer.free()
    assert (budget.taken, len(budget.arriving)) == (500, 1)
    assert body.send(0).outcome == "500"


def test_who_holds_most_gets_no_more_of_anything(budget: BodyBudget, clock: Seconds) -> None:
    """A head that grows over all others' is refused, and still counts until it is let go."""
    head = Held(budget, lambda _: None)
    head.hold(1000)
    other = Body(budget, 500)
    clock.now = 1
    with pytest.raises(NoRoom):
        head.hold(1200)
    assert (budget.taken, other.outcome) == (1500, "")
    head.free()
    assert budget.taken == 500
