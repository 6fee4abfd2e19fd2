"""Events that came together: one piece of work, one acknowledgement of an unbroken run, and each one's own fate."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import eventlet
import pytest
from structlog.testing import capture_logs

from shared.database import DatabaseUnavailable
from shared.events import CustomerDeleted, Event, encode
from shared.nameko_ext.batch_consumer import TOGETHER, BatchConsumer, Outcomes, act
from shared.nameko_ext.batching import Failed
from shared.nameko_ext.consumer import Permanent
from shared.nameko_ext.container import ACCOUNT, KEY
from shared.nameko_ext.listener import SafeQueueConsumer


def event(number: int, account: str = "") -> Event:
    return Event(
        id=f"evt_{number}",
        occurred_at=dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
        correlation_id=f"evt_{number}",
        data=CustomerDeleted(stripe_customer_id=f"cus_{number}", account=account),
    )


class Channel:
    """As much of a broker's channel as settling needs: what it was told, and what that left unsettled."""

    connection: Any = True
    no_ack_consumers = None

    def __init__(self) -> None:
        self.delivered = 0
        self.unsettled: list[int] = []
        self.told: list[tuple[int, bool]] = []

    def ack(self, tag: int, multiple: bool) -> None:
        """As RabbitMQ does it: everything up to the tag, and an error for a tag that is not there."""
        assert tag in self.unsettled
        self.told.append((tag, multiple))
        gone = [one for one in self.unsettled if one <= tag] if multiple else [tag]
        self.unsettled = [one for one in self.unsettled if one not in gone]

    def message(self, body: bytes | str = "{}") -> Any:
        self.delivered += 1
        tag = self.delivered
        self.unsettled.append(tag)
        return _Message(self, tag, body)


class _Message:
    def __init__(self, channel: Channel, tag: int, body: bytes | str) -> None:
        self.channel, self.tag, self.body = channel, tag, body
        self.headers: dict[str, Any] = {}
        self.delivery_info: dict[str, Any] = {}
        self.refusal = ""
        self.content_type, self.content_encoding = "application/json", "utf-8"

    def ack(self, multiple: bool = False) -> None:
        self.channel.ack(self.tag, multiple)


class Listener(SafeQueueConsumer):
    """The listener without a broker; what comes is handed to `provider`."""

    amqp_uri = "amqp://nowhere"

    def __init__(self, provider: Any) -> None:
        super().__init__()
        self.provider = provider
        surroundings: Any = SimpleNamespace(spawn_managed_thread=eventlet.spawn)
        self.container = surroundings

    def deliver(self, message: Any) -> Any:
        self._take(self.provider, message)
        return message


def listening() -> tuple[Listener, Channel]:
    """A listener whose messages wait until somebody settles them."""
    return Listener(SimpleNamespace(accept=lambda message: True)), Channel()


def test_an_unbroken_run_is_acknowledged_in_one_word() -> None:
    """Three events of one batch, nothing before them: one word for all, and nothing is left."""
    listener, channel = listening()
    messages = [listener.deliver(channel.message()) for _ in range(3)]
    listener.ack_messages(messages)
    assert (channel.told, channel.unsettled) == ([(3, True)], [])


def test_what_is_under_way_is_never_acknowledged_by_the_word_for_others() -> None:
    """A call (or a held event) that came in between is not settled: what came after it is acknowledged one by one."""
    listener, channel = listening()
    one, two, call, three, four = (listener.deliver(channel.message()) for _ in range(5))
    listener.ack_messages([three, one, four, two])
    assert channel.told == [(2, True), (4, False), (5, False)]
    assert channel.unsettled == [3]
    listener.ack_message(call)
    assert channel.unsettled == []


def test_each_is_settled_once() -> None:
    """Settled in a run, given twice, or of a channel that is gone: nothing is said about it again."""
    listener, channel = listening()
    one, two, three = (listener.deliver(channel.message()) for _ in range(3))
    listener.ack_messages([one, two])
    listener.ack_messages([one, two, two])
    channel.connection = None
    listener.ack_messages([three])
    assert channel.told == [(2, True)]


Handler = Callable[[list[Event]], Outcomes]


class House:
    """A batch consumer with a container that runs its method in green threads."""

    service_name = "notifier"
    config: Final = {"AMQP_URI": "amqp://nowhere"}

    def __init__(self, handler: Handler, **how: float) -> None:
        self.batches: list[list[str]] = []
        self.contexts: list[dict[str, str]] = []
        self.moved: list[tuple[str, str]] = []
        self.handler = handler
        self.consumer: Any = BatchConsumer(**how)
        self.consumer.container = self
        self.consumer.embedded = False
        self.consumer.queue = SimpleNamespace(name="notifier.billing-events")
        self.consumer._move = self._move
        self.listener = Listener(self.consumer)
        self.consumer.queue_consumer = self.listener
        self.channel = Channel()

    def _move(self, message: Any, body: Any, queue: str, headers: dict[str, Any]) -> None:
        self.moved.append((queue, headers["x-error"]))
        self.listener.ack_message(message)

    def spawn_managed_thread(self, work: Callable[[], None]) -> Any:
        return eventlet.spawn(work)

    def spawn_worker(
        self, entrypoint: Any, args: Any, kwargs: Any, context_data: Any, handle_result: Any
    ) -> None:
        def run() -> None:
            (batch,) = args
            self.batches.append([one.id for one in batch])
            self.contexts.append(context_data)
            try:
                handle_result(None, self.handler(batch), None)
            except Exception as error:
                handle_result(None, None, (type(error), error, None))

        eventlet.spawn(run)

    def deliver(self, *numbers: int) -> list[Any]:
        return [
            self.listener.deliver(self.channel.message(encode(event(number)))) for number in numbers
        ]

    def rest(self) -> None:
        """Let everything come to its end."""
        for _ in range(50):
            eventlet.sleep(0)


def fine(batch: list[Event]) -> Outcomes:
    return ["done"] * len(batch)


def test_events_gather_for_as_long_as_others_act_first() -> None:
    """Two that come one after the other are one batch when their time is over, and none of a consumer that stops meanwhile: they are the
    broker's again."""
    house = House(fine, after=0.02)
    house.deliver(0)
    house.rest()
    house.deliver(1)
    house.rest()
    assert (house.batches, house.channel.told) == ([], [])
    eventlet.sleep(0.03)
    assert (house.batches, house.channel.told) == ([["evt_0", "evt_1"]], [(2, True)])
    house.deliver(2)
    house.consumer._is_stopping = True
    eventlet.sleep(0.03)
    assert (len(house.batches), house.channel.unsettled) == (1, [3])


def test_what_came_together_is_one_batch_and_a_lone_event_waits_for_nobody() -> None:
    """One alone is handled alone; what gathers meanwhile is one batch, within its bound, and acknowledged in one word."""
    house = House(fine)
    house.deliver(0)
    house.rest()
    house.deliver(*range(1, TOGETHER + 4))
    house.rest()
    assert [len(batch) for batch in house.batches] == [1, TOGETHER, 3]
    assert house.channel.told == [(1, False), (TOGETHER + 1, True), (TOGETHER + 4, True)]
    assert house.channel.unsettled == []


def test_it_is_behind_while_more_waits_than_a_batch_takes() -> None:
    """A full batch is under way, so there may be more in the queue; a lone event, or nothing, is no reason to hurry."""
    seen: list[bool] = []

    def handler(batch: list[Event]) -> Outcomes:
        seen.append(house.consumer.is_behind)
        return fine(batch)

    house = House(handler)
    house.deliver(*range(TOGETHER + 1))
    house.rest()
    assert (seen, house.consumer.is_behind) == ([True, False], False)


def test_a_batch_is_one_line_of_the_log_and_a_lone_event_as_ever() -> None:
    """The line names the events by what came of them, so each is found by its id."""
    house = House(lambda batch: [f"outcome of {one.id}" for one in batch])
    with capture_logs() as lines:
        house.deliver(1)
        house.rest()
        house.deliver(2, 3)
        house.rest()
    alone, together = lines
    assert (alone["event"], alone["event_id"], alone["outcome"]) == (
        "event handled",
        "evt_1",
        "outcome of evt_1",
    )
    assert (together["event"], together["events"]) == ("events handled", 2)
    assert together["outcomes"] == {"outcome of evt_2": ["evt_2"], "outcome of evt_3": ["evt_3"]}


def test_a_lone_events_lines_name_it_and_its_account() -> None:
    """As those of a consumer without batches do; the lines of a batch are nobody's own."""
    house = House(fine)
    house.listener.deliver(house.channel.message(encode(event(1, "acct_1Nabc"))))
    house.rest()
    house.deliver(2, 3)
    house.rest()
    assert house.contexts == [{KEY: "evt_1", ACCOUNT: "acct_1Nabc"}, {}]


def test_each_event_of_a_batch_has_its_own_fate() -> None:
    """Done, to be tried again and given up: only the first is acknowledged with the batch, and none is lost."""
    fates: dict[str, str | Failed] = {
        "evt_1": "done",
        "evt_2": Failed(ValueError("broken")),
        "evt_3": Failed(Permanent("never")),
    }
    house = House(lambda batch: [fates[one.id] for one in batch])
    house.deliver(1, 2, 3)
    house.rest()
    assert sorted(house.moved) == [
        ("notifier.billing-events.dead", "Permanent: never"),
        ("notifier.billing-events.retry.5s", "ValueError: broken"),
    ]
    assert house.channel.unsettled == []


def test_an_error_of_the_method_is_that_of_all() -> None:
    """Nothing is acknowledged before its fate is known: each is tried again."""

    def broken(batch: list[Event]) -> Outcomes:
        raise ValueError("broken")

    house = House(broken)
    house.deliver(1, 2)
    house.rest()
    assert [queue for queue, _ in house.moved] == ["notifier.billing-events.retry.5s"] * 2


def test_what_waits_for_the_database_keeps_nobody_else_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is held unacknowledged, and handled when the database is there: others go on meanwhile."""
    pauses: list[float] = []
    away = {"evt_1"}
    sleep = eventlet.sleep

    def pause(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
            while away:
                sleep(0)

    monkeypatch.setattr(eventlet, "sleep", pause)

    def handler(batch: list[Event]) -> Outcomes:
        error = DatabaseUnavailable("away")
        return [Failed(error) if one.id in away else "done" for one in batch]

    house = House(handler)
    house.deliver(1)
    for _ in range(20):
        sleep(0)
    house.deliver(2, 3)
    for _ in range(20):
        sleep(0)
    assert house.channel.unsettled == [1]
    away.clear()
    for _ in range(20):
        sleep(0)
    assert (house.channel.unsettled, pauses) == ([], [1])


def test_a_copy_whose_connection_broke_is_left_to_the_broker() -> None:
    """It was waiting for its turn: the broker delivers it again, and handling the old copy would only be work."""
    house = House(fine)
    (old,) = house.deliver(1)
    house.channel.connection = None
    house.rest()
    assert house.batches == []
    house.channel = Channel()
    house.listener._unsettled.clear()  # as a listener that begins anew does
    house.deliver(1)
    house.rest()
    assert (house.batches, house.channel.unsettled) == ([["evt_1"]], [])
    assert old.channel.told == []


def test_nothing_begins_after_the_stop() -> None:
    """What waits then is the broker's again."""
    house = House(fine)
    house.consumer._is_stopping = True
    house.deliver(1)
    house.rest()
    assert (house.batches, house.channel.unsettled) == ([], [1])


def test_what_cannot_be_read_does_not_hold_the_listener_up() -> None:
    """It is given up in a green thread of its own."""
    house = House(fine)
    house.listener.deliver(house.channel.message(b"no JSON"))
    assert house.moved == []
    house.rest()
    assert [queue for queue, _ in house.moved] == ["notifier.billing-events.dead"]


def test_acting_keeps_order_and_fates_apart() -> None:
    """Those that are alike in one go, and in halves around one that fails; the others one by one."""
    tries: list[list[str]] = []

    def together(batch: list[Event]) -> list[str]:
        tries.append([one.id for one in batch])
        if any(one.id == "evt_2" for one in batch):
            raise ValueError("poison")
        return ["together"] * len(batch)

    def alone(one: Event) -> str:
        if one.id == "evt_5":
            raise LookupError("nothing there")
        return "alone"

    outcomes = act(
        [event(number) for number in range(6)],
        lambda one: one.id in ("evt_0", "evt_2", "evt_4"),
        together,
        alone,
    )
    told = [type(one.error) if isinstance(one, Failed) else one for one in outcomes]
    assert told == ["together", "alone", ValueError, "alone", "together", LookupError]
    assert tries[0] == ["evt_0", "evt_2", "evt_4"]
