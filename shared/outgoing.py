"""HTTP to the systems outside: one pooled session for each."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter


def session_to(base: str, *, connections: int = 10) -> requests.Session:
    """A session for the system at `base`, safe to share between green threads, that pools so many `connections`."""
    session = requests.Session()
    # A proxy from the environment is for the world outside, not for a stand-in on this machine.
    session.trust_env = not _is_loopback(base)
    adapter = HTTPAdapter(pool_maxsize=connections)
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    return session


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
