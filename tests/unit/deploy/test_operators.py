"""The operators' own resources, against the schemas of exactly the versions that deploy/k8s/README.md asks for at least."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from scripts.crd_schemas import FOLDER, NotThere, ours, used
from tests.unit.deploy.manifests import K8S, run

FILES = sorted(FOLDER.glob("*.json"))
BY_KIND: dict[str, dict[str, Any]] = {
    kind: schema
    for file in FILES
    for kind, schema in json.loads(file.read_text())["schemas"].items()
}
KUBERNETES_OWN = {
    "v1",
    "apps/v1",
    "autoscaling/v2",
    "batch/v1",
    "networking.k8s.io/v1",
    "policy/v1",
}


# Each resource is looked at by the schema of its kind.
SCHEMA = {
    "allOf": [
        {
            "if": {"properties": {"apiVersion": {"const": version}, "kind": {"const": kind}}},
            "then": schema,
        }
        for named, schema in BY_KIND.items()
        for version, kind in [named.split()]
    ]
}


def refused(tmp_path: Path, resources: list[dict[str, Any]]) -> str:
    """What the schemas say against these resources, each called by its place; empty where they take them."""
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    files = []
    for number, one in enumerate(resources):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(one))
    done = run("check-jsonschema", "--schemafile", schema, *files)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_each_kind_of_an_operator_has_its_schema() -> None:
    """No custom resource is applied whose fields nobody has compared with a release."""
    kinds = {f"{one['apiVersion']} {one['kind']}" for one in ours()}
    custom = {kind for kind in kinds if kind.split()[0] not in KUBERNETES_OWN}
    assert custom == set(BY_KIND)


def test_the_least_versions_take_every_field(tmp_path: Path) -> None:
    """Every field is one of that version, and its value of the right type, pattern and range."""
    assert refused(tmp_path, ours()) == ""


def test_the_schemas_would_object(tmp_path: Path) -> None:
    """A field of no release, a value out of its enumeration, one of another type and a missing one are found."""
    (scaler,) = [one for one in ours() if one["kind"] == "ScaledObject"][:1]
    wrong = [json.loads(json.dumps(scaler)) for _ in range(4)]
    for one, change in zip(
        wrong[:3],
        ({"behaviour": "x"}, {"behavior": "sometimes"}, {"failureThreshold": "four"}),
        strict=True,
    ):
        one["spec"]["fallback"] |= change
    del wrong[3]["spec"]["triggers"]
    said = refused(tmp_path, wrong)
    assert set(re.findall(r"/(\d)\.json::", said)) == {"0", "1", "2", "3"}
    assert "triggers" in said
    with pytest.raises(NotThere, match=r"spec\.new"):
        used({"type": "object", "properties": {"a": {}}}, [{"new": 1}], "spec")


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_the_pages_name_the_version_that_was_looked_at(file: Path) -> None:
    """README.md asks for it, and so does the component; the schema says whose it is and under which licence."""
    said = json.loads(file.read_text())
    assert said["licence"] in ("Apache-2.0", "MPL-2.0")
    page = (K8S / "README.md").read_text()
    section = page.split("### Versions\n", 1)[1].split("\n### ", 1)[0]
    listed = dict(re.findall(r"^\| `([\w-]+)` \| ([\d.]+) ", section, re.M))
    assert said["version"].startswith(listed[said["of"]] + ".")
    assert set(listed) == {one.stem for one in FILES}
    for component in (K8S / "components").glob("*/kustomization.yaml"):
        for version in re.findall(r"\(>= ([\d.]+)", component.read_text()):
            assert version in listed.values(), component.parent.name
