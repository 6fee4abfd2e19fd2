"""Where a webhook may go: nowhere but into the public internet."""

from __future__ import annotations

import socket

import pytest

from services.notifier.adapters.hosts.caller import HostCaller, look_up
from services.notifier.domain.hook_addresses import BadUrl, Target, is_public, read_url

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.8.9.10",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.1.2.3",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "::8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "localhost",
    "1",
    "nonsense",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_not_called(address: str) -> None:
    """Private, special, mapped and translated ranges are refused, and so is a name that leads there, before a packet leaves."""
    assert not is_public(address)
    caller = HostCaller(look_up=lambda host, port: ["8.8.8.8", address])
    answer = caller.post(Target("https", "hooks.example.com", 443, "/"), b"{}", {})
    assert (answer.status, answer.error) == (None, "refused_address")


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_public_internet_is_called(address: str) -> None:
    """Neighbours of the refused ranges are none."""
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "https://hooks.example.com:80/",
        "https://hooks.example.com:22/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:65536/",
        "https://hooks.example.com:/",
        "https://user@hooks.example.com/",
        "https://user:secret@hooks.example.com/",
        "https://@hooks.example.com/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com#@127.0.0.1/",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nHost: inside",
        "https://hooks.example.com/\x00",
        "https://hooks.example.com./",
        "https://8.8.8.8/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://017700000001/",
        "https://[::1]/",
        "https://[2606:4700:4700::1111]/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://localhost/",
        "https://portal/",
        "https://portal.default.svc.cluster.local/",
        "https://metadata.google.internal/",
        "https://router.lan/",
        "https://büro.example/",
        "https://ex_ample..com/",
        "https://-a.example.com/",
        "https://" + "a." * 130 + "com/",
        "https://hooks.example.com/" + "a" * 2000,
        "http://localhost:3000/",
    ],
)
def test_a_url_that_leads_elsewhere_is_refused(url: str) -> None:
    """Whatever another parser would make of it."""
    with pytest.raises(BadUrl):
        read_url(url)


def test_a_good_url_is_taken_apart() -> None:
    """Path and query go out as they stand; the name is in lower case, and the port only where it is not the usual one."""
    assert read_url("https://Hooks.Example.com/portico?k=1") == Target(
        "https", "hooks.example.com", 443, "/portico?k=1"
    )
    assert read_url("https://hooks.example.com").path == "/"
    assert read_url("https://hooks.example.com:8443/").netloc == "hooks.example.com:8443"


def test_loopback_is_open_where_the_setting_opens_it() -> None:
    """Of this machine alone: nothing else becomes reachable."""
    assert read_url("http://localhost:3000/x", loopback=True).port == 3000
    for url in ("http://hooks.example.com/", "http://127.0.0.2/", "https://10.0.0.1/"):
        with pytest.raises(BadUrl):
            read_url(url, loopback=True)
    caller = HostCaller(loopback=True, look_up=lambda host, port: ["10.0.0.1"])
    answer = caller.post(Target("http", "localhost", 80, "/"), b"", {})
    assert answer.error == "refused_address"


def test_a_name_that_nobody_knows_is_a_failed_attempt() -> None:
    """It may be known tomorrow."""

    def nobody(host: str, port: int) -> list[str]:
        raise socket.gaierror

    target = Target("https", "hooks.example.com", 443, "/")
    assert HostCaller(look_up=nobody).post(target, b"", {}).error == "unknown_host"
    assert HostCaller(look_up=lambda host, port: []).post(target, b"", {}).error == "unknown_host"


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("hooks.example.com", "hooks.example.com."),
        ("kubernetes.default", "kubernetes.default."),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_name_is_never_one_of_the_cluster(
    monkeypatch: pytest.MonkeyPatch, host: str, asked: str
) -> None:
    """The resolver is asked for the name as it is, and not with its own domains behind it; this machine by the name that it has."""
    names: list[str] = []

    def resolver(name: str, port: int, **_: object) -> list[object]:
        names.append(name)
        return [(0, 0, 0, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    assert look_up(host, 443) == ["192.0.2.1"]
    assert names == [asked]
