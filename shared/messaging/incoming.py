"""What comes in from the broker, read in one place: our own headers, and JSON bodies.

Whoever may publish can put anything into a header, a property or a body. So nothing is converted or indexed by where it is
used: it is read here, into something of the expected type and within its bounds.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kombu.utils.json import loads
from werkzeug.http import parse_options_header

from shared import tracing

ATTEMPT: Final = "x-attempt"
ERROR: Final = "x-error"
ORIGINAL_ROUTING_KEY: Final = "x-original-routing-key"
REPLAYS: Final = "x-replays"
LAST_ERROR: Final = "x-last-error"
GIVEN_UP_AT: Final = "x-given-up-at"
DELIVERIES: Final = "x-delivery-count"
CONTEXT: Final = "nameko."
"""How the headers begin that carry nameko's context data."""
CALLER: Final = "caller"
"""The context data in which a caller says on whose behalf it calls. Nobody vouches for it."""

OF_THE_BROKER: Final = (
    "x-death",
    "x-first-death",
    "x-last-death",
    "x-delivery-count",
    "x-acquired-count",
)
"""How the headers begin that the broker writes, about the message's way through its queues."""

MOST: Final = 1_000_000
"""The largest number that a header of ours counts to."""
TEXT_LENGTH: Final = 500
CARRIED: Final = 32
"""How many headers go along when a message is moved: they have to fit into one frame."""
NAME_LENGTH: Final = 100
ENCODINGS: Final = ("", "utf-8", "utf8", "us-ascii", "binary")
"""Names of encodings that mean JSON as it is: bytes in UTF-8."""


class Unreadable(Exception):
    """The message can't be taken; the text says why."""


@dataclass(frozen=True, kw_only=True)
class OwnHeaders:
    """The headers of ours, and of the broker's, that somebody uses."""

    attempt: int
    """Tries that failed before this one; 0 where the header says anything but a number from 0 up."""
    error: str
    """Why the last try failed."""
    original_routing_key: str
    replays: int
    """How often a person has replayed it from the dead letters."""
    deliveries: int
    """How often the broker has delivered it before."""
    given_up_at: dt.datetime | None
    """When a consumer gave it up, else when the broker did; None where nobody has noted it."""
    died_of: str
    """The broker's own word for why it gave a message up, such as `delivery_limit`."""
    correlation_id: str
    traceparent: str
    caller: str

    def context(self) -> dict[str, str]:
        """The context data of a worker that handles the message."""
        known = {
            "correlation_id": self.correlation_id,
            tracing.KEY: self.traceparent,
            CALLER: self.caller,
        }
        return {name: value for name, value in known.items() if value}


def own_headers(headers: Mapping[Any, Any] | None) -> OwnHeaders:
    """Read them. Never raises; what is not as it should be counts as absent."""
    found = headers or {}
    return OwnHeaders(
        attempt=_count(found.get(ATTEMPT)),
        error=_text(found.get(ERROR)),
        original_routing_key=_text(found.get(ORIGINAL_ROUTING_KEY)),
        replays=_count(found.get(REPLAYS)),
        deliveries=_count(found.get(DELIVERIES)),
        given_up_at=_moment(found.get(GIVEN_UP_AT)) or _died_at(found.get("x-death")),
        died_of=_text(found.get("x-first-death-reason")) or _text(found.get("x-last-death-reason")),
        correlation_id=_word(found.get(f"{CONTEXT}correlation_id")),
        traceparent=_word(found.get(f"{CONTEXT}{tracing.KEY}")),
        caller=_word(found.get(f"{CONTEXT}{CALLER}")),
    )


def _moment(value: Any) -> dt.datetime | None:
    """A time with its zone, in UTC."""
    try:
        moment = dt.datetime.fromisoformat(_text(value))
        return moment.astimezone(dt.UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _died_at(deaths: Any) -> dt.datetime | None:
    """When the broker last gave the message up, by its own list of that, newest first: times in UTC without a zone."""
    newest = deaths[0] if isinstance(deaths, list) and deaths else None
    moment = newest.get("time") if isinstance(newest, dict) else None
    return moment.replace(tzinfo=dt.UTC) if isinstance(moment, dt.datetime) else None


def carried(headers: Mapping[Any, Any] | None) -> dict[str, Any]:
    """The headers that go along when a message is moved to another queue: plain ones, not the broker's, and not without end."""
    plain = {
        name: value[:TEXT_LENGTH] if isinstance(value, str) else value
        for name, value in (headers or {}).items()
        if isinstance(name, str)
        and len(name) <= NAME_LENGTH
        and not name.startswith(OF_THE_BROKER)
        and isinstance(value, str | bool | int)
        and (isinstance(value, str) or abs(value) < 1 << 31)
    }
    return dict(list(plain.items())[:CARRIED])


def assure_json(message: Any) -> None:
    """Raise Unreadable unless the message says that its body is JSON, and may be read."""
    if message.refusal:
        raise Unreadable(message.refusal)
    content_type, charset = _content_type(message.content_type)
    if content_type not in ("", "application/json"):
        raise Unreadable("undecodable: its content type is not application/json")
    if charset not in ENCODINGS:
        raise Unreadable("undecodable: the charset of its content type is not utf-8")
    if _text(message.content_encoding).lower() not in ENCODINGS:
        raise Unreadable("undecodable: its content encoding is not utf-8")


def _content_type(value: Any) -> tuple[str, str]:
    """A content type and its `charset`, in lower case: `application/json; charset=utf-8`."""
    content_type, parameters = parse_options_header(_text(value))
    return content_type.strip().lower(), parameters.get("charset", "").lower()


def read_json(message: Any) -> Any:
    """The body of a message, decoded as kombu and nameko do it. Raises Unreadable."""
    assure_json(message)
    try:
        return loads(message.body)
    except (
        Exception
    ) as error:  # what it is of depends on where it stops being JSON, and how deep that is
        raise Unreadable(f"undecodable: {type(error).__name__}") from None


def identify(body: bytes | str) -> tuple[str, str]:
    """The id and the type that an event's body says it has; where it can't be read, `body:` with the beginning of its SHA-256,
    and `(unreadable)`."""
    try:
        envelope = json.loads(body)
        key, type_ = str(envelope["id"]), str(envelope.get("type", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
        key, type_ = f"body:{hashlib.sha256(raw).hexdigest()[:16]}", "(unreadable)"
    return key[:512], type_[:255]


@dataclass(frozen=True)
class Reply:
    """What a called method answered: `error` is the name of the error's class, empty for a result."""

    result: Any = None
    error: str = ""
    text: str = ""


def read_reply(message: Any) -> Reply:
    """Read an answer to a call. Never raises: one that can't be read is an error as well."""
    try:
        reply = read_json(message)
    except Unreadable as error:
        return unreadable_reply(str(error))
    if not isinstance(reply, dict):
        return unreadable_reply("no object")
    if fault := reply.get("error"):
        told = fault if isinstance(fault, dict) else {}
        return Reply(error=str(told.get("exc_type")), text=str(told.get("value")))
    return Reply(result=reply.get("result"))


def unreadable_reply(why: str) -> Reply:
    """What whoever waits gets in the place of one."""
    return Reply(error="UnreadableReply", text=f"the reply is {why}")


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return 0
    return min(value, MOST)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return value[:TEXT_LENGTH] if isinstance(value, str) else ""


def _word(value: Any) -> str:
    """Text that stands in every log line and may stand in a database: printable, or not taken at all."""
    text = _text(value)
    return text if text.isprintable() and len(text) <= 255 else ""
