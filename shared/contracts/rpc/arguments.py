"""Reading what a caller gives, over RPC and over HTTP alike: typed, with texts that can be kept, and every mistake by the name of its field."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from shared.contracts.rpc.base import ONE_BY_ONE, SPELLED
from shared.contracts.rpc.errors import InvalidArgument
from shared.text import clean

Given = TypeVar("Given", bound=msgspec.Struct)

UNKNOWN: Final = "unknown argument"
"""How the text begins where a caller gives what this release does not know."""
LONGEST_TOLD: Final = 500
"""Characters of a place, or of what is wrong there: both quote the caller, whose names may be as long as a body."""
OFFSET: Final = "expected a time with its offset from UTC, such as 2026-11-23T10:00:00Z"
"""What is said of a time that could be any of twenty-four."""
_STEP: Final = re.compile(r"\w+|\[[^][]*\]")
"""A step of a place, as msgspec writes it."""


def check_limit(limit: int, most: int) -> None:
    """Raises InvalidArgument unless a page of so many may be asked for."""
    if not 1 <= limit <= most:
        raise InvalidArgument(f"limit: expected 1 to {most}")


def read_arguments(given: Mapping[str, Any], struct: type[Given], *, strict: bool = True) -> Given:
    """The struct that JSON values make. Raises InvalidArgument, which names the field. Not `strict`: a whole number may be written as a
    text of digits, as in an address. In a list that is read `ONE_BY_ONE` the InvalidArgument of a wrong item stands in its place."""
    singly = {name for name in _one_by_one(struct) if isinstance(given.get(name), list)}
    checked = _read({**given, **dict.fromkeys(singly, ())}, struct, strict=strict)
    for name in singly:
        kind, most = _one_by_one(struct)[name]
        if most is not None and len(given[name]) > most:
            raise InvalidArgument(f"{name}: expected at most {most}")
        items = [_item(one, kind) for one in given[name]]
        checked = msgspec.structs.replace(checked, **{name: items})
    return checked


def _read(
    given: Mapping[str, Any], struct: type[Given], *, strict: bool = True, value: Any = None
) -> Given:
    """The struct of these values by their names; `value` is them as they came, where that is no object."""
    try:
        for name, one in given.items():
            if (place := _unclean(one)) is not None:
                place = f"{name}{place}"[:LONGEST_TOLD]
                raise InvalidArgument(f"{place}: expected text without control characters")
        checked = msgspec.convert(given if value is None else value, struct, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidArgument(_name_the_field(str(error), struct)) from None
    except RecursionError:
        raise InvalidArgument("the arguments are nested too deeply") from None
    if not strict:
        _refuse_lookalikes(given, checked)
    for place, expected in _wrong_moments(checked, "") if _has_moments(struct) else ():
        raise InvalidArgument(f"{place}: {expected}")
    return checked


@lru_cache(maxsize=256)
def _one_by_one(struct: type[msgspec.Struct]) -> dict[str, tuple[type[msgspec.Struct], int | None]]:
    """Of what its lists are that are read `ONE_BY_ONE`, and how many may be in each."""
    known = msgspec.inspect.type_info(struct)
    assert isinstance(known, msgspec.inspect.StructType)
    found = {}
    for one in known.fields:
        if isinstance(one.type, msgspec.inspect.Metadata) and ONE_BY_ONE in (one.type.extra or {}):
            kind = one.type.type
            assert isinstance(kind, msgspec.inspect.ListType)
            assert isinstance(kind.item_type, msgspec.inspect.StructType)
            found[one.name] = (kind.item_type.cls, kind.max_length)
    return found


def _item(item: Any, struct: type[Given]) -> Given | InvalidArgument:
    """One of a list, or what is wrong with it."""
    try:
        if not struct.__struct_config__.array_like:
            if not isinstance(item, dict):
                raise InvalidArgument("expected an object")
            return _read(item, struct)
        if not isinstance(item, list):
            raise InvalidArgument("expected an array")
        names = struct.__struct_fields__
        return _read(dict(zip(names, item, strict=False)), struct, value=item)
    except InvalidArgument as error:
        return error


def _refuse_lookalikes(given: Mapping[str, Any], checked: msgspec.Struct) -> None:
    """Raises InvalidArgument for a text that msgspec takes for a number or for null, and hardly anybody means so: `1e2`, `null`."""
    for name, text in given.items():
        became = getattr(checked, name)
        if became is None:
            raise InvalidArgument(f"{name}: expected a value, or nothing at all, and not {text}")
        if type(became) is int and str(became) != text:
            raise InvalidArgument(f"{name}: expected a whole number in digits")


@lru_cache(maxsize=256)
def _has_moments(struct: type[msgspec.Struct]) -> bool:
    """Whether a moment may stand in it: most have none, and are not looked through."""
    return "DateTimeType" in repr(msgspec.inspect.type_info(struct))


def _unclean(value: Any) -> str | None:
    """Where in it a text is not one that a database, a log line and a mail can take, since JSON can say NUL and half characters; None: nowhere.
    The place is told on the way back: a name in it may be as long as all the rest, and most values have nothing to tell."""
    kind = type(value)
    if kind is str:
        return None if clean(value) == value else ""
    if kind is dict:
        for name, one in value.items():
            if clean(name) != name:
                return " (a name in it)"
            if (place := _unclean(one)) is not None:
                return f".{name}{place}"
    elif kind is list or kind is tuple:
        for number, one in enumerate(value):
            if (place := _unclean(one)) is not None:
                return f"[{number}]{place}"
    return None


def _wrong_moments(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Where in it a moment has no offset, or is one that UTC has no words for (`9999-12-31T23:59:59-12:00` is in the year 10000 there), and
    what was expected."""
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            yield place, OFFSET
            return
        try:
            value.astimezone(dt.UTC)
        except OverflowError:
            yield place, "expected a time of the years 1 to 9999 in UTC"
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _wrong_moments(getattr(value, name), f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _wrong_moments(one, f"{place}[{number}]")


def _name_the_field(text: str, struct: type[msgspec.Struct]) -> str:
    """``Expected `str`, got `int` - at `$.a.b` `` becomes ``a.b: expected str, got int``, of an enumeration the words that it
    has, of a spelling what it is called. What is given as an array has the names of its places."""
    message, _, path = text.replace("`", "").partition(" - at $")
    message, path = message[:LONGEST_TOLD], path[:LONGEST_TOLD]
    if struct.__struct_config__.array_like and (place := re.match(r"\[(\d+)]", path)):
        path = struct.__struct_fields__[int(place[1])] + path[place.end() :]
    parts = _parts_at(struct, _STEP.findall(path))
    if message.startswith("Invalid enum value"):
        literals = (part for part in parts if get_origin(part) is Literal)
        message = (
            f"expected one of {', '.join(str(one) for part in literals for one in get_args(part))}"
        )
    elif message.startswith("Expected str matching regex"):
        words = (
            part.extra[SPELLED] for part in parts if isinstance(part, msgspec.Meta) and part.extra
        )
        message = f"expected {' or '.join(words)}"
    elif message.startswith("Expected datetime with a timezone"):
        message = OFFSET
    message = message.replace("Object missing required field", "missing").replace(
        "Object contains unknown field", UNKNOWN
    )
    message = message[:1].lower() + message[1:]
    return f"{path.lstrip('.')}: {message}" if path else message


def _parts_at(hint: Any, path: list[str]) -> Iterator[Any]:
    """What a type is made of at a path in it (`appointments`, `[0]`, `status`): each alternative, each annotation."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        if path:
            name, *rest = path
            yield from _parts_at(get_type_hints(hint, include_extras=True).get(name), rest)
        return
    yield hint
    inside = path and path[0].startswith("[") and get_origin(hint) in (list, dict)
    for part in get_args(hint):
        yield from _parts_at(part, path[1:] if inside else path)
