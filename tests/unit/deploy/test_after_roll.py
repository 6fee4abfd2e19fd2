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
    create) cat >> "$FOLDER/created.json" ;;
esac
"""
LABELS = {
    "app.kubernetes.io/component": "migrations",
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


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_each_job_is_made_again_with_the_flag(tmp_path: Path) -> None:
    """Under a name of its own, without what a cluster had written into the first one; everything else is as it was."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    subprocess.run(
        ["sh", ROOT / "deploy" / "k8s" / "after-roll.sh", "1-1-0"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "FOLDER": str(tmp_path)},
        check=True,
        timeout=30,
    )
    decoder, text = json.JSONDecoder(), (tmp_path / "created.json").read_text().strip()
    made: list[dict[str, Any]] = []
    while text:
        one, end = decoder.raw_decode(text)
        made.append(one)
        text = text[end:].strip()
    names = [
        f"{service}-migrations-1-1-0-after-roll" for service in ("portal", "billing", "notifier")
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
