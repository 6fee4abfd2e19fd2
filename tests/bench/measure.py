"""What a process costs, from /proc; and load from a process of its own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.python_process import REPOSITORY, python_environment

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


@dataclass
class Figure:
    """What rounds of one load on one process have shown; properties are medians over the rounds."""

    name: str
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def median(self, key: str) -> float:
        """Of what the rounds say under a key."""
        return statistics.median(each[key] for each in self.rounds)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.median("rate")

    @property
    def p50(self) -> float:
        return self.median("p50")

    @property
    def p99(self) -> float:
        return self.median("p99")

    @property
    def cpu(self) -> float:
        """Microseconds of the process's CPU an answer."""
        return self.median("cpu")

    @property
    def memory(self) -> float:
        """MB resident after the rounds."""
        return self.median("memory")

    def over(self, other: Figure) -> float:
        """The ratio to another figure of the same run: the median of the rounds' own ratios, so that what disturbs the
        machine in one round disturbs both."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(mine["rate"] / theirs["rate"] for mine, theirs in pairs)

    def cheaper_than(self, other: Figure) -> float:
        """How many times less CPU an answer costs: less disturbed by neighbours than the rate."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(theirs["cpu"] / mine["cpu"] for mine, theirs in pairs)


def apart(module: str, *words: str, told: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a module in a process of its own, `told` on its stdin; what it printed. Raises RuntimeError when it failed."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        input=told,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**python_environment(), **(env or {})},
        timeout=900,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def load(plan: dict[str, Any], pid: int, module: str = "tests.bench.load") -> dict[str, Any]:
    """Run a plan in a process of its own; what it measured, with the CPU and memory of `pid`. Raises when answers failed."""
    before = cpu_seconds(pid)
    result: dict[str, Any] = json.loads(apart(module, told=json.dumps(plan)))
    bad = {status: n for status, n in result["statuses"].items() if status != "200"}
    if bad:
        raise RuntimeError(f"not everything was answered 200: {result['statuses']}")
    result["cpu"] = 1e6 * (cpu_seconds(pid) - before) / result["sent"]
    result["memory"] = memory_mb(pid)
    return result
