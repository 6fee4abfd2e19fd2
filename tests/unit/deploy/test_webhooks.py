"""Webhooks to hosts in Kubernetes: keys for the notifier by one component, nothing without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.deploy.manifests import OVERLAYS, Manifest, edited, identity, rendered

LAST = "  - ../../components/installation\n"
WITH = f"  - ../../components/webhooks\n{LAST}"


def notifier(manifests: list[Manifest], kind: str) -> Any:
    (found,) = [one for one in manifests if identity(one) == (kind, "notifier")]
    return found["spec"]


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_the_component_gives_the_notifier_its_keys(overlay: str, tmp_path: Path) -> None:
    """Out of the store's own entry of this place, by a file, and it changes nothing else."""
    before = {identity(one): one for one in rendered(overlay)}
    found = edited(tmp_path, overlay, (LAST, WITH))
    after = {identity(one): one for one in found}
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed == {("Deployment", "notifier"), ("ExternalSecret", "notifier")}
    (container,) = notifier(found, "Deployment")["template"]["spec"]["containers"]
    files = {one["name"]: one["value"] for one in container["env"] if one["name"].endswith("_FILE")}
    assert files["HOOK_KEYS_FILE"] == "/run/portico/notifier/HOOK_KEYS"
    secret = notifier(found, "ExternalSecret")
    assert secret["target"]["template"]["data"]["HOOK_KEYS"] == "{{ .hook_keys }}"
    entry = {one["secretKey"]: one["remoteRef"] for one in secret["data"]}["hook_keys"]
    assert entry == {"key": f"portico-{overlay}/notifier", "property": "HOOK_KEYS"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_without_it_no_key_is_asked_for_and_nobody_lets_loopback_in(overlay: str) -> None:
    """An upgrade needs no new secret."""
    text = str(list(rendered(overlay)))
    assert "HOOK_KEYS" not in text
    assert "HOOKS_ALLOW_LOOPBACK" not in text
