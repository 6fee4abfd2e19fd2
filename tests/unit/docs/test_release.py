"""Whoever asks which release this is gets one answer: shared/version.py."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import yaml

from shared.version import VERSION

ROOT = Path(__file__).parents[3]
HEADINGS = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_the_version_is_three_numbers() -> None:
    """`MAJOR.MINOR.PATCH`, as the changelog and the image's tag have it."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_the_changelog_has_this_release_with_its_day() -> None:
    """What is not released stands first, then the releases, the newest first, each with a date."""
    first, *releases = HEADINGS
    assert first == "Unreleased"
    told = [re.fullmatch(r"(\d+\.\d+\.\d+) — (\d{4}-\d\d-\d\d)", one) for one in releases]
    assert None not in told
    pairs = [(one[1], dt.date.fromisoformat(one[2])) for one in told if one]
    assert pairs[0][0] == VERSION
    assert pairs == sorted(pairs, key=lambda one: tuple(map(int, one[0].split("."))), reverse=True)


def test_there_are_notes_for_this_release() -> None:
    """docs/upgrading.md says what to do when coming to it."""
    assert f"\n## {VERSION}\n" in (ROOT / "docs" / "upgrading.md").read_text()


def test_the_image_says_so() -> None:
    """Its label; the tag is read from the same place when it is built."""
    label = re.findall(
        r'org\.opencontainers\.image\.version="([^"]*)"', (ROOT / "Dockerfile").read_text()
    )
    assert label == [VERSION]
    assert "shared/version.py" in (ROOT / "scripts" / "build-image").read_text()


def test_the_manifests_say_so() -> None:
    """Every object on Kubernetes is labelled with it."""
    base = yaml.safe_load((ROOT / "deploy/k8s/base/kustomization.yaml").read_text())
    (labels,) = base["labels"]
    assert labels["pairs"]["app.kubernetes.io/version"] == VERSION


def test_the_server_page_installs_this_release() -> None:
    """The folder and archive of docs/without-kubernetes.md are this release's; its upgrade goes to a later one."""
    page = (ROOT / "docs" / "without-kubernetes.md").read_text()
    install, upgrade = page.split("## Upgrade and rollback")
    assert set(re.findall(r"portico-(\d+\.\d+\.\d+)", install)) == {VERSION}
    (later,) = re.findall(r"^ln -sfn (\S+) /opt/portico/current$", upgrade, re.M)
    assert later > VERSION


def test_each_changed_default_has_the_finding_that_tells_it() -> None:
    """docs/upgrading.md says of each what `portico doctor` calls it, or why it can't see it; such a finding exists."""
    page = (ROOT / "docs" / "upgrading.md").read_text()
    section = page.split("### What does something else by default\n", 1)[1].split("\n### ", 1)[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")][1:]
    code = "".join(path.read_text() for path in (ROOT / "portico").rglob("*.py"))
    assert len(rows) > 6
    for _, what, _, _, cell, *_ in rows:
        told = cell.strip()
        findings = [] if told.startswith("none") else re.findall(r"`([a-z-]+)`", told)
        assert findings or ": " in told or "as above" in told, what
        for name in findings:
            assert f'"{name}"' in code, name
