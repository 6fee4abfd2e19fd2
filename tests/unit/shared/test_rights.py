"""Who may call what: the table is what the code calls, what is documented, and what exists."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.make_docs import SERVICES, rpc_methods
from shared.messaging import rights, topology

ROOT = Path(__file__).parents[3]
METHODS = {
    service: {
        name
        for name, _ in rpc_methods(
            getattr(importlib.import_module(f"services.{service}.service"), class_name)
        )
    }
    for service, class_name in SERVICES.items()
}
COMMANDS = [
    *ROOT.glob("portico/*.py"),
    *ROOT.glob("portico/commands/*.py"),
    *ROOT.glob("portico/observing/*.py"),
]


CONTRACTS = {"hooks": "notifier", "imports": "billing"}
"""Modules of contracts that are named otherwise than the service."""


def texts_in(tree: ast.AST) -> set[str]:
    """Every string in a piece of code."""
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def contracts_in(tree: ast.AST) -> Iterator[str]:
    """The methods whose contract a piece of code names, to call them: `billing.STORY`, `contracts.billing.STORY`."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module) | ast.Attribute(attr=module), attr=name):
                called = CONTRACTS.get(module, module)
                if name.isupper() and name.lower() in METHODS.get(called, ()):
                    yield f"{called}.{name.lower()}"


def called_of_service(service: str) -> Iterator[str]:
    """What a service calls through its proxies of the others: `self._billing.method(…)`, `billing.METHOD.call(self._billing, …)`,
    or `getattr(self._billing, name)` in a module that names the method."""
    for file in (ROOT / "services" / service).rglob("*.py"):
        tree = ast.parse(file.read_text())
        yield from (one for one in contracts_in(tree) if not one.startswith(f"{service}."))
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=proxy, attr=method)):
                    names = {method}
                case ast.Call(func=ast.Name(id="getattr"), args=[proxy, ast.Name(), *_]):
                    names = texts_in(tree)
                case _:
                    continue
            for called in set(SERVICES) - {service}:
                if ast.unparse(proxy) in (f"self._{called}", f"self.{called}", called):
                    yield from (f"{called}.{name}" for name in names & METHODS[called])


def called_of_commands() -> Iterator[str]:
    """What the command line calls: `ask(call, billing.REPLAY, …)`, `call.call("billing", "replay", …)`, or with a name that stands
    elsewhere in the function."""
    for file in COMMANDS:
        tree = ast.parse(file.read_text())
        yield from contracts_in(tree)
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                match node:
                    case ast.Call(
                        func=ast.Attribute(attr="call" | "send"), args=[service, method, *_]
                    ):
                        services = texts_in(service) or set(SERVICES)
                        names = texts_in(method) or texts_in(function)
                        for called in services & set(SERVICES):
                            yield from (f"{called}.{name}" for name in names & METHODS[called])


@pytest.mark.whole
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_call_what_its_code_calls(service: str) -> None:
    """A call that is missing in the table would be refused in production; one too many is a right that nobody needs."""
    assert set(called_of_service(service)) == rights.CALLS[service]


@pytest.mark.whole
def test_the_command_line_may_call_what_its_code_calls() -> None:
    """The same of people's commands, which work with billing's user."""
    assert set(called_of_commands()) == rights.CALLS["cli"]


def test_a_host_may_call_what_its_documentation_names() -> None:
    """docs/integration.md names every method that a host application may call, and no other."""
    page = (ROOT / "docs" / "integration.md").read_text()
    named = set(re.findall(r"`(portal\.\w+)", page)) - set(topology.OWNERS)
    assert named == rights.CALLS["host"]


def test_every_method_in_the_table_exists() -> None:
    """A renamed method takes its right along."""
    every = {f"{service}.{name}" for service, names in METHODS.items() for name in names}
    assert set().union(*rights.CALLS.values()) <= every


def test_what_matches_is_whole() -> None:
    """No expression matches a part of a name: each is bound at both ends."""
    for user, given in rights.users().items():
        topics = [one for topic in given.topics.values() for one in (topic.write, topic.read)]
        for pattern in (given.configure, given.write, given.read, *topics):
            assert pattern == ".*" or re.fullmatch(r"\^(\(.*\)|[^|]*)\$", pattern), (user, pattern)


def test_no_user_but_a_service_reaches_services_exchange() -> None:
    """The host application has no right at all where services call each other, whatever routing keys it may use."""
    for user in ("host", "keda"):
        given = rights.users()[user]
        for pattern in (given.configure, given.write, given.read):
            assert not re.search(pattern, topology.RPC_EXCHANGE)
            assert not re.search(pattern, "amq.default")
