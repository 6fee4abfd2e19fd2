"""What every pod of ours promises, and that images and settings are pinned down where they run."""

from __future__ import annotations

import importlib
import re

import pytest
import yaml

from services.portal.web.api.door import CONNECTIONS, MEMORY
from shared.nameko_ext.http_bodies import BODY_BUDGET
from shared.nameko_ext.http_server import MAX_CONNECTIONS
from shared.nameko_ext.runtime import GRACE_SECONDS
from tests.unit.deploy.manifests import (
    K8S,
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


OWN_MEBIBYTES = 140
"""What a service takes with all its workers busy; it begins with 80."""
CONNECTION_KIBIBYTES = 25 + 4
"""What a connection takes that has spoken (`tests/faults/test_crowd.py`), and the page that a body begins."""


@pytest.mark.parametrize("service", SERVICES)
def test_the_memory_limit_has_room_for_all_that_strangers_may_take(
    overlay: str, service: str
) -> None:
    """As many connections as a process takes, and as much of bodies: still no pod is killed for its memory."""
    (container,) = named(overlay, "Deployment", service)["spec"]["template"]["spec"]["containers"]
    limit = container["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    taken = MAX_CONNECTIONS * CONNECTION_KIBIBYTES / 1024 + BODY_BUDGET / (1 << 20)
    if service == "portal":  # with the API for hosts, where it is given an address
        taken += CONNECTIONS * CONNECTION_KIBIBYTES / 1024 + MEMORY / (1 << 20)
    assert OWN_MEBIBYTES + taken < int(limit.removesuffix("Mi"))


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


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_browsers_are_told_to_come_by_tls_alone(overlay: str) -> None:
    """The route of the pages sets Strict-Transport-Security, in the form that Gateway API knows, and on no subdomain of others."""
    (route,) = kind(overlay, "HTTPRoute")
    pages = next(rule for rule in route["spec"]["rules"] if rule["name"] == "pages")
    (added,) = pages["filters"]
    assert added["type"] == "ResponseHeaderModifier"
    (header,) = added["responseHeaderModifier"]["set"]
    assert header == {"name": "Strict-Transport-Security", "value": "max-age=31536000"}


def test_an_ingress_keeps_no_access_log() -> None:
    """The controllers that can switch it off for one Ingress are told to: a link is a path."""
    ingress = yaml.safe_load((K8S / "components/ingress/ingress.yaml").read_text())
    assert ingress["metadata"]["annotations"] == {
        "nginx.ingress.kubernetes.io/enable-access-log": "false",
        "traefik.ingress.kubernetes.io/router.observability.accesslogs": "false",
    }
