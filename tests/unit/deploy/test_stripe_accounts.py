"""Stripe accounts beside the own one in Kubernetes: one component for those that businesses connect, one for those with keys of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.deploy.manifests import Manifest, edited, identity, rendered

LAST = "  - ../../components/installation\n"
CONNECT = (LAST, f"  - ../../components/stripe-connect\n{LAST}")
OWN_KEYS = (LAST, f"  - ../../components/stripe-accounts\n{LAST}")
SECRETS = "/run/portico/billing"


@pytest.fixture(params=["staging", "production"])
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


YOURS = ("      - HOST=", "      - STRIPE_CLIENT_ID=ca_yours\n      - HOST=")
"""The operator's line in the overlay's own list."""


def one(found: list[Manifest], kind: str, name: str) -> Any:
    (manifest,) = [
        each
        for each in found
        if identity(each)[0] == kind
        and (identity(each)[1] == name or (kind == "ConfigMap" and identity(each)[1].startswith(f"{name}-")))
    ]  # fmt: skip
    return manifest


def settings(found: list[Manifest], service: str) -> dict[str, str]:
    """What a service's container is told, literally."""
    (container,) = one(found, "Deployment", service)["spec"]["template"]["spec"]["containers"]
    name = container["envFrom"][0]["configMapRef"]["name"]
    literal = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    return literal | one(found, "ConfigMap", name)["data"]


def test_businesses_connect_with_the_platforms_client_id(overlay: str, tmp_path: Path) -> None:
    """Portal and billing have it from the overlay's list; the endpoint's secret is billing's alone, out of the place's own entry."""
    found = edited(tmp_path, overlay, YOURS, CONNECT)
    for service in ("portal", "billing"):
        assert settings(found, service)["STRIPE_CLIENT_ID"] == "ca_yours"
    assert "STRIPE_CLIENT_ID" not in settings(found, "notifier")
    name = "STRIPE_CONNECT_WEBHOOK_SECRETS"
    assert settings(found, "billing")[f"{name}_FILE"] == f"{SECRETS}/{name}"
    is_kept(found, overlay, name)


def test_own_keys_are_a_file_that_changes(overlay: str, tmp_path: Path) -> None:
    """Mounted for billing alone, with its Secret as a whole: by subPath it would stay as it was at the start."""
    found = edited(tmp_path, overlay, OWN_KEYS)
    name = "STRIPE_ACCOUNTS"
    assert settings(found, "billing")[f"{name}_FILE"] == f"{SECRETS}/{name}"
    is_kept(found, overlay, name)
    template = one(found, "Deployment", "billing")["spec"]["template"]["spec"]
    (mount,) = [each for each in template["containers"][0]["volumeMounts"] if each["mountPath"] == SECRETS]  # fmt: skip
    assert "subPath" not in mount
    (volume,) = [each for each in template["volumes"] if each["name"] == mount["name"]]
    assert "items" not in volume["secret"]


def is_kept(found: list[Manifest], overlay: str, name: str) -> None:
    """A property of the store's entry `billing` becomes a key of the Secret `billing`, and of no other."""
    kept = one(found, "ExternalSecret", "billing")["spec"]
    assert name in kept["target"]["template"]["data"]
    (entry,) = [each for each in kept["data"] if each["remoteRef"]["property"] == name]
    assert entry["remoteRef"]["key"] == f"portico-{overlay}/billing"
    assert kept["target"]["template"]["data"][name] == f"{{{{ .{entry['secretKey']} }}}}"
    others = [each for each in found if identity(each) == ("ExternalSecret", "portal")]
    assert name not in str(others)


def test_without_the_components_there_is_none(overlay: str) -> None:
    """One account, as ever."""
    assert "STRIPE_CLIENT_ID" not in settings(rendered(overlay), "billing")
    assert "STRIPE_ACCOUNTS_FILE" not in settings(rendered(overlay), "billing")
