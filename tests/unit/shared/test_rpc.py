"""RPC arguments are checked against the method's hints, and the error names the field."""

from __future__ import annotations

import datetime as dt
import re
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Final, Literal

import eventlet
import msgspec
import pytest
import structlog
from amqp.exceptions import AccessRefused
from structlog.testing import capture_logs

from shared.contracts.rpc.arguments import read_arguments
from shared.contracts.rpc.base import Arguments
from shared.contracts.rpc.errors import (
    InternalError,
    InvalidArgument,
    NotFound,
    TemporarilyUnavailable,
)
from shared.contracts.rpc.portal import Clock
from shared.database import DatabaseUnavailable, UnstorableValue
from shared.messaging.amqp import BrokerRefused
from shared.messaging.confirmed import Outcome, Publication
from shared.messaging.transport import REPLY_BYTES
from shared.nameko_ext import rpc
from shared.nameko_ext.replies import ReplyPublisher
from shared.nameko_ext.rpc import (
    BYTES_AT_ONCE,
    CheckedRpc,
    RpcRefused,
    RpcUnavailable,
    SafeRpcConsumer,
    _public,
    argument_checker,
)


class Visit(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    starts_at: dt.datetime
    status: Literal["scheduled", "cancelled"] = "scheduled"


class Service:
    def book(self, customer_id: str, visits: list[Visit], limit: int | None = None,
             how: Literal["fast", "faster"] | None = None, ways: dict[str, Literal["on", "off"]] | None = None):  # fmt: skip
        """Take visits."""


check = argument_checker(Service.book)
VISIT = {"title": "Cleaning", "starts_at": "2026-11-23T10:00:00Z"}


def test_typed_arguments():
    """JSON becomes the types of the hints; defaults are filled in."""
    arguments = check(("c1",), {"visits": [VISIT]})
    assert arguments == {
        "customer_id": "c1",
        "visits": [Visit("Cleaning", dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC))],
        "limit": None,
        "how": None,
        "ways": None,
    }


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {"visits": []}, "customer_id"),
        ((3,), {"visits": []}, "customer_id: expected str, got int"),
        (
            ("c",),
            {"visits": [{**VISIT, "title": None}]},
            r"visits\[0\]\.title: expected str, got null",
        ),
        (("c",), {"visits": [VISIT], "colour": 1}, "unknown argument colour"),
        (
            ("c",),
            {"visits": [VISIT, {**VISIT, "status": "gone"}]},
            r"^visits\[1\]\.status: expected one of scheduled, cancelled$",
        ),
        (("c",), {"visits": [], "how": "slowly"}, "^how: expected one of fast, faster$"),
        (("c",), {"visits": [], "ways": {"a": "b"}}, r"^ways\[...\]: expected one of on, off$"),
        (("c",), {"visits": {}}, "visits: expected array"),
        (("c",), {"visits": [], "limit": "9"}, "limit"),
        (("c", [], 1, None, None, 2), {}, "takes 5 arguments, got 6"),
        (("c",), {"customer_id": "c", "visits": []}, "customer_id: given twice"),
    ],
)
def test_wrong_arguments_name_the_field(args, kwargs, message):
    """A wrong shape is refused before any work, and the caller learns which field it was."""
    with pytest.raises(InvalidArgument, match=message):
        check(args, kwargs)


class Spelled(Arguments, frozen=True, kw_only=True):
    """Texts of a spelling, wherever one may stand."""

    clock: Clock | None = None
    clocks: list[Clock] = msgspec.field(default_factory=list)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"clock": "2١:00"}, "clock: expected a time of day like 21:00"),
        ({"clock": "21:00\n"}, "clock: expected a time of day like 21:00"),
        ({"clock": "x21:00"}, "clock: expected a time of day like 21:00"),
        ({"clocks": ["21:00", "24:00"]}, "clocks[1]: expected a time of day like 21:00"),
    ],
)
def test_a_spelling_holds_for_the_whole_text_and_is_told_in_words(
    given: dict[str, Any], message: str
) -> None:
    """No digits of other scripts, no end of a line behind it; and no caller reads an expression."""
    with pytest.raises(InvalidArgument, match=f"^{re.escape(message)}$"):
        read_arguments(given, Spelled)
    assert read_arguments({"clock": "21:00", "clocks": ["00:59"]}, Spelled).clock == "21:00"


class Paged(Arguments, frozen=True, kw_only=True):
    """What an address may say."""

    limit: int = 10
    after: int | None = None
    open: bool | None = None
    name: str | None = None


@pytest.mark.parametrize("text", ["1e2", "100.0", "1E+2", "0100", "+100", "-0", "null", "٣", ""])
@pytest.mark.parametrize("name", ["limit", "after"])
def test_a_number_in_an_address_is_digits(name: str, text: str) -> None:
    """What only looks like one is refused, and "null" is not as if nothing had been said: a list would begin anew."""
    with pytest.raises(InvalidArgument, match=f"^{name}: expected "):
        read_arguments({name: text}, Paged, strict=False)


def test_what_an_address_says_is_taken() -> None:
    """Numbers, and words that are none: a name may be `null`."""
    told = read_arguments(
        {"limit": "100", "after": "7", "open": "true", "name": "null"}, Paged, strict=False
    )
    assert told == Paged(limit=100, after=7, open=True, name="null")
    with pytest.raises(InvalidArgument, match=r"^open: expected a value"):
        read_arguments({"open": "null"}, Paged, strict=False)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_moment_beyond_utcs_years_is_refused(moment: str) -> None:
    """Its offset leads out of the calendar, so no database takes it: the caller hears which one, and not of a failure of ours."""
    with pytest.raises(InvalidArgument, match=r"^visits\[1\]\.starts_at: expected a time of the"):
        check(("c",), {"visits": [VISIT, {**VISIT, "starts_at": moment}]})


class Given(msgspec.Struct):
    """A moment that is not optional, and one that must have its offset."""

    since: dt.datetime
    until: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None


@pytest.mark.parametrize("field", ["since", "until"])
def test_a_moment_without_its_offset_is_refused_in_one_wording(field: str) -> None:
    """It could be any of twenty-four: whatever the method, the caller hears which one and how to write it."""
    given = {"since": "2026-11-23T10:00:00Z", field: "2026-11-23T10:00:00"}
    with pytest.raises(InvalidArgument) as refused:
        read_arguments(given, Given)
    assert str(refused.value) == (
        f"{field}: expected a time with its offset from UTC, such as 2026-11-23T10:00:00Z"
    )


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00"])
def test_a_moment_at_the_ends_of_the_calendar_is_one(moment: str) -> None:
    """What UTC can tell is taken as it is."""
    (visit,) = check(("c",), {"visits": [{**VISIT, "starts_at": moment}]})["visits"]
    assert visit.starts_at.year in (1, 9999)


class Booking(Arguments, frozen=True, kw_only=True):
    customer_id: str
    visits: list[Visit]
    limit: int | None = None


class Whole:
    def book(self, booking: Booking):
        """Take visits."""


def test_a_struct_may_be_all_of_a_methods_arguments() -> None:
    """Callers name its fields, or give them in order, and hear of a wrong one as of any other method's."""
    check = argument_checker(Whole.book)
    whole = {"booking": Booking(customer_id="c1", visits=[])}
    assert check((), {"customer_id": "c1", "visits": []}) == whole
    assert check(("c1",), {"visits": []}) == whole
    for args, kwargs, message in (
        ((), {"visits": []}, "customer_id"),
        (("c",), {"visits": [{**VISIT, "title": None}]}, r"visits\[0\]\.title: expected str"),
        (("c",), {"visits": [], "colour": 1}, "unknown argument colour"),
        (("c",), {"customer_id": "c", "visits": []}, "customer_id: given twice"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            check(args, kwargs)


def test_callers_see_no_internals():
    """An unexpected error crosses the wire without its text; one of ours as it is."""
    assert "secret" not in str(_public(ValueError("secret")))
    assert isinstance(_public(ValueError("secret")), InternalError)
    ours = NotFound("no such customer")
    assert _public(ours) is ours


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("a\x00b", "thing"),
        ("\x1b[2J", "thing"),
        ("\x9b2J", "thing"),
        ("\ud800", "thing"),
        ({"x": ["ok", "\x00"]}, r"thing\.x\[1\]"),
        ({"\x7f": 1}, r"thing \(a name in it\)"),
        (["\udfff"], r"thing\[0\]"),
    ],
)
def test_text_that_no_table_or_log_takes_is_a_wrong_argument(value, place):
    """JSON can say NUL, escapes of a terminal and half a surrogate pair; the caller is there to be told where."""

    def method(self, thing: Any) -> None: ...

    check = argument_checker(method)
    with pytest.raises(InvalidArgument, match=f"^{place}: expected text without control"):
        check((), {"thing": value})
    assert check((), {"thing": "fine \U0001f600"}) == {"thing": "fine \U0001f600"}


class Told(str):
    """A name that counts how often a place is made of it."""

    __slots__ = ()
    times = 0

    def __format__(self, spec: str) -> str:
        Told.times += 1
        return str(self)


def test_a_place_is_made_once_and_only_where_something_is_wrong():
    """A name may be as long as half a body, and stand above as many values: made for each of them it took minutes, in which the whole
    process answered nobody."""

    def method(self, thing: Any) -> None: ...

    check = argument_checker(method)
    many = {Told("long"): [[0] * 100, {"a": ["fine"] * 100}]}
    check((), {"thing": many})
    assert Told.times == 0
    many[Told("long")].append("\x00")
    with pytest.raises(InvalidArgument, match=r"^thing\.long\[2\]: expected text"):
        check((), {"thing": many})
    assert Told.times == 1


@pytest.mark.parametrize("given", [{"x - at $[[[a": 0}, {"word": "x - at $[[[a"}])
def test_a_name_or_word_that_looks_like_a_place_is_told_like_any_other(given):
    """msgspec quotes both before it says where they stand."""

    def method(self, word: Literal["a", "b"]) -> None: ...

    with pytest.raises(InvalidArgument):
        argument_checker(method)((), given)


@pytest.mark.parametrize("given", [{"x" * 100_000: 0}, {"x" * 100_000: "\x00"}])
def test_a_name_without_end_is_not_told_whole(given):
    """It would come back in the answer, twice."""

    def method(self, word: str) -> None: ...

    with pytest.raises(InvalidArgument) as told:
        argument_checker(method)((), given)
    assert len(str(told.value)) < 600


def test_arguments_nested_too_deeply_are_wrong_arguments():
    """Deeper than we can walk is said by name, like any other wrong argument."""
    nested: Any = "x"
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(InvalidArgument, match="nested too deeply"):
        check((), {"customer_id": nested})


def test_what_no_column_takes_is_a_wrong_argument():
    """A number or a text beyond its column was the caller's, and its value stays out of the answer."""
    error = _public(UnstorableValue("integer out of range (SQLSTATE 22003)"))
    assert isinstance(error, InvalidArgument)
    assert "22003" not in str(error)


def test_a_call_that_the_broker_refuses_is_no_broker_out_of_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has an error of its own, which names the method; whoever can do without the answer takes it like any other."""

    class Refusing:
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

        def publish(self, *args: Any, **kwargs: Any) -> None:
            raise BrokerRefused("ACCESS_REFUSED")

    monkeypatch.setattr(rpc._BoundedMethod, "publisher_cls", Refusing)
    container = SimpleNamespace(config={"AMQP_URI": "amqp://"}, service_name="notifier")
    worker = SimpleNamespace(container=container, context_data={}, data={})
    listener = SimpleNamespace(
        routing_key="address", get_reply_event=lambda call: None, forget=lambda call: None
    )
    call = rpc._BoundedMethod(worker, "portal", "erase_customer", listener, 1.0)
    with pytest.raises(RpcRefused, match=r"portal\.erase_customer: ACCESS_REFUSED"):
        call()
    assert issubclass(RpcRefused, RpcUnavailable)


@pytest.mark.parametrize(
    ("exchange", "headers", "straight"),
    [
        ("nameko-rpc", {}, True),
        ("amq.topic", None, True),
        ("", {}, False),
        ("host.detour", {}, False),
        ("nameko-rpc", {"x-death": [{"queue": "host.detour"}]}, False),
        ("nameko-rpc", {"x-death": "anything"}, False),
        (None, {}, False),
    ],
)
def test_only_what_was_published_for_the_broker_to_look_at_is_called(
    exchange: str | None, headers: dict[str, Any] | None, straight: bool
) -> None:
    """Not what came by the default exchange, by somebody's own, or as a dead letter."""
    info = {} if exchange is None else {"exchange": exchange}
    message = SimpleNamespace(delivery_info=info, headers=headers)
    assert rpc._came_straight(message) == straight


CAME_BY: Final = {"exchange": "nameko-rpc", "routing_key": "portal.book"}


class Called:
    """An RPC consumer's surroundings: remembers what is answered and acked."""

    service_name = "portal"
    config: ClassVar[dict[str, Any]] = {"AMQP_URI": "amqp://nowhere"}

    method_name = "book"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.acked: list[Any] = []
        self.batches: list[list[Any]] = []
        self.refuses = ""
        self.gate: Any = None
        self.runs: list[Any] = []
        made: Any = SafeRpcConsumer()
        made.container, made.queue_consumer = self, self
        made.setup()
        made.register_provider(self)
        self.consumer = made
        monkeypatch.setattr(ReplyPublisher, "publish", self.publish)

    def publish(self, batch: list[Publication]) -> list[Outcome]:
        if self.refuses in [one.routing_key for one in batch]:
            raise AccessRefused("the key is not allowed")
        self.batches.append([msgspec.json.decode(one.body) for one in batch])
        return [None] * len(batch)

    @property
    def answers(self) -> list[Any]:
        return [answer for batch in self.batches for answer in batch]

    def register_provider(self, provider: Any) -> None:
        return

    def ack_message(self, message: Any) -> None:
        self.ack_messages([message])

    def ack_messages(self, messages: list[Any]) -> None:
        self.acked += messages

    def handle_message(self, request: Any, message: Any) -> None:
        self.runs.append(message)
        if self.gate is not None:
            self.gate.wait()

    def take(self, body: bytes = b'{"args": [], "kwargs": {}}', **properties: Any) -> Any:
        message = SimpleNamespace(
            body=body,
            refusal="",
            content_type="application/json",
            content_encoding="utf-8",
            headers={},
            properties={"reply_to": "me", "correlation_id": "1", **properties},
            delivery_info=CAME_BY,
            channel=SimpleNamespace(connection=True),
        )
        self.consumer.handle_message(body, message)
        return message


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    return Called(monkeypatch)


def test_a_call_that_is_delivered_again_is_not_done_again(called: Called) -> None:
    """Its connection broke while it ran: the second copy is acked when the first one's work ends, and answered once."""
    first = called.take()
    first.channel.connection = None
    second = called.take()
    assert called.runs == [first]
    called.consumer.handle_result(first, "done", None)
    assert called.acked == [second]
    assert called.answers == [{"result": "done", "error": None}]
    assert called.take() is called.runs[-1]


@pytest.mark.parametrize(
    "properties", [{"correlation_id": None}, {"reply_to": None, "correlation_id": None}]
)
def test_calls_without_an_id_are_each_their_own(called: Called, properties: dict[str, Any]) -> None:
    """Nothing tells them apart, so none is taken for another's copy."""
    messages = [called.take(**properties) for _ in range(3)]
    assert called.runs == messages
    for message in messages:
        called.consumer.handle_result(message, None, None)
    assert called.acked == messages


def test_large_calls_at_once_have_a_budget(called: Called) -> None:
    """Beyond it a call is told to come back, at once; what is done gives its bytes back, however it ends."""
    body = b'{"args": [], "kwargs": {"x": "' + b"x" * (BYTES_AT_ONCE // 2) + b'"}}'
    called.gate = eventlet.Event()
    first = eventlet.spawn(called.take, body, correlation_id="a")
    eventlet.sleep(0)
    called.take(body, correlation_id="b")
    assert [answer["error"]["exc_type"] for answer in called.answers] == ["Overloaded"]
    called.gate.send_exception(ValueError("it failed"))
    first.wait()
    called.gate = None
    called.take(body, correlation_id="c")
    called.take(body, correlation_id="d")
    assert len(called.runs) == 3


@pytest.mark.whole
def test_an_answer_that_nobody_could_take_is_an_error(called: Called) -> None:
    """Its caller hears that instead of waiting."""
    called.consumer.handle_result(called.take(), "x" * (REPLY_BYTES + 1), None)
    assert called.answers[0]["error"]["value"] == "the answer is too large"


def test_answers_that_are_due_together_go_together(called: Called) -> None:
    """One write for them all, and their calls are acknowledged after it, those without an answer too."""
    messages = [called.take(correlation_id=str(number)) for number in range(3)]
    messages.append(called.take(reply_to=None))
    threads = [
        eventlet.spawn(called.consumer.handle_result, message, number, None)
        for number, message in enumerate(messages)
    ]
    eventlet.sleep(0)
    assert called.acked == []
    assert [thread.wait() for thread in threads] == [(number, None) for number in range(4)]
    assert [[answer["result"] for answer in batch] for batch in called.batches] == [[0, 1, 2]]
    assert called.acked == messages


def test_an_answer_that_the_broker_refuses_is_lost_alone(called: Called) -> None:
    """Whoever names an address that we may not write to harms nobody whose answer is due at the same moment."""
    called.refuses = "portal.erase_customer"
    messages = [
        called.take(correlation_id=str(number), reply_to=called.refuses if number == 2 else "me")
        for number in range(4)
    ]

    def answer(number: int) -> None:
        with structlog.contextvars.bound_contextvars(correlation_id=f"call {number}"):
            called.consumer.handle_result(messages[number], number, None)

    threads = [eventlet.spawn(answer, number) for number in range(4)]
    merging = [structlog.contextvars.merge_contextvars]
    with capture_logs(processors=merging) as lines, eventlet.Timeout(5):
        for thread in threads:
            thread.wait()
    assert [answer["result"] for answer in called.answers] == [0, 1, 3]
    assert called.acked == messages, "nobody finds it done twice"
    told = [(line["event"], line["correlation_id"]) for line in lines]
    assert told == [("RPC answer not sent", "call 2")], "in the log of the call, not of the batch"


def test_a_method_that_there_is_not_is_an_answer(called: Called) -> None:
    """Its name, and nothing else."""
    message = SimpleNamespace(
        **{**vars(called.take()), "delivery_info": {**CAME_BY, "routing_key": "portal.bok"}}
    )
    called.consumer.handle_message(message.body, message)
    assert called.answers[-1]["error"]["exc_type"] == "MethodNotFound"
    assert called.answers[-1]["error"]["value"] == "bok"


def test_a_database_that_is_away_is_a_named_error():
    """Not an internal one: the caller knows that the same call may be made again, and learns no details."""
    error = _public(DatabaseUnavailable("the database does not answer, or not now (25006)"))
    assert isinstance(error, TemporarilyUnavailable)
    assert "25006" not in str(error)


class Audited:
    def change(self, customer_id: str, rows: list[str], note: str) -> None:
        """Change something."""


@pytest.mark.parametrize(
    ("headers", "who"),
    [({"nameko.caller": "ada on ops-1.example.com"}, "ada on ops-1.example.com"), ({}, "not said")],
)
def test_what_people_have_done_is_an_audit_line(headers: dict[str, str], who: str) -> None:
    """Who, what and which, and what came of it: of a list its length, and no argument that is not named."""
    made: Any = CheckedRpc(audited=("customer_id", "rows"))
    failed = (NotFound, NotFound("no such customer"), None)
    made.method_name, made._check = "change", argument_checker(Audited.change)
    made.rpc_consumer = SimpleNamespace(handle_result=lambda *what: None)
    made.container = SimpleNamespace(
        service_name="portal",
        run_here=lambda entrypoint, args, kwargs, context_data, handle_result: handle_result(
            SimpleNamespace(data=context_data), None, failed
        ),
    )
    arguments = {"customer_id": "c_1", "rows": ["Ada", "Bob"], "note": "private"}
    message = SimpleNamespace(headers=headers, delivery_info={"exchange": "nameko-rpc"})
    with capture_logs() as lines:
        made.handle_message({"args": [], "kwargs": arguments}, message)
    assert lines == [
        {
            "event": "audit",
            "log_level": "info",
            "audit": True,
            "what": "portal.change",
            "who": who,
            "came_by": "nameko-rpc",
            "outcome": "NotFound",
            "customer_id": "c_1",
            "rows": 2,
        }
    ]
