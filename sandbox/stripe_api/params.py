"""Which parameters exist, and what they must look like: the answers Stripe gives to a wrong request."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from sandbox.stripe_api.errors import StripeError, parameter_invalid, parameter_missing

_TABLE = Path(__file__).with_name("parameters.json")
_INTEGER = re.compile(r"[+-]?\d{1,18}\Z")
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}

Kind = Any
"""A parameter's type as `make_parameters` writes it."""


@functools.lru_cache(maxsize=1)
def table() -> dict[str, Any]:
    """The generated table of routes and shapes."""
    loaded: dict[str, Any] = json.loads(_TABLE.read_text())
    return loaded


def route_shape(method: str, path: str) -> tuple[dict[str, Kind], list[str]] | None:
    """(fields, names of the required ones) of a route, `path` with `{}` for each id; None if Stripe has none."""
    loaded = table()
    number = loaded["routes"].get(f"{method} {path}")
    if number is None:
        return None
    fields, required = loaded["shapes"][number]
    return fields, required


def check(
    fields: dict[str, Kind],
    required: list[str],
    given: dict[str, Any],
    where: str = "",
    *,
    updating: bool = False,
) -> dict[str, Any]:
    """The parameters with their values in Python types; raises StripeError as Stripe refuses.

    An empty string becomes None where it unsets the parameter: where the library's types say so and, when
    `updating`, for any plain string, which the types don't say but the API does. `where` is the bracket prefix of a
    nested object.
    """
    unknown = [_name(where, key) for key in given if key not in fields]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        raise StripeError(
            f"Received unknown parameter{plural}: {', '.join(unknown)}",
            code="parameter_unknown",
            param=unknown[0],
            keep=False,
        )
    for key in required:
        if key not in given:
            raise parameter_missing(_name(where, key))
    return {
        key: None
        if updating and value == "" and fields[key] == "string"
        else _value(fields[key], value, _name(where, key), updating)
        for key, value in given.items()
        if value is not None
    }


def _name(where: str, key: str) -> str:
    return f"{where}[{key}]" if where else key


def _value(kind: Kind, value: Any, name: str, updating: bool) -> Any:
    if isinstance(kind, str):
        return _SCALARS[kind](value, name)
    tag = kind[0]
    if tag == "empty":
        return None if value == "" else _value(kind[1], value, name, updating)
    if tag == "enum":
        return _enum(kind[1:], value, name)
    if tag == "list":
        return _list(kind[1], value, name, updating)
    if tag == "shape":
        if not isinstance(value, dict):
            raise parameter_invalid(name, "Invalid object")
        fields, required = table()["shapes"][kind[1]]
        return check(fields, required, value, name, updating=updating)
    if tag == "map":
        if not isinstance(value, dict):
            raise parameter_invalid(name, "Invalid object")
        return {
            key: _value(kind[1], item, _name(name, key), updating) for key, item in value.items()
        }
    return _any(kind[1:], value, name, updating)


def _any(kinds: list[Kind], value: Any, name: str, updating: bool) -> Any:
    """Of several possible types, the first that takes the value; the last one's complaint if none does."""
    structured = isinstance(value, (dict, list))
    failure: StripeError | None = None
    for kind in kinds:
        tag = kind if isinstance(kind, str) else kind[0]
        if structured != (tag in ("shape", "list", "map")):
            continue
        try:
            return _value(kind, value, name, updating)
        except StripeError as error:
            failure = error
    raise failure or parameter_invalid(name, f"Invalid value for {name}")


def _enum(allowed: list[str], value: Any, name: str) -> str:
    text = _string(value, name)
    if text in allowed:
        return text
    if len(allowed) == 1:
        raise parameter_invalid(name, f"Invalid {name}: must be {allowed[0]}")
    listed = ", ".join(allowed[:-1]) + f", or {allowed[-1]}"
    raise parameter_invalid(name, f"Invalid {name}: must be one of {listed}")


def _list(kind: Kind, value: Any, name: str, updating: bool) -> list[Any]:
    if isinstance(value, dict) and all(key.isdigit() for key in value):
        value = [value[key] for key in sorted(value, key=int)]
    if value == "":
        return []
    if not isinstance(value, (list, tuple)):
        raise parameter_invalid(name, "Invalid array")
    return [
        _value(kind, item, _name(name, str(index)), updating) for index, item in enumerate(value)
    ]


def _string(value: Any, name: str) -> str:
    if isinstance(value, (dict, list)):
        raise parameter_invalid(name, f"Invalid string: {json.dumps(value)[:80]}")
    if value == "":
        raise parameter_invalid(
            name,
            f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; "
            f"however '{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty "
            "value.",
            "parameter_invalid_empty",
        )
    return str(value)


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or not _INTEGER.match(str(value)):
        raise parameter_invalid(
            name, f"Invalid integer: {str(value)[:80]}", "parameter_invalid_integer"
        )
    return int(value)


def _number(value: Any, name: str) -> str:
    try:
        float(value)
    except (TypeError, ValueError):
        raise parameter_invalid(name, f"Invalid decimal: {str(value)[:80]}") from None
    return str(value)


def _boolean(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    if str(value) in _BOOLEANS:
        return _BOOLEANS[str(value)]
    raise parameter_invalid(name, f"Invalid boolean: {str(value)[:80]}")


def _map(value: Any, name: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise parameter_invalid(name, "Invalid object")
    for key, item in value.items():
        if isinstance(item, (dict, list)):
            raise parameter_invalid(
                f"{name}[{key}]", "Metadata values must be strings, but an object was passed."
            )
    return {str(key): str(item) for key, item in value.items()}


_SCALARS = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "map": _map,
}
