"""What every pod of ours promises, and that images and settings are pinned down where they run."""

from __future__ import annotations

import importlib
import re

import pytest
import yaml

from shared.runtime import GRACE_SECONDS
from tests.unit.deploy.manifests import (
    OVERLAYS,
    REPOSITORY,
    SERVICES,
    containers,
    kind,
    named,
    pod_templates,
    rendered,
    walk,
)


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_pods_are_restricted(overlay: str) -> None:
    """The `restricted` profile and more: a uid of 10000 or above, a read-only root, no token, no CPU limit, a memory limit."""
    for name, template in pod_templates(overlay):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["securityContext"]["runAsUser"] >= 10000, name
        for container in containers(template):
            context = container["securityContext"]
            assert context["runAsNonRoot"] is True
            assert context["runAsUser"] >= 10000
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert set(container["resources"]["limits"]) == {"memory"}
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    for namespace in kind(overlay, "Namespace"):
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("service", SERVICES)
def test_a_rollout_loses_no_request(overlay: str, service: str) -> None:
    """Never fewer pods than before; a leaving pod serves on until the proxies know, and has time for its longest work."""
    deployment = named(overlay, "Deployment", service)["spec"]
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    template = deployment["template"]["spec"]
    (container,) = template["containers"]
    wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert template["terminationGracePeriodSeconds"] > wait + GRACE_SECONDS
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert template["initContainers"][0]["args"] == [f"services.{service}", "wait-migrated"]
    budget = named(overlay, "PodDisruptionBudget", service)["spec"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert {c["topologyKey"] for c in template["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }


def test_images_are_pinned() -> None:
    """By digest wherever others' traffic runs; the Dockerfile's and compose.yaml's too."""
    pinned = re.compile(r"@sha256:[0-9a-f]{64}$")
    for overlay in ("staging", "production"):
        for manifest in rendered(overlay):
            for key, value in walk(manifest):
                if key in ("image", "imageName") and isinstance(value, str):
                    assert pinned.search(value), value
    bases = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (REPOSITORY / "Dockerfile").read_text(), re.M)
    composed = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"].values()
    foreign = [
        service["image"] for service in composed if not service["image"].startswith("portico")
    ]
    assert len(bases) == 1
    assert len(foreign) == 2
    for image in [*bases, *foreign]:
        assert pinned.search(image), image


def test_compose_gives_each_service_its_settings() -> None:
    """Each service's own settings take what compose.yaml gives it."""
    services = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
    for service in SERVICES:
        importlib.import_module(f"services.{service}.settings").load(
            services[service]["environment"]
        )
        assert services[service]["command"] == [f"services.{service}"]
        assert services[service]["read_only"] is True
        assert services[service]["cap_drop"] == ["ALL"]
    assert (
        services["sandbox"]["environment"]["SANDBOX_WEBHOOK_SECRET"]
        in services["billing"]["environment"]["STRIPE_WEBHOOK_SECRETS"]
    )
