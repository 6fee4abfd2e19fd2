"""`deploy/k8s/after-roll.sh`: each Job that migrated, once more with the flag, as a cluster takes it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.processes import SERVICES
from shared.schema import ROOT

KUBECTL = """#!/bin/sh
case $1 in
    get) sed "s/NAME/$5/g" "$FOLDER/job.json" ;;
    delete) rm -f "$FOLDER/jobs/$5" ;;
    create)
        cat > "$FOLDER/created"
        name=$(jq -r .metadata.name "$FOLDER/created")
        if test -e "$FOLDER/jobs/$name"; then echo AlreadyExists >&2; exit 1; fi
        mv "$FOLDER/created" "$FOLDER/jobs/$name" ;;
esac
"""
LABELS = {
    "app.kubernetes.io/component": "migrations",
    "app.kubernetes.io/instance": "portico",
    "batch.kubernetes.io/controller-uid": "1",
    "batch.kubernetes.io/job-name": "NAME",
    "controller-uid": "1",
    "job-name": "NAME",
}
JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "NAME", "namespace": "portico", "uid": "1", "labels": LABELS},
    "spec": {
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "1"}},
        "backoffLimit": 6,
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"name": "migrate", "args": ["services.portal", "migrate"]}]},
        },
    },
    "status": {"succeeded": 1},
}


pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder with a `kubectl` and the Jobs that it has made."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    return tmp_path


def after_roll(cluster: Path) -> list[dict[str, Any]]:
    """Run the script; the Jobs that there are then."""
    subprocess.run(
        ["sh", ROOT / "deploy" / "k8s" / "after-roll.sh", "1-1-0"],
        env={"PATH": f"{cluster}:{os.environ['PATH']}", "FOLDER": str(cluster)},
        check=True,
        timeout=30,
    )
    return [json.loads(one.read_text()) for one in sorted((cluster / "jobs").iterdir())]


def test_run_again_it_goes_on(cluster: Path) -> None:
    """One Job failed, or the first run was cut after it: the others are made all the same."""
    made = after_roll(cluster)
    (cluster / "jobs" / made[-1]["metadata"]["name"]).unlink()
    assert after_roll(cluster) == made


def test_each_job_is_made_again_with_the_flag(cluster: Path) -> None:
    """Under a name of its own, without what a cluster had written into the first one; everything else is as it was."""
    made = after_roll(cluster)
    names = [
        f"{service}-migrations-1-1-0-after-roll" for service in ("billing", "notifier", "portal")
    ]
    assert sorted(SERVICES) == sorted(name.partition("-")[0] for name in names)
    kept = {"app.kubernetes.io/component": "migrations"}
    assert made == [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": "portico", "labels": kept},
            "spec": {
                "backoffLimit": 6,
                "template": {
                    "metadata": {"labels": kept},
                    "spec": {
                        "containers": [
                            {
                                "name": "migrate",
                                "args": ["services.portal", "migrate", "--after-roll"],
                            }
                        ]
                    },
                },
            },
        }
        for name in names
    ]
