"""What we use of libraries that they call private: a list that a release of theirs, or a line of ours, can't change unseen."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from eventlet import GreenPool

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[3]
OURS = ("shared", "services", "portico", "local")
NO_LIBRARIES = (*OURS, "builtins", "typing", "abc", "enum")

INHERITED = {
    # Workers in the green thread of their request: counted, and ended when the container is killed.
    "shared.nameko_ext.container.CorrelatedContainer": {
        "_being_killed", "_run_worker", "_worker_pool", "_worker_threads",
    },
    # A server in the place of nameko's: whose routes there are.
    "shared.nameko_ext.http_server.HttpServer": {"_providers"},
    # A listener that begins anew: nameko's ends the container.
    "shared.nameko_ext.listener.SafeQueueConsumer": {
        "_cancel_consumers_if_requested", "_consumers", "_consumers_ready", "_pending_remove_providers", "_providers",
    },
    # A closed channel stays closed, an ended connection ended.
    "shared.messaging.transport.Channel": {"_callbacks", "_on_basic_deliver", "_on_close"},
    "shared.messaging.transport._TlsSocket": {"_shutdown_transport"},
    "shared.messaging.transport.Connection": {"_handshake_complete"},
    "shared.messaging.transport.SingleConnection": {"_connection", "_connection_factory"},
    # The broker in memory wakes its consumers.
    "local.memory_broker.Channel": {"_has_queue", "_put"},
    "local.memory_broker.Transport": {"_deliver"},
    # A call that is forgotten when nobody waits for its answer any more.
    "shared.nameko_ext.rpc.SafeReplyListener": {"_reply_events"},
    "shared.nameko_ext.rpc._BoundedMethod": {"_call", "_get_header_name"},
    # Templates whose texts are translated when they are compiled.
    "shared.templating.TranslatedEnvironment": {"_generate", "_parse"},
    # What HTML shows of a value, written by a function of ours.
    "shared.templating._Direct": {"_output_child_pre"},
    "services.notifier.emails.constants.MailEnvironment": {"_generate"},
}  # fmt: skip
"""By our class: names of its library's classes that it reads, calls or overrides."""

OF_OTHERS = {("shared/nameko_ext/container.py", "_spawn_done"), ("shared/messaging/transport.py", "_CONTENT_METHODS")}  # fmt: skip
"""By module: names of objects that are not its own."""
DOCUMENTED = {"_exit", "_replace", "_asdict"}
"""Public, whatever the underscore says: of `os` and of named tuples."""


@cache
def modules() -> list[tuple[str, Path, ast.Module]]:
    return list(_modules())


def _modules() -> Iterator[tuple[str, Path, ast.Module]]:
    for root in OURS:
        for path in sorted((ROOT / root).rglob("*.py")):
            if "migrations" not in path.parts and path.name != "__main__.py":
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                yield name.removesuffix(".__init__"), path, ast.parse(path.read_text("utf-8"))


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


@cache
def classes_of(module: str) -> dict[str, ast.ClassDef]:
    """The classes of a module by name, as they are written: parsed once, where `inspect` does it anew for each class."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):
        return {}
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


@cache
def names_of(library_class: type) -> set[str]:
    """Its attributes and methods, and what its methods set or read on `self`."""
    tree = classes_of(library_class.__module__).get(library_class.__qualname__)
    if tree is None:  # written in C
        return set(vars(library_class))
    of_self = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    return of_self | set(vars(library_class))


def used_in(node: ast.ClassDef) -> set[str]:
    """Private names that the class defines, or uses of itself and of `super()`."""
    used = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute):
            of = one.value.func if isinstance(one.value, ast.Call) else one.value
            if isinstance(of, ast.Name) and of.id in ("self", "super", "cls"):
                used.add(one.attr)
    return {name for name in used if private(name)}


@pytest.fixture(scope="module")
def inherited() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for module, _, tree in modules():
        for node in tree.body:
            if not isinstance(node, ast.ClassDef) or not node.bases:
                continue
            names = used_in(node)
            if not names:
                continue
            bases = getattr(importlib.import_module(module), node.name).__mro__[1:]
            of_libraries = [
                one for one in bases if one.__module__.split(".")[0] not in NO_LIBRARIES
            ]
            names = {name for name in names if any(name in names_of(one) for one in of_libraries)}
            if names:
                found[f"{module}.{node.name}"] = names
    return found


def test_what_our_classes_use_of_their_libraries_classes_is_there(
    inherited: dict[str, set[str]],
) -> None:
    """A name that a library gives up would be overridden for nothing; a new one of ours may be theirs by accident."""
    assert inherited == INHERITED


def test_no_module_reaches_into_an_object_of_a_library() -> None:
    """A private attribute of somebody else's object is used in one function, which is listed here."""
    reached: set[tuple[str, str]] = set()
    ours = {name for names in INHERITED.values() for name in names} | DOCUMENTED
    trees = [(str(path.relative_to(ROOT)), tree) for _, path, tree in modules()]
    for _, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                ours.add(node.name)
            elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
                ours.add(node.attr if isinstance(node, ast.Attribute) else node.id)
            elif isinstance(node, ast.arg):
                ours.add(node.arg)
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in ours:
                reached.add((path, node.attr))
            elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(OURS):
                reached |= {(path, one.name) for one in node.names if private(one.name)}
    assert reached == OF_OTHERS


def test_a_pool_of_green_threads_keeps_its_books_as_we_do() -> None:
    """`run_here` enters and leaves eventlet's pool by hand: it must look as if the pool had spawned."""
    source = inspect.getsource(GreenPool)
    for name in ("_spawn_done", "sem.acquire()", "coroutines_running", "no_coros_running"):
        assert name in source
