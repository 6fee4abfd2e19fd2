"""`make k8s-apply`: what it asks of an API server, with one that only writes down what it was asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.deploy.manifests import K8S, REPOSITORY, tool

SERVER = """#!/bin/sh
echo "$@" >>{calls}
case "$*" in
    *kustomize*) exec {kubectl} "$@" ;;
    *"get namespace portico"*) exit {is_there} ;;
    *jsonpath*generation*) {generations} ;;
esac
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The manifests and the script where a server's stand-in is the kubectl that it finds."""
    shutil.copytree(K8S, tmp_path / "deploy" / "k8s")
    (tmp_path / ".venv" / "deploy" / "bin").mkdir(parents=True)
    return tmp_path


def apply(
    tree: Path, *, kubeconfig: str = "config", is_there: int = 1, generations: str = "echo same"
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What it ended with and said, and what the server was asked."""
    calls = tree / "calls"
    calls.write_text("")
    server = tree / ".venv" / "deploy" / "bin" / "kubectl"
    text = SERVER.format(
        calls=calls, kubectl=tool("kubectl"), is_there=is_there, generations=generations
    )
    server.write_text(text)
    server.chmod(0o755)
    done = subprocess.run(
        ["sh", REPOSITORY / "scripts" / "k8s-apply"],
        cwd=tree,
        env=os.environ | {"KUBECONFIG": kubeconfig, "OVERLAYS": "production"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, calls.read_text().splitlines()


def test_without_a_cluster_it_says_so(tree: Path) -> None:
    """It ends well, having asked nobody, and does not look like a pass."""
    done, calls = apply(tree, kubeconfig="")
    assert (done.returncode, calls) == (0, [])
    assert "skipped, nothing was applied anywhere" in done.stdout


def test_it_applies_in_order_twice_the_next_and_back(tree: Path) -> None:
    """Strictly each time; first what comes first, and the same release at the end as at the beginning."""
    done, calls = apply(tree)
    assert done.returncode == 0, done.stderr
    applied = [call for call in calls if call.startswith("apply ")]
    assert all("--server-side --validate=strict" in call for call in applied)
    assert "install=first" in applied[0]
    assert [Path(call.split()[-1]).stem for call in applied[1:]] == ["this", "this", "next", "this"]
    assert "delete namespace portico" in calls[-1]


def test_a_cluster_with_an_installation_is_left_alone(tree: Path) -> None:
    """Where the namespace is there already nothing is applied or deleted."""
    done, calls = apply(tree, is_there=0)
    assert done.returncode == 2
    assert not [call for call in calls if call.startswith(("apply", "delete"))]


def test_a_second_apply_that_changes_something_is_a_failure(tree: Path) -> None:
    """A generation that moved without a change of the manifests ends it."""
    done, _ = apply(tree, generations="date +%N")
    assert done.returncode == 1
    assert "applying twice changed something" in done.stderr
