"""Where a host's endpoint may be: somebody else names the URL that we call, so it may lead nowhere but into the public internet."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

LONGEST_URL: Final = 2000
PORTS: Final = (443, 8443)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "arpa", "onion")  # fmt: skip
"""Last labels that no public name has: said when the URL is given, and not only when it is called."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REFUSED: Final = tuple(
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
)  # fmt: skip
"""IPv4 of the special-purpose registry (RFC 6890 and later), multicast and reserved: said in full, since what `is_global` knows
differs from one Python to the next. And a public address behind which each of Azure's machines finds the host that it runs on
(https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16)."""
_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""The only IPv6 that is routed in public; NAT64's own prefix (64:ff9b::/96), mapped and compatible IPv4, link-local, unique local and
multicast lie outside."""
_REFUSED_V6: Final = tuple(
    ipaddress.ip_network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
"""Inside it: Teredo, ORCHID and benchmarking, documentation, 6to4 (which holds an IPv4), AS112."""


class BadUrl(ValueError):
    """An endpoint's URL that is not called; the text says what was expected."""


@dataclass(frozen=True)
class Target:
    """An endpoint's URL in the parts that a request needs."""

    scheme: str
    host: str
    """In lower case, as it is looked up and stands in the certificate."""
    port: int
    path: str
    """With the query."""

    @property
    def netloc(self) -> str:
        """What stands in the header `Host`."""
        default = 443 if self.scheme == "https" else 80
        return self.host if self.port == default else f"{self.host}:{self.port}"


def read_url(url: str, *, loopback: bool = False) -> Target:
    """The URL of an endpoint. With `loopback` this machine may be named besides, at any port and without TLS. Raises BadUrl."""
    _check_text(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl("expected a URL, such as https://hooks.example.com/portico") from None
    host = (parts.hostname or "").lower()
    if "@" in parts.netloc:
        raise BadUrl("expected no user name or password in it")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if loopback and parts.scheme in ("http", "https") and host in ("localhost", "127.0.0.1"):
        return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)
    if parts.scheme != "https":
        raise BadUrl("expected https://…")
    port = 443 if port is None else port
    if port not in PORTS or parts.netloc.endswith(":"):
        raise BadUrl("expected port 443 or 8443")
    _check_host(host)
    return Target("https", host, port, path)


def _check_text(url: str) -> None:
    if not url or len(url) > LONGEST_URL:
        raise BadUrl(f"expected a URL of at most {LONGEST_URL} characters")
    if not url.isascii() or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise BadUrl("expected ASCII without spaces: write an international name as xn--…")
    if "\\" in url or "#" in url:
        raise BadUrl("expected no backslash and no fragment (#…)")


def _check_host(host: str) -> None:
    labels = host.rstrip(".").split(".")
    last = labels[-1]
    if host.endswith(".") or is_address(host) or last.isdecimal() or last.startswith("0x"):
        raise BadUrl("expected a name, and not an IP address or a name that ends in a dot")
    if len(host) > 253 or len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)):
        raise BadUrl("expected a whole host name, such as hooks.example.com")
    if last in _LOCAL_NAMES:
        raise BadUrl(f"expected a name of the public internet: .{last} is none")


def is_address(host: str) -> bool:
    """Whether a URL's host is an address, in any of the forms that a resolver takes for one."""
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def is_public(text: str) -> bool:
    """Whether an address, as a look-up gave it, is one of the public internet. A zone (`fe80::1%eth0`) is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if not address.is_global or address.is_multicast or "%" in text:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in block for block in _REFUSED)
    return address in _UNICAST and not any(address in block for block in _REFUSED_V6)
