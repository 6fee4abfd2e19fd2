"""What a process takes of the machine's memory."""

from __future__ import annotations

from pathlib import Path

import yaml

from local.processes import Process


def megabytes(process: Process) -> float:
    """Its resident memory now."""
    return _status(process, "VmRSS")


def most_megabytes(process: Process) -> float:
    """The most it ever was, since it began or since forget_most()."""
    return _status(process, "VmHWM")


def forget_most(process: Process) -> None:
    """Begin anew with the most (proc(5), clear_refs)."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def limit_of_a_pod() -> float:
    """The mebibytes of memory that the manifests give a pod of any service."""
    path = Path(__file__).parents[2] / "deploy/k8s/base/service/service.yaml"
    deployment = next(
        one for one in yaml.safe_load_all(path.read_text()) if one["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return float(container["resources"]["limits"]["memory"].removesuffix("Mi"))


def _status(process: Process, name: str) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
