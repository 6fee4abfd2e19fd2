"""What others' tools say of the manifests, the Dockerfile and the alerts. They run offline."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.unit.deploy.manifests import K8S, OVERLAYS, REPOSITORY, kind, rendered_text, run

OLDEST, NEWEST = "1.33", "1.37"
"""The versions of Kubernetes that we support, told in deploy/k8s/README.md."""

SBOM = ("requirements", "--output-reproducible", "--pyproject", "pyproject.toml")
"""As in the Makefile."""
NOT_KUBERNETES_OWN = "Couldn't find schema"


@pytest.fixture
def stream(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An overlay in a file."""
    file = tmp_path / f"{request.param}.yaml"
    file.write_text(rendered_text(f"overlays/{request.param}"))
    return file


@pytest.mark.parametrize("stream", OVERLAYS, indirect=True)
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_every_field(stream: Path, version: str) -> None:
    """Each resource of Kubernetes' own fits its schema, unknown fields refused, in the oldest and the newest version."""
    done = run("kubernetes-validate", "--strict", "-k", version, stream)
    said = done.stdout + done.stderr
    wrong = [
        line for line in said.splitlines() if "INFO" not in line and NOT_KUBERNETES_OWN not in line
    ]
    assert done.returncode == 0, said
    assert wrong == []
    assert said.count("passed") >= 30


def test_the_validator_would_object(tmp_path: Path) -> None:
    """A misspelt field is found: the check above can fail."""
    file = tmp_path / "wrong.yaml"
    file.write_text(rendered_text("overlays/production").replace("preStop:", "prestop:"))
    assert run("kubernetes-validate", "--strict", "-k", NEWEST, file).returncode != 0


@pytest.mark.parametrize(
    ("config", "overlays"),
    [("checkov.yaml", ("staging", "production")), ("checkov-dev.yaml", ("dev",))],
)
def test_checkov_finds_nothing_but_what_is_explained(
    config: str, overlays: tuple[str, ...], tmp_path: Path
) -> None:
    """What is skipped stands with its reason in deploy/k8s/checkov.yaml, what only dev may skip in checkov-dev.yaml."""
    files: list[str | Path] = []
    for overlay in overlays:
        file = tmp_path / f"{overlay}.yaml"
        file.write_text(rendered_text(f"overlays/{overlay}"))
        files += ["-f", file]
    done = run("checkov", "--config-file", K8S / config, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"Passed checks: (\d+), Failed checks: 0,", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) > 300


def test_each_skip_of_checkov_has_its_reason() -> None:
    """No check is switched off without a comment that says why."""
    for name in ("checkov.yaml", "checkov-dev.yaml"):
        for line in (K8S / name).read_text().splitlines():
            if line.strip().startswith("- CKV"):
                assert "  # " in line, f"{name}: {line.strip()} has no reason"


@pytest.mark.parametrize("component", sorted(p.name for p in (K8S / "components").iterdir()))
def test_each_component_is_used_by_an_overlay(component: str) -> None:
    """Nothing lies about that no overlay renders, but what waits: the API for hosts (`test_host_api.py`), Stripe accounts (`test_stripe_accounts.py`), the Ingress for clusters without Gateway API, names from the node (`test_node_local_dns.py`), the rights of
    two releases for an upgrade, the way out of a backup."""
    used = "".join(
        (K8S / "overlays" / name / "kustomization.yaml").read_text() for name in OVERLAYS
    )
    assert f"../../components/{component}\n" in used or component in (
        "host-api",
        "host-api-route",
        "ingress",
        "node-local-dns",
        "rabbitmq-last-release",
        "webhooks",
        "postgresql-restore",
        "stripe-accounts",
        "stripe-connect",
    )


def test_an_ingress_can_stand_in_for_the_route(tmp_path: Path) -> None:
    """The component that no overlay uses renders in the place of the HTTPRoute, and fits its schema."""
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    # kustomize takes no absolute paths, and refuses links out of its folder.
    up = "../" * len(overlay.parts[1:])
    (overlay / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: [{up}{str(K8S)[1:]}/base]\ncomponents: [{up}{str(K8S)[1:]}/components/ingress]\n"
    )
    done = run("kubectl", "kustomize", overlay)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "ingress.yaml"
    file.write_text(done.stdout)
    assert "kind: Ingress" in done.stdout
    assert run("kubernetes-validate", "--strict", "-k", OLDEST, file).returncode == 0


def test_the_yaml_is_tidy() -> None:
    """yamllint finds nothing in what we wrote by hand."""
    done = run(
        "yamllint", "-c", K8S / "yamllint.yaml", "--strict", K8S, REPOSITORY / "compose.yaml"
    )
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_is_sound() -> None:
    """hadolint finds nothing."""
    done = run("hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rules as Prometheus reads them."""
    (rule,) = kind("production", "PrometheusRule")
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"], sort_keys=False))
    return file


def test_prometheus_takes_the_rules(rules: Path) -> None:
    """Syntax and label names."""
    done = run("promtool", "check", "rules", rules)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "suite", sorted((Path(__file__).parent / "rules").glob("*.yaml")), ids=lambda p: p.stem
)
def test_alerts_fire_when_they_should_and_only_then(rules: Path, suite: Path) -> None:
    """Each alert on series that ought to raise it, and on quiet ones."""
    copy = rules.parent / suite.name
    copy.write_text(suite.read_text())
    done = run("promtool", "test", "rules", copy)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_test_that_fires_it_and_one_that_must_not() -> None:
    """No alert, in none of its ways, is without a case that expects it; none is without a case that expects silence."""
    (rule,) = kind("production", "PrometheusRule")
    alerts = {
        (entry["alert"], entry["labels"].get("why", entry["labels"]["severity"]))
        for group in rule["spec"]["groups"]
        for entry in group["rules"]
        if "alert" in entry
    }
    fired, silent = set(), set()
    for suite in (Path(__file__).parent / "rules").glob("*.yaml"):
        for test in yaml.safe_load(suite.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                if not case["exp_alerts"]:
                    silent.add(case["alertname"])
                for expected in case["exp_alerts"]:
                    labels = expected["exp_labels"]
                    fired.add((case["alertname"], labels.get("why", labels["severity"])))
    assert fired == alerts
    assert silent == {name for name, _ in alerts}


def test_the_bill_of_materials_is_what_is_pinned(tmp_path: Path) -> None:
    """`make sbom` lists each package of requirements.txt with its version and hashes, and nothing else."""
    file = tmp_path / "sbom.json"
    done = run("cyclonedx-py", *SBOM, "-o", file, "requirements.txt")
    assert done.returncode == 0, done.stderr
    listed = {
        (one["name"], one["version"], bool(one["externalReferences"][0]["hashes"]))
        for one in json.loads(file.read_text())["components"]
    }
    pinned = re.findall(
        r"^([\w.-]+)==([^\s;]+)", (REPOSITORY / "requirements.txt").read_text(), re.M
    )
    assert len(pinned) > 20
    assert listed == {(name, version, True) for name, version in pinned}
