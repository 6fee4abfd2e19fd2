"""The overlays as Kubernetes would get them, and ways to look into them."""

from __future__ import annotations

import base64
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.unpublished import (
    ADDRESS_KEY,
    LINK_KEY,
    PASSWORD,
    SENDGRID_KEY,
    STRIPE_LIVE_KEY,
    WEBHOOK_SECRET,
)

REPOSITORY = Path(__file__).resolve().parents[3]
K8S = REPOSITORY / "deploy" / "k8s"
OVERLAYS = ("dev", "staging", "production")
SERVICES = ("portal", "billing", "notifier")
TOOLS = REPOSITORY / ".venv" / "deploy" / "bin"

Manifest = dict[str, Any]


def tool(name: str) -> str:
    """The path of a tool that `make k8s` installs; the test is skipped without it, or fails where it must be there."""
    found = shutil.which(name, path=os.pathsep.join([str(TOOLS), os.environ.get("PATH", "")]))
    if found is None:
        if os.environ.get("DEPLOY_TOOLS_REQUIRED") and name != "promtool":
            pytest.fail(f"{name} is missing; `make k8s` installs it")
        pytest.skip(f"no {name}; `make k8s` installs it")
    return found


def run(
    name: str, *arguments: str | Path, cwd: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    """What a tool said; it never asks a network."""
    return subprocess.run(
        [tool(name), *map(str, arguments)],
        cwd=cwd,
        # Go's tools end before the memory that they have done with is worth collecting: a quarter of kubectl's time.
        env=os.environ | {"GOGC": "400"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@functools.cache
def rendered_text(folder: str) -> str:
    """What kustomize makes of `overlays/dev` or any other folder, as one YAML stream."""
    done = run("kubectl", "kustomize", K8S / folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def rendered(overlay: str) -> tuple[Manifest, ...]:
    """The resources of an overlay."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return tuple(
        yaml.load(document, Loader=loader)
        for document in rendered_text(f"overlays/{overlay}").split("\n---\n")
    )


def kind(overlay: str, *kinds: str) -> list[Manifest]:
    """The resources of these kinds."""
    return [manifest for manifest in rendered(overlay) if manifest["kind"] in kinds]


def named(overlay: str, of_kind: str, name: str) -> Manifest:
    """One resource; a ConfigMap also by the name that it has without its hash."""
    (found,) = [
        manifest
        for manifest in kind(overlay, of_kind)
        if name in (manifest["metadata"]["name"], manifest["metadata"]["name"].rsplit("-", 1)[0])
    ]
    return found


def migrations(overlay: str, service: str) -> Manifest:
    """The Job that migrates a service's database; its name ends with the release."""
    (found,) = [
        job
        for job in kind(overlay, "Job")
        if job["metadata"]["name"].startswith(f"{service}-migrations-")
    ]
    return found


def installation(overlay: str) -> dict[str, str]:
    """What the overlay says of its place: the literals of its ConfigMap `installation`."""
    text = (K8S / "overlays" / overlay / "kustomization.yaml").read_text()
    generators = yaml.safe_load(text)["configMapGenerator"]
    (literals,) = [one["literals"] for one in generators if one["name"] == "installation"]
    return dict(literal.split("=", 1) for literal in literals)


def pod_templates(overlay: str) -> list[tuple[str, Manifest]]:
    """(`Deployment/portal`, its pod template) of all that run pods of ours."""
    return [
        (
            f"{manifest['kind']}/{manifest['metadata']['name']}",
            manifest["spec"].get("jobTemplate", manifest)["spec"]["template"],
        )
        for manifest in kind(overlay, "Deployment", "Job", "CronJob")
    ]


def containers(template: Manifest) -> list[Manifest]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def secrets(overlay: str) -> dict[str, dict[str, str]]:
    """Name and keys of each Secret that the overlay or one of its operators makes, with a value as it would be.

    A Secret of External Secrets has made-up values in the place of those in the store.
    """
    made: dict[str, dict[str, str]] = {
        manifest["metadata"]["name"]: {
            key: base64.b64decode(value).decode() for key, value in manifest.get("data", {}).items()
        }
        for manifest in kind(overlay, "Secret")
    }
    for manifest in kind(overlay, "ExternalSecret"):
        target = manifest["spec"]["target"]
        stored = {entry["secretKey"]: example(entry) for entry in manifest["spec"]["data"]}
        template = target.get("template", {}).get("data")
        made[target["name"]] = (
            {key: fill(text, stored) for key, text in template.items()} if template else stored
        )
    for cluster in kind(overlay, "Cluster"):
        made[f"{cluster['metadata']['name']}-ca"] = {"ca.crt": "", "ca.key": ""}
    return made


def example(entry: Manifest) -> str:
    """A value for an entry of the store, of the right form."""
    remote = entry["remoteRef"]
    return {
        "STRIPE_API_KEY": STRIPE_LIVE_KEY,
        "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
        "PORTAL_LINK_KEYS": LINK_KEY,
        "SENDGRID_API_KEY": SENDGRID_KEY,
        "ADDRESS_HASH_KEY": ADDRESS_KEY,
        "username": remote["key"]
        .rpartition("/")[2]
        .removesuffix("-rabbitmq")
        .removesuffix("-postgresql")
        .replace("-", "_"),
        "password": PASSWORD,
    }.get(remote["property"], PASSWORD)


def fill(text: str, values: dict[str, str]) -> str:
    """External Secrets' template with its values; a value that is not there fails."""
    return re.sub(r"\{\{ \.(\w+) \}\}", lambda match: values[match[1]], text)


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, value) below a manifest."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def documents(text: str) -> list[Manifest]:
    """The resources of a YAML stream."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [one for one in yaml.load_all(text, Loader=loader) if one]


def edited(folder: Path, overlay: str, *edits: tuple[str, str]) -> list[Manifest]:
    """The overlay's resources after replacing text in its kustomization.yaml, as an operator edits it; `folder` holds the copy."""
    copy = folder / "k8s"
    if not copy.exists():
        shutil.copytree(K8S, copy)
    file = copy / "overlays" / overlay / "kustomization.yaml"
    text = (K8S / "overlays" / overlay / "kustomization.yaml").read_text()
    for before, after in edits:
        assert before in text, before
        text = text.replace(before, after)
    file.write_text(text)
    done = run("kubectl", "kustomize", file.parent)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def identity(manifest: Manifest) -> tuple[str, str]:
    """Kind and name."""
    return manifest["kind"], manifest["metadata"]["name"]
