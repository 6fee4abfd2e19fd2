"""What the release before renders to, beside this one: applying over it changes nothing that can't be changed, and loses no data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.releases import NoHistory, release_before, unpack
from tests.unit.deploy.manifests import (
    OVERLAYS,
    Manifest,
    documents,
    identity,
    rendered,
    run,
)
from tests.unit.deploy.test_sizes import in_bytes

Rendered = dict[tuple[str, str], Manifest]

HOLD_DATA = ("Cluster", "RabbitmqCluster", "Database", "ObjectStore", "Vhost", "Namespace")
IMMUTABLE: dict[str, Callable[[Manifest], object]] = {
    "Deployment": lambda one: one["spec"]["selector"],
    "Job": lambda one: (one["spec"]["template"], one["spec"].get("selector")),
    "Vhost": lambda one: one["spec"]["name"],
    "Database": lambda one: one["spec"]["name"],
    "User": lambda one: one["spec"]["rabbitmqClusterReference"],
    "Permission": lambda one: (one["spec"]["vhost"], one["spec"].get("userReference")),
}
"""What Kubernetes, or an operator's own check, refuses to change."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests of the release before."""
    try:
        commit = release_before()
    except NoHistory as reason:
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("before")
    return unpack(commit, folder, "deploy/k8s") / "deploy" / "k8s" / "overlays"


def forbidden(old: Rendered, new: Rendered) -> list[str]:
    """What can't be applied over the old objects, or would take data away."""
    found = [f"{key} is gone" for key in old.keys() - new.keys() if key[0] in HOLD_DATA]
    for key in old.keys() & new.keys():
        fixed = IMMUTABLE.get(key[0], lambda one: None)
        if fixed(old[key]) != fixed(new[key]):
            found.append(f"{key} can't be changed so")
        found += [f"{key}: {what} shrinks" for what in _shrunk(old[key], new[key])]
    return found


def _shrunk(old: Manifest, new: Manifest) -> list[str]:
    """Disks, which only grow."""
    places = {
        "RabbitmqCluster": [("persistence", "storage")],
        "Cluster": [("storage", "size"), ("walStorage", "size")],
    }.get(old["kind"], [])
    return [
        f"{part}.{size}"
        for part, size in places
        if part in old["spec"]
        and in_bytes(new["spec"][part][size]) < in_bytes(old["spec"][part][size])
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_this_release_is_applied_over_the_one_before(overlay: str, before: Path) -> None:
    """Every overlay, and back again but for what grew."""
    done = run("kubectl", "kustomize", before / overlay)
    assert done.returncode == 0, done.stderr
    old = {identity(one): one for one in documents(done.stdout)}
    new = {identity(one): one for one in rendered(overlay)}
    assert forbidden(old, new) == []
    assert [one for one in forbidden(new, old) if "shrinks" not in one] == []


def test_a_change_that_can_not_be_applied_is_found() -> None:
    """A Job's image, a Deployment's selector, a smaller disk and a database that is gone."""
    new = {identity(one): one for one in rendered("production")}
    for kind, change in (
        ("Job", lambda one: one["spec"]["template"].update(changed=True)),
        ("Deployment", lambda one: one["spec"]["selector"].update(changed=True)),
        ("RabbitmqCluster", lambda one: one["spec"]["persistence"].update(storage="99Gi")),
    ):
        old = copy.deepcopy(new)
        change(next(one for key, one in old.items() if key[0] == kind))
        assert len(forbidden(old, new)) == 1, kind
    gone = {key: one for key, one in new.items() if key != ("Database", "billing")}
    assert forbidden(new, gone) == ["('Database', 'billing') is gone"]
