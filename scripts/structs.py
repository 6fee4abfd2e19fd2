"""What docs/ says of structs, read off the code."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from typing import Any

import msgspec

from shared.contracts.rpc.base import Values


def field_texts(cls: type) -> dict[str, str]:
    """The docstrings that stand below the fields of a struct, inherited ones included."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] != cls.__module__.partition(".")[0]:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                texts[field.target.id] = " ".join(str(text.value.value).split())
    return texts


def words_of(hint: Any) -> tuple[str, ...]:
    """The words that a text may be, where its annotation says them."""
    notes = getattr(hint, "__metadata__", ())
    found = [word for note in notes if isinstance(note, Values) for word in note.words]
    found += [word for part in typing.get_args(hint) for word in words_of(part)]
    return tuple(dict.fromkeys(found))


def structs_in(hint: Any) -> list[type]:
    """The structs that a type names, each before those that its own fields name."""
    found: list[type] = []
    for part in (hint, *typing.get_args(hint)):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            fields = typing.get_type_hints(part, include_extras=True).values()
            found += [part, *(one for field in fields for one in structs_in(field))]
        elif part is not hint:
            found += structs_in(part)
    return list(dict.fromkeys(found))
