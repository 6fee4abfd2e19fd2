"""Requests to vendors: who may be reached through a proxy."""

from __future__ import annotations

import pytest

from shared.outgoing import session_to


@pytest.mark.parametrize(
    ("base", "proxied"),
    [
        ("https://api.stripe.com", True),
        ("http://127.0.0.1:8010", False),
        ("http://[::1]:8010", False),
        ("http://localhost", False),
        ("http://collector:4318", True),
    ],
)
def test_proxies_are_for_the_world_outside(base: str, proxied: bool) -> None:
    """What the environment says of proxies does not concern this machine."""
    assert session_to(base).trust_env is proxied
