"""A walk through the pages that are followed with a keyboard: each command is one, and what it names is there when it is its turn."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.deploy.manifests import (
    K8S,
    OVERLAYS,
    REPOSITORY,
    SERVICES,
    Manifest,
    documents,
    pod_templates,
    rendered,
    rendered_text,
)

README = K8S / "README.md"
OPERATIONS = REPOSITORY / "docs" / "operations.md"
UPGRADING = REPOSITORY / "docs" / "upgrading.md"
PAGES = pytest.mark.parametrize("page", [README, OPERATIONS, UPGRADING], ids=lambda page: page.stem)

PROGRAMS = {"kubectl", "make", "kind", "helm", "podman", "openssl", "docker", "skopeo"}
VERBS = {
    "annotate",
    "apply",
    "create",
    "delete",
    "describe",
    "diff",
    "exec",
    "get",
    "label",
    "logs",
    "port-forward",
    "rollout",
    "scale",
    "wait",
}
CNPG = {"backup", "destroy", "promote", "psql", "status"}
SHORT = {"deploy": "deployment", "svc": "service", "pod": "pod", "pods": "pod", "pvc": "claim"}
TAKE_A_VALUE = {
    *("-n", "-l", "-k", "-f", "-c", "-o"),
    *(
        "--for",
        "--timeout",
        "--field-selector",
        "--from",
        "--replicas",
        "--sort-by",
        "--since",
        "--tail",
    ),
}
OTHERS = {"kube-system", "cert-manager", "rabbitmq-system", "cnpg-system"}
"""The cluster's own namespace, and those of operators, which the first step of README.md makes."""

MADE_BY_OTHERS = {
    ("job", "stripe-setup"),  # made by `kubectl create job`, of the CronJob
    ("cluster", "drill"),  # examples/restore-drill
    ("claim", "persistence-rabbitmq-server-2"),  # the Cluster Operator's, of the RabbitmqCluster
    ("pod", "rabbitmq-server-0"),
    ("pod", "postgresql-1"),
    *(("job", f"{service}-migrations-1-0-0") for service in SERVICES),
}
OTHERS_LABELS = (
    {"app.kubernetes.io/name": "rabbitmq", "app.kubernetes.io/component": "rabbitmq"},
    {"cnpg.io/cluster": "postgresql", "cnpg.io/instanceRole": "primary"},
)
OTHERS_KINDS = {"backup", "backups", "event", "events", "gateway", "node", "nodes", "namespace"}


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of the page: lines of `sh` blocks, and what begins with `kubectl` in the text."""
    text = page.read_text()
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)
    lines += [" ".join(span.split()) for span in re.findall(r"`(kubectl [^`]+)`", prose)]
    for line in lines:
        bare = re.sub(r"\$\(.*?\)", "0", line).split(" | ")[0].split(" > ")[0].rstrip(" &")
        if bare.strip():
            yield shlex.split(bare, comments=True)


def kubectls(page: Path) -> Iterator[tuple[list[str], dict[str, str], list[str]]]:
    """(verb and names, options, what runs in the pod) of each kubectl command that names no placeholder."""
    for words in commands(page):
        if words[0] == "kubectl" and not any(re.search(r"[<…]", word) for word in words):
            inside: list[str] = []
            if "--" in words:
                words, inside = words[: words.index("--")], words[words.index("--") + 1 :]
            names, options, rest = [], {}, iter(words[1:])
            for word in rest:
                if word.startswith("-"):
                    name, is_there, value = word.partition("=")
                    if not is_there and name in TAKE_A_VALUE:
                        value = next(rest, "")
                    options[name] = value
                else:
                    names.append(word)
            yield names, options, inside


def everything() -> list[Manifest]:
    found = [one for overlay in OVERLAYS for one in rendered(overlay)]
    return found + documents(rendered_text("examples/restore-drill"))


def known() -> set[tuple[str, str]]:
    """(kind, name) of what the overlays make, in small letters, and of what operators and commands make of it."""
    return {(one["kind"].lower(), one["metadata"]["name"]) for one in everything()} | MADE_BY_OTHERS


def labels() -> list[dict[str, str]]:
    found = [one["metadata"].get("labels", {}) for one in everything()]
    found += [t["metadata"]["labels"] for overlay in OVERLAYS for _, t in pod_templates(overlay)]
    return [*found, *OTHERS_LABELS]


@PAGES
def test_each_command_is_one(page: Path) -> None:
    """A program of those that the page asks for, with a verb that kubectl has; there is plenty to look at."""
    seen = 0
    for words in commands(page):
        assert words[0] in PROGRAMS, words
        if words[0] == "kubectl":
            verb = words[1]
            assert (verb == "cnpg" and words[2] in CNPG) or verb in VERBS, words
            seen += 1
    assert seen >= 3


@PAGES
def test_what_is_applied_is_there(page: Path) -> None:
    """Each folder renders, and a selector takes something of it, but not all."""
    for names, options, _ in kubectls(page):
        if folder := options.get("-k"):
            assert names in (["apply"], ["diff"])
            made = documents(rendered_text(folder.removeprefix("deploy/k8s/")))
            if selector := options.get("-l"):
                key, _, value = selector.partition("=")
                taken = [m for m in made if m["metadata"].get("labels", {}).get(key) == value]
                assert 0 < len(taken) < len(made)
        elif (file := options.get("-f")) and not file.startswith("https://"):
            assert (REPOSITORY / file).is_file()


@PAGES
def test_what_a_command_names_exists(page: Path) -> None:
    """Kinds, names, labels, containers and namespaces are those of the manifests, or of what operators make of them."""
    there, kinds = known(), {kind for kind, _ in known()}
    for names, options, _ in kubectls(page):
        assert options.get("-n", "portico") in {"portico", *OTHERS}, options
        if selector := options.get("-l"):
            wanted = dict(part.split("=") for part in selector.split(","))
            assert any(wanted.items() <= have.items() for have in labels()), selector
        if container := options.get("-c"):
            texts = [rendered_text(f"overlays/{overlay}") for overlay in OVERLAYS]
            assert any(f"name: {container}\n" in text for text in texts) or (
                container == "plugin-barman-cloud"
            )
        if names[0] in ("apply", "diff", "cnpg") or options.get("-n") in OTHERS:
            continue
        for word in names[2 if names[0] == "rollout" else 1 :]:
            if "/" in word and "=" not in word and not word.endswith("-"):
                kind, _, name = word.partition("/")
                kind = kind.partition(".")[0]
                assert (SHORT.get(kind, kind), name) in there, word
        if names[0] in ("get", "describe", "delete", "wait", "annotate") and len(names) > 1:
            kind = names[1].partition("/")[0].partition(".")[0]
            plain = SHORT.get(kind, kind)
            assert plain in kinds or plain in OTHERS_KINDS, kind
            given = [one for one in names[2:] if "=" not in one and not one.endswith("-")]
            assert all((plain, one) in there for one in given if plain in kinds), names


@PAGES
def test_all_of_a_log_is_asked_for(page: Path) -> None:
    """With a selector `kubectl logs` shows the last ten lines of a pod, unless it is told otherwise."""
    for names, options, _ in kubectls(page):
        if names[0] == "logs" and "-l" in options:
            assert options.get("--tail") == "-1"


def test_the_walk_goes_in_order() -> None:
    """Namespace and Secrets, the wait for them, a dry run, the rest, the database, its migrations, Stripe, billing."""
    section = README.read_text().split("## Staging and production", 1)[1].split("\n### ", 1)[0]
    steps = (
        "install=first",
        "wait -n portico externalsecret",
        "--dry-run=server -k",
        "\n   kubectl apply -k deploy/k8s/overlays/production\n",
        "cluster.postgresql.cnpg.io/postgresql",
        "component=migrations",
        "create job -n portico stripe-setup",
        "cat /run/portico/new/whsec",
        "force-sync",
        "rollout status -n portico deployment/billing",
        "portico\n   doctor",
    )
    places = [section.index(step) for step in steps]
    assert places == sorted(places)


def test_operations_has_a_section_for_each_bad_day() -> None:
    """Each with commands: install and upgrade, back again, restore, failover, a node and a zone that are gone."""
    text = OPERATIONS.read_text()
    sections = dict(re.findall(r"^##+ (.*?)\n(.*?)(?=^##+ |\Z)", text, re.M | re.S))
    for name in ("Upgrades", "Rollback", "Backup and restore", "Restore", "Failover"):
        assert "```sh" in sections[name], name
        assert "kubectl" in sections[name]
    assert "**A node is lost.**" in sections["Failover"]
    assert "**A zone is lost.**" in sections["Failover"]
    assert "README.md#staging-and-production" in sections["Install"]
