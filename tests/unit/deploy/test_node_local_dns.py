"""Names from the node itself, where a cluster has NodeLocal DNSCache: one more policy by one component."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.unit.deploy.manifests import K8S, edited, identity, rendered

BEHIND = "  - ../../components/network-policies\n"
WITH = f"{BEHIND}  - ../../components/node-local-dns\n"


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_the_component_lets_every_pod_ask_its_node_for_names_and_nothing_else(
    overlay: str, tmp_path: Path
) -> None:
    """Besides what `allow-dns` lets it ask; nothing else is different."""
    before = {identity(one): one for one in rendered(overlay)}
    after = {identity(one): one for one in edited(tmp_path, overlay, (BEHIND, WITH))}
    (new,) = after.keys() - before.keys()
    assert new == ("NetworkPolicy", "allow-node-local-dns")
    assert {key: after[key] for key in before} == before
    spec = after[new]["spec"]
    (rule,) = spec["egress"]
    assert spec["podSelector"] == {}
    assert rule["ports"] == before["NetworkPolicy", "allow-dns"]["spec"]["egress"][0]["ports"]
    assert rule["to"] == [{"ipBlock": {"cidr": "169.254.20.10/32"}}]


def test_the_readmes_patch_adds_the_address_of_the_service(tmp_path: Path) -> None:
    """As it stands there."""
    readme = (K8S / "README.md").read_text()
    told = re.search(r"```yaml\n( +- target: [^`]*allow-node-local-dns[^`]*)```", readme)
    assert told is not None
    (patch,) = yaml.safe_load(told[1])
    made = f"patches:\n  - {json.dumps(patch)}\n"
    found = edited(tmp_path, "production", (BEHIND, WITH), ("patches:\n", made))
    (policy,) = [one for one in found if identity(one)[1] == "allow-node-local-dns"]
    cidrs = [one["ipBlock"]["cidr"] for one in policy["spec"]["egress"][0]["to"]]
    assert cidrs == ["169.254.20.10/32", "10.96.0.10/32"]
