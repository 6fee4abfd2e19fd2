"""A restored PostgreSQL cluster is one that all others find: name, roles, policies, monitors, schedules, certificates."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shared import events
from shared.messaging import topology
from tests.unit.deploy.manifests import (
    REPOSITORY,
    Manifest,
    documents,
    edited,
    identity,
    kind,
    named,
    rendered,
    rendered_text,
)

BACKUP = "  - ../../components/postgresql-backup\n"
OURS_AND_ITS = ({"cnpg.io/cluster": "postgresql"}, {"cnpg.io/cluster": "drill"})


@pytest.fixture
def restored(tmp_path: Path) -> list[Manifest]:
    """Production with the component, where docs/operations.md puts it."""
    return edited(
        tmp_path, "production", (BACKUP, f"{BACKUP}  - ../../components/postgresql-restore\n")
    )


def only(manifests: list[Manifest], of_kind: str) -> Manifest:
    (found,) = [one for one in manifests if one["kind"] == of_kind]
    return found


def test_nothing_but_the_cluster_changes(restored: list[Manifest]) -> None:
    """It has its old name, so that URLs, certificates, databases, monitors and schedules lead to it, and its roles are managed on."""
    before = {identity(one): one for one in rendered("production")}
    after = {identity(one): one for one in restored}
    assert before.keys() == after.keys()
    assert {key for key in before if before[key] != after[key]} == {("Cluster", "postgresql")}
    cluster = only(restored, "Cluster")["spec"]
    was = kind("production", "Cluster")[0]["spec"]
    for field in ("managed", "postgresql", "storage", "walStorage", "imageName"):
        assert cluster[field] == was[field]


def test_it_reads_one_archive_and_writes_another(restored: list[Manifest]) -> None:
    """From the backups of the cluster before, through the same store; its own go to another folder, or the operator refuses it."""
    cluster = only(restored, "Cluster")["spec"]
    assert set(cluster["bootstrap"]) == {"recovery"}
    recovery = cluster["bootstrap"]["recovery"]
    (origin,) = [one for one in cluster["externalClusters"] if one["name"] == recovery["source"]]
    (archiver,) = cluster["plugins"]
    assert archiver["isWALArchiver"] is True
    read, written = origin["plugin"]["parameters"], archiver["parameters"]
    store = only(restored, "ObjectStore")["metadata"]["name"]
    assert read["barmanObjectName"] == written["barmanObjectName"] == store
    assert read["serverName"] == "postgresql", "the name of the cluster that wrote them"
    assert read["serverName"] != written["serverName"]
    initdb = kind("production", "Cluster")[0]["spec"]["bootstrap"]["initdb"]
    assert (recovery["database"], recovery["owner"]) == (initdb["database"], initdb["owner"])


def fits(selector: Manifest, labels: Manifest) -> bool:
    """Whether a selector takes a pod with these labels (and any other)."""

    def agrees(one: Any) -> bool:
        return (one["operator"] == "Exists" and one["key"] in labels) or (
            one["operator"] == "In" and labels.get(one["key"]) in one["values"]
        )

    wanted = selector.get("matchLabels", {})
    return bool(wanted.items() <= labels.items()) and all(
        agrees(one) for one in selector.get("matchExpressions", [])
    )


@pytest.mark.parametrize("labels", OURS_AND_ITS, ids=["ours", "the drill's"])
def test_no_policy_shuts_a_restored_cluster_off(labels: dict[str, str]) -> None:
    """Any cluster of the operator's reaches storage, API, operator and its own pods, and is reached by what connects to it."""
    policies = kind("production", "NetworkPolicy")
    about = [one["spec"] for one in policies if fits(one["spec"]["podSelector"], labels)]
    egress = json.dumps([rule for one in about for rule in one.get("egress", [])])
    ingress = json.dumps([rule for one in about for rule in one.get("ingress", [])])
    for port in (443, 6443, 9090, 5432, 8000, 53):
        assert f'"port": {port}' in egress, port
    for port in (5432, 8000, 9187):
        assert f'"port": {port}' in ingress, port
    for name in ("portal", "billing", "notifier", "migrations", "stripe-setup"):
        rules = named("production", "NetworkPolicy", name)["spec"]["egress"]
        assert any(
            fits(peer["podSelector"], labels)
            for rule in rules
            for peer in rule["to"]
            if "podSelector" in peer and rule["ports"][0]["port"] == 5432
        ), name


def test_the_drill_touches_neither_cluster_nor_backups() -> None:
    """One object under another name, which archives nothing and reads what the running cluster wrote."""
    (cluster,) = documents(rendered_text("examples/restore-drill"))
    assert cluster["metadata"] == {"name": "drill", "namespace": "portico"}
    assert "plugins" not in cluster["spec"]
    assert "managed" not in cluster["spec"]
    (origin,) = cluster["spec"]["externalClusters"]
    assert origin["plugin"]["parameters"] == {
        "barmanObjectName": "postgresql",
        "serverName": "postgresql",
    }
    (running,) = kind("production", "Cluster")
    for field in ("imageName", "storage", "walStorage"):
        assert cluster["spec"][field] == running["spec"][field]


@pytest.mark.parametrize("page", ["operations.md", "without-kubernetes.md"])
def test_every_queue_is_given_back_what_it_held(page: str) -> None:
    """What billing had handed over and nobody acted on yet at the moment of the backup is in no queue afterwards: without it a page says
    that nothing is owed, nobody is mailed, and no reconciliation finds it, since billing knows the event."""
    restore = (REPOSITORY / "docs" / page).read_text().partition("## Restore\n")[2]
    restore = restore.partition("\n## ")[0]
    told = {
        word
        for line in re.findall(r"^.*--queue.*$|^.*for queue in [^;]*", restore, re.M)
        for word in line.split()
    }
    held = {
        queue.name
        for service in events.CONSUMERS
        for queue in topology.event_queues(service, "billing")
    }
    assert held
    assert held <= told
