"""What the modules of the RPC wire are made of: arguments, answers, methods."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from shared.contracts.rpc.errors import InvalidArgument, RpcError

Shape = TypeVar("Shape")

SPELLED: Final = "spelled"
"""Where an annotation of `spelled` has its words."""
ONE_BY_ONE: Final = "one_by_one"
"""In the `extra` of the annotation of a list of structs among arguments: a wrong one is no reason to refuse the others."""


def spelled(pattern: str, words: str) -> msgspec.Meta:
    """Annotates a text that is spelled like `pattern`, from its beginning to its end; `words` say so to whoever spells it otherwise.

    msgspec searches as Python does: `$` alone lets a line end follow, and `\\d` takes the digits of every script.
    """
    return msgspec.Meta(pattern=rf"^(?:{pattern})$(?!\n)", extra={SPELLED: words})


class Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keyword arguments of a method that has many: the only parameter of its function, while callers name the fields.

    Of a method that makes or changes something, what may be left out is `UNSET` then: omitted it stays as it is, null clears it,
    and what is new begins as if null were given.
    """


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, or a part of one. A field that is `UNSET` is left out."""

    utc: ClassVar[str] = "Z"
    """How a time of an answer of this class says that it is in UTC: `Z`, or `+00:00` as billing's always have."""

    @classmethod
    def of(cls, source: object, /, **others: Any) -> Self:
        """An answer with what `source`, a row or a value, has under the names of its fields; `others` says the rest, and wins. Raises
        TypeError where a field without a default is in neither."""
        for name in cls.__struct_fields__:
            if name not in others and (value := getattr(source, name, UNSET)) is not UNSET:
                others[name] = value
        return cls(**others)


class SecretAnswer(Answer, frozen=True, kw_only=True):
    """An answer that opens something, or says who somebody is: it shows nothing of itself in a log or a traceback."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class InAccount(Answer, frozen=True, kw_only=True):
    """An answer that names Stripe objects, all of one account."""

    account: str = ""
    """The connected Stripe account of its Stripe ids, `acct_…`; empty: the installation's own."""


class TimelineStep(Answer, frozen=True, kw_only=True):
    """Something that happened, for people. It names the ids that it is about, and leaves the others out."""

    at: dt.datetime
    """When, in UTC."""
    service: str
    """Who tells it: `portal`, `billing` or `notifier`."""
    step: str
    """What happened, one word: `received`, `queued`, `sent`, `page`, …"""
    text: str
    """The same as a sentence."""
    event_id: str | UnsetType = UNSET
    """The event's id: Stripe's, or ours, `<Stripe's id>/<type>`."""
    notification_id: str | UnsetType = UNSET
    """The email's id, `ntf_…`."""
    object_id: str | UnsetType | None = UNSET
    """Stripe's id of the object, an invoice's most often."""
    outcome: str | UnsetType = UNSET
    """Of a step `retried`: a word of `recoveries`' `outcome`."""
    change_id: str | UnsetType = UNSET
    """The change of payment method that it belongs to."""
    count: int | UnsetType = UNSET
    """How often it happened, where several times are one step."""
    until: dt.datetime | UnsetType = UNSET
    """Until when it stays so, of a step that is not over: one that waits or is held stands at the time of the answer."""


class Timeline(Answer, frozen=True, kw_only=True):
    """What billing or the notifier knows, with the ids met on the way."""

    utc: ClassVar[str] = "+00:00"

    steps: list[TimelineStep]
    """In order of time."""
    invoices: list[str] = msgspec.field(default_factory=list)
    """Stripe's ids, `in_…`."""
    stripe_customers: list[str] = msgspec.field(default_factory=list)
    """Stripe's ids, `cus_…`."""
    events: list[str] = msgspec.field(default_factory=list)
    """Stripe's ids, `evt_…`."""


def in_words(moment: dt.datetime) -> str:
    """A time in a step's sentence: `2026-11-29 07:45:00 UTC`."""
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def at_or_since(due: dt.datetime, now: dt.datetime) -> str:
    """When something is to happen, in a step's sentence; where that is over, that nobody has done it."""
    return f"at {in_words(due)}" if due > now else f"since {in_words(due)}, not done yet"


@dataclass(frozen=True)
class Values:
    """Annotates a text with the words that it has today; a later release may have more."""

    words: tuple[str, ...]


def one_of(*words: str) -> Values:
    """The words of an enumeration, as an annotation: `Annotated[str, one_of(*InvoiceStatus)]`."""
    return Values(tuple(str(word) for word in words))


class UnreadableAnswer(Exception):
    """The answer is not one that this release can read."""


@dataclass(frozen=True)
class Method(Generic[Shape]):
    """A method that others may call. What its arguments are is said by the function that serves it."""

    service: str
    name: str
    answer: type[Shape]
    errors: tuple[type[RpcError], ...] = ()
    """What it may raise, beside `COMMON`."""

    def read(self, result: Any) -> Shape:
        """The answer from its JSON, whatever release sent it: unknown fields are ignored, missing ones have their defaults.
        Raises UnreadableAnswer."""
        try:
            return msgspec.convert(result, self.answer)
        except msgspec.ValidationError as error:
            raise UnreadableAnswer(f"{self.service}.{self.name}: {error}") from None

    def call(self, proxy: Any, **arguments: Any) -> Shape:
        """Call it through a proxy of its service, and read the answer. Raises what the proxy does, and UnreadableAnswer."""
        return self.read(getattr(proxy, self.name)(**arguments))


COMMON: Final[tuple[type[RpcError], ...]] = (InvalidArgument,)


def encode(result: Any, error: Any = None, utc: str | None = None) -> str:
    """A reply as it crosses the wire: `{"result", "error"}`; with `utc` at the end of each time, else what the answer's class has."""
    suffix = _utc_of(result) if utc is None else utc

    def time(moment: dt.datetime) -> str:
        moment = moment if moment.tzinfo is None else moment.astimezone(dt.UTC)
        return moment.isoformat().replace("+00:00", suffix)

    builtins = msgspec.to_builtins(result, builtin_types=(dt.datetime,))
    return json.dumps({"result": builtins, "error": error}, default=time)


def plain(answer: Any, utc: str | None = None) -> Any:
    """An answer as JSON types, as they crossed the wire, or with `utc` at the end of each time."""
    return json.loads(encode(answer, utc=utc))["result"]


def _utc_of(result: Any) -> str:
    """How times of this answer say that they are in UTC; all of an answer's do so alike."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list):
        result = result[0] if result else None
    return result.utc if isinstance(result, Answer) else Answer.utc
