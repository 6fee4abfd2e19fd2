"""Reading what a caller gives, over RPC and over HTTP alike: typed, with texts that can be kept, and every mistake by the name of its field."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from shared.contracts.rpc.errors import InvalidArgument
from shared.text import clean

Given = TypeVar("Given", bound=msgspec.Struct)


def read_arguments(given: Mapping[str, Any], struct: type[Given], *, strict: bool = True) -> Given:
    """The struct that JSON values make. Raises InvalidArgument, which names the field. Not `strict`: a number may be written as a
    text, as in an address."""
    try:
        for name, value in given.items():
            for place in _unclean(value, name):
                raise InvalidArgument(f"{place}: expected text without control characters")
        checked = msgspec.convert(given, struct, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidArgument(_name_the_field(str(error), struct)) from None
    except RecursionError:
        raise InvalidArgument("the arguments are nested too deeply") from None
    for place in _beyond_utc(checked, "") if _has_moments(struct) else ():
        raise InvalidArgument(f"{place}: expected a time of the years 1 to 9999 in UTC")
    return checked


@lru_cache(maxsize=256)
def _has_moments(struct: type[msgspec.Struct]) -> bool:
    """Whether a moment may stand in it: most have none, and are not looked through."""
    return "DateTimeType" in repr(msgspec.inspect.type_info(struct))


def _unclean(value: Any, place: str) -> Iterator[str]:
    """Where in it a text is not one that a database, a log line and a mail can take: JSON can say NUL and half characters."""
    if isinstance(value, str):
        if clean(value) != value:
            yield place
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _unclean(name, f"{place} (a name in it)")
            yield from _unclean(one, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _unclean(one, f"{place}[{number}]")


def _beyond_utc(value: Any, place: str) -> Iterator[str]:
    """Where in it a moment is one that UTC has no words for: `9999-12-31T23:59:59-12:00` is in the year 10000 there."""
    if isinstance(value, dt.datetime):
        try:
            value.replace(tzinfo=value.tzinfo or dt.UTC).astimezone(dt.UTC)
        except OverflowError:
            yield place
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _beyond_utc(getattr(value, name), f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _beyond_utc(one, f"{place}[{number}]")


def _name_the_field(text: str, struct: type[msgspec.Struct]) -> str:
    """``Expected `str`, got `int` - at `$.a.b` `` becomes ``a.b: expected str, got int``, and of an enumeration the words that it
    has."""
    message, _, path = text.replace("`", "").partition(" - at $")
    if message.startswith("Invalid enum value"):
        words = _words_at(struct, re.findall(r"\w+|\[[^]]*\]", path))
        message = f"expected one of {', '.join(words)}"
    message = message.replace("Object missing required field", "missing").replace(
        "Object contains unknown field", "unknown argument"
    )
    message = message[:1].lower() + message[1:]
    return f"{path.lstrip('.')}: {message}" if path else message


def _words_at(hint: Any, path: list[str]) -> list[str]:
    """The words of the enumeration that stands at a path in a type: `appointments`, `[0]`, `status`."""
    if get_origin(hint) is Literal:
        return [str(word) for word in get_args(hint)]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        name, *rest = path or [""]
        return _words_at(get_type_hints(hint, include_extras=True).get(name), rest)
    rest = (
        path[1:] if path and path[0].startswith("[") and get_origin(hint) in (list, dict) else path
    )
    return [word for part in get_args(hint) for word in _words_at(part, rest)]
