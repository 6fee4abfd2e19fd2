"""The API for host applications in Kubernetes: nowhere by itself, inside the cluster by one component, outside by another."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.deploy.manifests import (
    OVERLAYS,
    Manifest,
    edited,
    identity,
    kind,
    rendered,
    run,
)
from tests.unit.deploy.test_tools import OLDEST

LAST = "  - ../../components/installation\n"
INSIDE = f"  - ../../components/host-api\n{LAST}"
OUTSIDE = f"  - ../../components/host-api\n  - ../../components/host-api-route\n{LAST}"
PORT = 8003
NAME = "host-api"


def of_kind(manifests: list[Manifest], name: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] == name]


def policies(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Those that let somebody in at the API's port, by name."""
    return {
        one["metadata"]["name"]: one
        for one in of_kind(manifests, "NetworkPolicy")
        for rule in one["spec"].get("ingress", ())
        if NAME in [port.get("port") for port in rule.get("ports", ())]
    }


def paths(manifests: list[Manifest]) -> set[str]:
    """What gateways take."""
    return {
        match["path"]["value"]
        for route in of_kind(manifests, "HTTPRoute")
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
    }


@pytest.fixture(scope="module", params=["staging", "production"])
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def outside(overlay: str, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """What the overlay renders to with both components."""
    return edited(tmp_path_factory.mktemp("outside"), overlay, (LAST, OUTSIDE))


def test_inside_the_cluster_hosts_alone_come_there(overlay: str, tmp_path: Path) -> None:
    """The port is there, a Service leads to it, the namespaces that are labelled get there, and no gateway does."""
    found = edited(tmp_path, overlay, (LAST, INSIDE))
    (portal,) = [one for one in of_kind(found, "Deployment") if identity(one)[1] == "portal"]
    (container,) = portal["spec"]["template"]["spec"]["containers"]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
        "http": 8000,
        NAME: PORT,
    }
    (settings,) = [
        one for one in of_kind(found, "ConfigMap")
        if one["metadata"]["name"] == container["envFrom"][0]["configMapRef"]["name"]
    ]  # fmt: skip
    assert settings["data"]["API_ADDRESS"] == f"0.0.0.0:{PORT}"
    ways = [one for one in of_kind(found, "Service") if NAME in str(one["spec"]["ports"])]
    assert [one["metadata"]["name"] for one in ways] == ["portal-api"]
    assert ways[0]["spec"]["selector"].items() <= portal["spec"]["template"]["metadata"]["labels"].items()  # fmt: skip
    let_in = policies(found)
    assert list(let_in) == [NAME]
    (rule,) = let_in[NAME]["spec"]["ingress"]
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {"portico.example.com/host-application": "true"}}}
    ]
    assert not any(path.startswith("/api") for path in paths(found))


def test_outside_a_route_of_its_own_leads_there(overlay: str, outside: list[Manifest]) -> None:
    """At the overlay's host name, for the API's addresses and nothing else, and only the gateway comes besides."""
    public, own = sorted(of_kind(outside, "HTTPRoute"), key=lambda one: one["metadata"]["name"])
    assert own["spec"]["hostnames"] == public["spec"]["hostnames"]
    assert own["spec"]["parentRefs"] == public["spec"]["parentRefs"]
    assert paths([own]) == {"/api/v1/"}
    assert paths([public]) == paths(list(rendered(overlay)))
    (rule,) = own["spec"]["rules"]
    assert [one["name"] for one in rule["backendRefs"]] == ["portal-api"]
    assert set(policies(outside)) == {NAME, "host-api-gateway"}


def test_nothing_else_changes(overlay: str, outside: list[Manifest]) -> None:
    """An overlay without the components stays as it is; with both, the portal and the new ones are all that is different."""
    before = {identity(one): one for one in rendered(overlay)}
    after = {identity(one): one for one in outside}
    changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    assert changed == {("Deployment", "portal")}
    new = {name for _, name in after.keys() - before.keys()}
    config = {name for name in new if name.startswith("portal-") and name != "portal-api"}
    assert len(config) == 1
    assert new - config == {"portal-api", NAME, "host-api-gateway", "portico-host-api"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_overlay_lets_the_api_out_by_itself(name: str) -> None:
    """No route, no port, no policy."""
    everything = list(rendered(name))
    assert policies(everything) == {}
    assert not any(path.startswith("/api") for path in paths(everything))
    assert not [one for one in kind(name, "Service") if "api" in one["metadata"]["name"]]


def test_the_components_fit_their_schemas(outside: list[Manifest], tmp_path: Path) -> None:
    """As an API server would read them, strictly."""
    ours = [
        one for one in outside
        if one["kind"] != "HTTPRoute" and identity(one)[1] in ("portal-api", NAME, "host-api-gateway")
    ]  # fmt: skip
    assert len(ours) == 3
    file = tmp_path / "ours.yaml"
    file.write_text(yaml.safe_dump_all(ours))
    checked = run("kubernetes-validate", "--strict", "-k", OLDEST, file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
