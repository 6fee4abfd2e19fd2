"""From an empty cluster: what comes first, what an overlay says of its place, the Jobs of a release, and Argo CD's and Flux's ways."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from portico.stripe_setup import problem_of_url
from services.billing.settings import load_for_stripe
from shared.migrations import WAIT_SECONDS
from shared.version import VERSION
from tests.unit.deploy.manifests import (
    K8S,
    OVERLAYS,
    SERVICES,
    Manifest,
    containers,
    documents,
    edited,
    identity,
    installation,
    kind,
    migrations,
    named,
    rendered,
    rendered_text,
)
from tests.unit.deploy.test_references import environment

FOR_OTHERS = ("staging", "production")
FIRST = "portico.example.com/install"


def is_first(manifest: Manifest) -> bool:
    """What `kubectl apply -l portico.example.com/install=first` takes."""
    return bool(manifest["metadata"].get("labels", {}).get(FIRST) == "first")


@pytest.mark.parametrize("overlay", FOR_OTHERS)
def test_first_come_the_namespace_and_the_secrets(overlay: str) -> None:
    """An operator refuses what names a Secret that is not there (a RabbitMQ `User` does, in a dry run too); after the first
    step nothing does."""
    first = [one for one in rendered(overlay) if is_first(one)]
    assert {one["kind"] for one in first} == {"Namespace", "ExternalSecret"}
    assert len(kind(overlay, "Namespace", "ExternalSecret")) == len(first)
    made = {one["spec"]["target"]["name"] for one in first if one["kind"] == "ExternalSecret"}
    for user in kind(overlay, "User"):
        assert user["spec"]["importCredentialsSecret"]["name"] in made
    (cluster,) = kind(overlay, "Cluster")
    for role in cluster["spec"]["managed"]["roles"]:
        assert role["passwordSecret"]["name"] in made
    assert kind(overlay, "Secret") == []


def test_a_laptop_has_its_secrets_before_what_names_them() -> None:
    """There the Secrets are in the same apply, which takes them in the order in which they are rendered."""
    order = [one["kind"] for one in rendered("dev")]
    assert order[0] == "Namespace"
    last_secret = len(order) - 1 - order[::-1].index("Secret")
    assert last_secret < min(order.index(one) for one in ("User", "Cluster", "Deployment", "Job"))


@pytest.mark.parametrize("overlay", FOR_OTHERS)
def test_what_an_overlay_says_of_its_place_gets_there(overlay: str, tmp_path: Path) -> None:
    """Each value of the ConfigMap `installation` is put somewhere; besides, what reads a ConfigMap that holds one rolls, and nothing else
    changes."""
    said = installation(overlay)
    assert list(said) == list(installation("production"))
    places = {name: f"another-place-{number:02}" for number, name in enumerate(said)}
    edits = [(f"- {name}={said[name]}\n", f"- {name}={places[name]}\n") for name in said]
    made = edited(tmp_path, overlay, *edits)
    pairs = list(zip(rendered(overlay), made, strict=True))
    takes = [after for _, after in pairs if "another-place" in json.dumps(after)]
    assert [name for name, place in places.items() if place not in json.dumps(takes)] == []
    configs = {
        before["metadata"]["name"]: after["metadata"]["name"]
        for before, after in pairs
        if after in takes and after["kind"] == "ConfigMap"
    }
    for before, after in pairs:
        text = json.dumps(before)
        for old, new in configs.items():
            text = text.replace(old, new)
        assert after in takes or json.loads(text) == after
    assert "installation" not in {one["metadata"]["name"].rpartition("-")[0] for one in made}


@pytest.mark.parametrize("overlay", FOR_OTHERS)
def test_no_place_is_named_elsewhere(overlay: str, tmp_path: Path) -> None:
    """Where host, bucket, store and all namespaces of others have another name, the overlay's own are gone from what is applied."""
    said = installation(overlay)
    theirs = [name for name in said if name.endswith("_NAMESPACE")]
    edits = [
        (f"- {name}={said[name]}", f"- {name}=another-place")
        for name in (*theirs, "HOST", "BACKUPS", "SECRETS", "SECRET_STORE")
    ]
    text = json.dumps(edited(tmp_path, overlay, *edits))
    assert len(theirs) == 6
    assert set(re.findall(r'"kubernetes.io/metadata.name": "([^"]+)"', text)) == {"another-place"}
    for name in ("HOST", "BACKUPS", "SECRETS"):
        assert said[name] not in text.replace(f"mail.{said['HOST'].removeprefix('me.')}", "")
    overlays_own = (K8S / "overlays" / overlay).glob("*.yaml")
    assert not any(
        "CHANGE" in path.read_text() for path in overlays_own if path.name != "kustomization.yaml"
    )


def test_places_do_not_share_what_is_theirs() -> None:
    """Staging reads no secret and writes no backup of production's."""
    staging, production = (installation(overlay) for overlay in FOR_OTHERS)
    for name in ("HOST", "SECRETS", "BACKUPS"):
        assert staging[name] != production[name], name
    for overlay in FOR_OTHERS:
        for secret in kind(overlay, "ExternalSecret"):
            for entry in secret["spec"]["data"]:
                assert entry["remoteRef"]["key"].startswith(f"portico-{overlay}/")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_jobs_are_named_after_the_release(overlay: str) -> None:
    """A Job can't be changed: applying twice changes none, and the next release's is another object."""
    release = VERSION.replace(".", "-")
    names = {one["metadata"]["name"] for one in kind(overlay, "Job")} - {"sandbox-seed"}
    assert names == {f"{service}-migrations-{release}" for service in SERVICES}
    for service in SERVICES:
        job = migrations(overlay, service)
        text = json.dumps(job)
        assert "Replace=true" not in text
        assert "fluxcd" not in text


@pytest.mark.parametrize("overlay", FOR_OTHERS)
def test_the_next_release_changes_no_job(overlay: str, tmp_path: Path) -> None:
    """Another image with another RELEASE makes other Jobs, and changes nothing of what can't be changed."""
    digest = "sha256:" + "0" * 64
    made = edited(
        tmp_path, overlay, (digest, "sha256:" + "1" * 64), ("RELEASE=1-0-0", "RELEASE=1-0-1")
    )
    before = {identity(one): one for one in rendered(overlay)}
    after = {identity(one): one for one in made}
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    assert gone == {("Job", f"{service}-migrations-1-0-0") for service in SERVICES}
    assert new == {("Job", f"{service}-migrations-1-0-1") for service in SERVICES}
    changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    assert changed == {("Deployment", service) for service in SERVICES} | {
        ("CronJob", "stripe-setup")
    }
    for service in SERVICES:
        old, now = (one["Deployment", service]["spec"]["selector"] for one in (before, after))
        assert old == now


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_migrations_wait_for_a_database_that_is_being_made(overlay: str) -> None:
    """First of all, for the 25 minutes of `wait-for-database`, which is one try of the Job; there is time for the rest."""
    for service in SERVICES:
        job = migrations(overlay, service)["spec"]
        assert [one["name"] for one in containers(job["template"])] == [
            "database",
            "grants",
            "migrate",
        ]
        assert job["activeDeadlineSeconds"] >= WAIT_SECONDS + 1800
        assert job["ttlSecondsAfterFinished"] >= 3600
        deployment = named(overlay, "Deployment", service)["spec"]
        assert deployment["progressDeadlineSeconds"] >= WAIT_SECONDS


@pytest.mark.parametrize("overlay", FOR_OTHERS)
def test_stripe_is_set_up_before_billing_has_its_webhook_secret(overlay: str) -> None:
    """The form for the Job never runs by itself, reads no webhook secret and no broker, and makes the endpoint of this place."""
    (form,) = kind(overlay, "CronJob")
    assert form["spec"]["suspend"] is True
    template = form["spec"]["jobTemplate"]["spec"]["template"]
    (setup,) = template["spec"]["initContainers"]
    given = environment(overlay, template, setup)
    assert not {"STRIPE_WEBHOOK_SECRETS", "AMQP_URI"} & given.keys()
    load_for_stripe(given)
    words = setup["args"]
    assert words[:3] == ["portico", "stripe", "setup"]
    url = words[words.index("--url") + 1]
    assert url == f"https://{installation(overlay)['HOST']}/webhooks/stripe"
    assert problem_of_url(url) is None
    folder = str(Path(words[words.index("--secret-file") + 1]).parent)
    (keeper,) = template["spec"]["containers"]
    for container in (setup, keeper):
        assert folder in {mount["mountPath"] for mount in container["volumeMounts"]}
    (volume,) = [one for one in template["spec"]["volumes"] if one["name"] == "new"]
    assert volume["emptyDir"]["medium"] == "Memory"


def example(path: str) -> list[Manifest]:
    """What an example renders to."""
    return documents(rendered_text(f"examples/{path}"))


def test_flux_applies_the_overlay_in_two_steps() -> None:
    """Both together are the overlay, no object is in both, and the second waits for the Secrets that a dry run asks for."""
    first, rest = example("flux/first"), example("flux/rest")
    assert [is_first(one) for one in first] == [True] * len(first)
    one, two = {identity(m) for m in first}, {identity(m) for m in rest}
    assert one.isdisjoint(two)
    assert one | two == {identity(m) for m in rendered("production")}
    before, after = documents((K8S / "examples/flux/portico.yaml").read_text())
    assert after["spec"]["dependsOn"] == [{"name": before["metadata"]["name"]}]
    waited = {check["name"] for check in before["spec"]["healthChecks"]}
    assert waited == {
        user["spec"]["importCredentialsSecret"]["name"] for user in kind("production", "User")
    }
    for step in (before, after):
        path = K8S.parents[1] / step["spec"]["path"]
        assert (path / "kustomization.yaml").is_file()


def test_argo_applies_the_secrets_a_wave_before_the_rest() -> None:
    """Namespace and ExternalSecrets in an earlier wave; but billing's, which is not healthy before Stripe is set up, holds nothing up."""
    early = {
        identity(one)
        for one in example("argocd")
        if one["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave") == "-1"
    }
    first = {identity(one) for one in rendered("production") if is_first(one)}
    assert early == first - {("ExternalSecret", "billing")}
    application = yaml.safe_load((K8S / "examples/argocd/application.yaml").read_text())
    assert (K8S.parents[1] / application["spec"]["source"]["path"]).is_dir()


@pytest.mark.parametrize("path", ["argocd", "flux/rest"])
def test_what_applies_again_and_again_keeps_its_jobs(path: str) -> None:
    """A Job that went by its TTL would be made anew at each round: there it has none."""
    jobs = [one for one in example(path) if one["kind"] == "Job"]
    assert len(jobs) == len(SERVICES)
    for job in jobs:
        assert "ttlSecondsAfterFinished" not in job["spec"]
