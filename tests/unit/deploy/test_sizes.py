"""Sizes that have to fit each other: connections and memory, disks and limits, copies and zones."""

from __future__ import annotations

import re

import pytest

from shared.database import MOST_CONNECTIONS
from tests.unit.deploy.manifests import OVERLAYS, REPOSITORY, SERVICES, Manifest, kind

CONNECTION_MEBIBYTES = 1.9 + 0.2
"""Private memory and page tables of a connection, measured with 300 of them on PostgreSQL 15."""
POSTGRESQL_ITSELF_MEBIBYTES = 512
UNITS = {"Mi": 1 << 20, "Gi": 1 << 30, "MB": 10**6, "GB": 10**9}


def in_bytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]+)", text).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def most_pods(overlay: str) -> int:
    """Of all services, each with one more while it is rolled out."""
    most = [one["spec"]["maxReplicas"] for one in kind(overlay, "HorizontalPodAutoscaler")]
    most += [one["spec"]["maxReplicaCount"] for one in kind(overlay, "ScaledObject")]
    return sum(most) + len(SERVICES)


def cluster_of(overlay: str) -> Manifest:
    (cluster,) = kind(overlay, "Cluster")
    spec: Manifest = cluster["spec"]
    return spec


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_gets_its_connections(overlay: str) -> None:
    """As many pods as the autoscalers may make find a connection each time."""
    allowed = int(cluster_of(overlay)["postgresql"]["parameters"]["max_connections"])
    assert most_pods(overlay) * MOST_CONNECTIONS <= allowed


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_postgresql_has_memory_for_all_its_connections(overlay: str) -> None:
    """With every connection in use it stays below its limit: it is not killed when it is needed most."""
    spec = cluster_of(overlay)
    parameters = spec["postgresql"]["parameters"]
    needed = int(parameters["max_connections"]) * CONNECTION_MEBIBYTES
    needed += POSTGRESQL_ITSELF_MEBIBYTES
    needed += in_bytes(parameters["shared_buffers"]) / UNITS["Mi"]
    assert needed * UNITS["Mi"] < in_bytes(spec["resources"]["limits"]["memory"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rabbitmq_has_room_above_its_limits(overlay: str) -> None:
    """An empty disk is far from the free space below which it takes no message; its memory limit is above its watermark."""
    (cluster,) = kind(overlay, "RabbitmqCluster")
    said = dict(
        line.split(" = ")
        for line in cluster["spec"]["rabbitmq"]["additionalConfig"].splitlines()
        if " = " in line
    )
    disk = in_bytes(cluster["spec"]["persistence"]["storage"])
    assert disk >= 2 * in_bytes(said["disk_free_limit.absolute"])
    assert in_bytes(said["vm_memory_high_watermark.absolute"]) < in_bytes(
        cluster["spec"]["resources"]["limits"]["memory"]
    )


def test_production_keeps_its_copies_in_different_zones() -> None:
    """Two of three in one zone would take a quorum or the last second copy with it: better none there than that."""
    (rabbitmq,) = kind("production", "RabbitmqCluster")
    template = rabbitmq["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"]
    for constraints in (
        template["topologySpreadConstraints"],
        cluster_of("production")["topologySpreadConstraints"],
    ):
        (zone,) = constraints
        assert zone["topologyKey"] == "topology.kubernetes.io/zone"
        assert (zone["maxSkew"], zone["whenUnsatisfiable"]) == (1, "DoNotSchedule")


def test_the_scaler_says_nothing_that_counts_for_nothing() -> None:
    """KEDA looks at these only where it scales from zero."""
    (scaler,) = kind("production", "ScaledObject")
    assert scaler["spec"]["minReplicaCount"] > 0
    assert not {"pollingInterval", "cooldownPeriod"} & scaler["spec"].keys()


def test_a_laptop_runs_the_version_of_postgresql_that_the_cluster_runs() -> None:
    """compose.yaml and the manifests name one major and minor version."""
    composed = re.search(r"library/postgres:([\d.]+)@", (REPOSITORY / "compose.yaml").read_text())
    for overlay in OVERLAYS:
        running = re.search(r"postgresql:([\d.]+)-", cluster_of(overlay)["imageName"])
        assert composed
        assert running
        assert composed[1] == running[1]
