"""A plugin of mypy: an answer that is made of a row (`Answer.of`) is checked field by field, as if each were written out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mypy.checker import TypeChecker
from mypy.nodes import ArgKind, TypeInfo, Var
from mypy.plugin import MethodContext, Plugin
from mypy.subtypes import is_subtype
from mypy.types import Instance, Type, UnionType, get_proper_type

ANSWER = "shared.contracts.rpc.base.Answer"


def _fields(info: TypeInfo) -> Iterator[tuple[str, Var]]:
    """The fields of a struct, those of its bases first."""
    for base in reversed(info.mro):
        for name, symbol in base.names.items() if base.has_base(ANSWER) else ():
            if isinstance(symbol.node, Var) and not symbol.node.is_classvar and name[:2] != "__":
                yield name, symbol.node


def _of_source(checker: TypeChecker, name: str, source: Type, context: Any) -> Type | None:
    """What a value has under a name; None: nothing, in one of the types that it may be."""
    source = get_proper_type(source)
    if isinstance(source, UnionType):
        found = [_of_source(checker, name, one, context) for one in source.items]
        return None if None in found else UnionType.make_union([one for one in found if one])
    if isinstance(source, Instance) and source.type.get(name) is None:
        return None
    return checker.expr_checker.analyze_external_member_access(name, source, context)


def _check(context: MethodContext) -> Type:
    made = get_proper_type(context.default_return_type)
    checker = context.api
    assert isinstance(checker, TypeChecker)
    if not isinstance(made, Instance) or not made.type.has_base(ANSWER):
        return context.default_return_type
    given = {
        name: type_
        for names, types, kinds in zip(
            context.arg_names, context.arg_types, context.arg_kinds, strict=True
        )
        for name, type_, kind in zip(names, types, kinds, strict=True)
        if kind is ArgKind.ARG_NAMED and name is not None
    }
    fields = dict(_fields(made.type))
    for name in given.keys() - fields.keys():
        context.api.fail(f"{made.type.name} has no field {name}", context.context)
    source = context.arg_types[0][0]
    for name, var in fields.items():
        wanted = var.type
        has = given[name] if name in given else _of_source(checker, name, source, context.context)
        if has is None:
            if not var.has_explicit_value:
                context.api.fail(f"{made.type.name}: nothing is given for {name}", context.context)
        elif wanted is not None and not is_subtype(has, wanted):
            context.api.fail(
                f"{made.type.name}: {name} is {has}, expected {wanted}", context.context
            )
    return made


class Answers(Plugin):
    """Looks at `Answer.of`."""

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return _check if fullname.endswith(".of") else None


def plugin(version: str) -> type[Plugin]:
    """What mypy calls."""
    return Answers
