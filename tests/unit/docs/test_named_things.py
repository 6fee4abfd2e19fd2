"""What a page names is there: commands and their options, make targets, metrics, settings, RPC methods, exit codes."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from portico.cli import context
from scripts.make_docs import SERVICES, settings_of
from shared.contracts.rpc import METHODS
from shared.messaging import topology
from shared.nameko_ext import runtime
from shared.telemetry import WITHOUT_PREFIX
from shared.tracing import recorder
from tests.unit.cli.conftest import COMMAND as PORTICO
from tests.unit.deploy.test_watching import BROKERS_METRICS, our_metrics

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("README.md")),
]

FENCE = re.compile(r"^ *```.*?\n(.*?)^ *```$|^    (\S.*)$", re.M | re.S)
SPAN = re.compile(r"`([^`]+)`")


@cache
def code(page: Path) -> list[str]:
    """What stands as code in a page: spans in the text with their line breaks undone, and the lines of blocks."""
    text = page.read_text()
    blocks = [line for one in FENCE.findall(text) for line in "".join(one).splitlines()]
    return [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", text))] + blocks


# -- Commands

COMMAND = re.compile(
    r"(?:^|[\s;(])(?<!PORTICO_MODULE=services\.billing )(?<!-n )portico ([a-z][a-z-]*(?: .*)?)$"
)
STARTS = re.compile(r"-m services\.(?:portal|billing|notifier|<name>) ([a-z-]+)")


def unknown_command(words: str) -> str:
    """What the command line has not, of a command as a page has it; `…`, `|` and capitals stand for any word."""
    try:
        parts = shlex.split(words.partition("#")[0].partition(";")[0].partition(" > ")[0])
    except ValueError:  # prose
        parts = words.split()
    command: Any = PORTICO
    while parts and getattr(command, "commands", None):
        name = parts.pop(0)
        if "|" in name or "…" in name or name.startswith(("-", "<")):
            return ""
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    wrong = [part.partition("=")[0] for part in parts if re.match(r"--[a-z]", part)]
    return "".join(f"no option {option}" for option in wrong if option not in {*known, "--help"})


def everything() -> Iterator[tuple[str, str]]:
    """What stands as code in all pages, each with its page's name."""
    for page in PAGES:
        for text in code(page):
            yield str(page.relative_to(ROOT)), text


def test_a_page_names_commands_that_exist() -> None:
    """`portico …` is a command with those options; each start of a service is one that it takes."""
    for page, text in everything():
        if found := COMMAND.search(text):
            assert unknown_command(found[1]) == "", (page, text)
        for word in STARTS.findall(text):
            assert word in {"serve", "prune", *runtime.MIGRATING}, (page, text)


def test_a_page_names_targets_that_exist() -> None:
    """`make …` is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.M))
    for page, text in everything():
        if found := re.match(r"(?:[A-Z_]+=\S+ )*make ([a-z][a-z0-9-]*)(?! one)\b", text):
            assert found[1] in targets, (page, text)


# -- Metrics

METRIC = re.compile(r"^([a-z][a-z0-9]*(?:_[a-z0-9]+)+)(?:\{.*\})?$")
UNITS = ("_total", "_seconds", "_bytes", "_pending", "_size", "_info", "_consuming", "_waiting")
NO_METRICS = {"max_wal_size"}
"""What ends like one and is PostgreSQL's."""


def test_a_page_names_metrics_that_exist() -> None:
    """What ends as our metrics do, or begins with their prefix, is registered by the code."""
    assert recorder.SPANS  # registered when it is imported, which only a traced process does
    known = our_metrics().keys() | BROKERS_METRICS | WITHOUT_PREFIX
    for page, text in everything():
        found = METRIC.match(text)
        if not found or found[1] in NO_METRICS or found[1].startswith("test_"):
            continue
        name = found[1]
        if name.endswith(UNITS) or name.startswith("portico_"):
            plain = re.sub(r"_(?:bucket|sum|count|total)$", "", name)
            assert {name, plain} & known, (page, name)


# -- Log lines


def test_the_table_of_log_lines_has_lines_that_are_said() -> None:
    """Whoever searches the logs for one as it stands there finds it."""
    page = (ROOT / "docs" / "operations.md").read_text()
    table = page.partition("\n## Logs\n")[2].partition("\n### ")[0]
    named = [
        line for row in re.findall(r"^\| (`.*?) \|", table, re.M) for line in SPAN.findall(row)
    ]
    assert len(named) > 10
    sources = [path.read_text() for room in ("services", "shared") for path in (ROOT / room).rglob("*.py")]  # fmt: skip
    assert [line for line in named if not any(f'"{line}"' in source for source in sources)] == []


# -- Settings

SETTING = re.compile(r"^([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=.*)?$")
SECRETS_ENTRIES = {"ACCESS_KEY_ID", "SECRET_ACCESS_KEY"}
"""Properties of an entry in the store of deploy/k8s/README.md."""


def sources(*rooms: str) -> str:
    """The text of the Python sources and scripts of these rooms."""
    files = [path for room in rooms for path in (ROOT / room).rglob("*") if path.is_file()]
    return "\n".join(path.read_text() for path in files if path.suffix in (".py", ".sh", ""))


@cache
def known_names() -> set[str]:
    """The services' settings, what our tools take from the environment, and constants of the code."""
    ours = {name for service in SERVICES for name, *_ in settings_of(service)}
    tools = sources("local", "sandbox", "scripts", "tests", "portico", "examples", "deploy")
    constants = sources("services", "shared", "sandbox", "local", "tests")
    return (
        ours
        | set(re.findall(r"""["'{$]([A-Z][A-Z0-9_]+)\b""", tools))
        | set(re.findall(r"^([A-Z][A-Z0-9_]+)\b", (ROOT / "Makefile").read_text(), re.M))
        | set(re.findall(r"^ *([A-Z][A-Z0-9_]+)(?:: Final\S*)? = ", constants, re.M))
        | SECRETS_ENTRIES
    )


def test_a_page_names_settings_that_exist() -> None:
    """What is written like a setting is read somewhere: by a service (docs/settings.md), a tool, a test. Or it is a constant."""
    known = {*known_names(), "NAME", "NOT_FOUND"}
    for page, text in everything():
        found = SETTING.match(text)
        if found and not found[1].startswith("OTEL_"):
            name = found[1]
            assert {name, name.removesuffix("_FILE")} & known, (page, name)


# -- RPC and codes

QUEUES = {queue.name for source in topology.sources() for queue in topology.queues_of(source)}


def test_a_page_names_rpc_methods_that_exist() -> None:
    """`billing.something` is a method, an exchange, a queue or a module of that service."""
    methods = {f"{service}.{name}" for service, name in METHODS}
    exchanges = {topology.exchange(source).name for source in topology.sources()}
    for page, text in everything():
        found = re.fullmatch(r"((?:portal|billing|notifier)\.[a-z_]+)(?:\(.*\))?", text)
        if found and not found[1].endswith((".py", ".env", ".service")):
            assert found[1] in methods | exchanges | QUEUES, (page, found[1])


def test_the_exit_codes_are_those_of_the_code() -> None:
    """The table of docs/cli.md has each code that the command line ends with, and those of the services are among them."""
    rows = re.findall(r"^\| (\d+(?:, \d+)*) \| ", (ROOT / "docs/cli.md").read_text(), re.M)
    table = {int(number) for row in rows for number in row.split(", ")}
    codes = {context.OK, context.FINDING, context.USAGE, context.UNAVAILABLE, context.DEFECT}
    assert table == {*codes, context.NOT_READ, 128 + signal.SIGINT}
    assert {runtime.USAGE, runtime.UNAVAILABLE} <= codes


def test_the_checks_would_find_what_is_not_there() -> None:
    """A command, an option and a target that do not exist are found, and real pages hold plenty to look at."""
    assert unknown_command("events resend evt_1") == "no command 'resend'"
    assert unknown_command("reconcile --sinse 3d") == "no option --sinse"
    assert unknown_command("reconcile --since 3d") == ""
    seen = [text for page in PAGES for text in code(page)]
    assert len([text for text in seen if COMMAND.search(text)]) > 60
    assert "A_SETTING_OF_NOBODYS"[2:] not in known_names()
    assert len([text for text in seen if SETTING.match(text)]) > 60
