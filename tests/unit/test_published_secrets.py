"""What stands in this repository is no secret: the list of such values has none too few."""

from __future__ import annotations

import re
import secrets
import subprocess
from functools import cache
from pathlib import Path

import pytest

from shared.known_secrets import is_guessable, is_published

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_READ = re.compile(
    r"\.(png|svg|ico|pot?|lock)$|^requirements.*\.txt$|^shared/known_secrets\.py$"
)

RANDOM = {
    "a webhook secret": re.compile(r"\b(whsec_\w{10,})"),
    "a link key or one like it": re.compile(
        r"\b(?:PORTAL_LINK_KEYS|ADDRESS_HASH_KEY|\w*_WEBHOOK_SECRETS?)[\"']?\s*[=:]\s*[\"']?(?!/)([\w+/=-]{16,})"
    ),
    "a long random text": re.compile(r"[\"'](?=(?:[A-Za-z+=_-]*\d){4})([A-Za-z0-9+=_-]{32,})[\"']"),
}
"""What a service wants random: a guessable one is refused without standing on the list."""
OTHERS = {
    "a Stripe key": re.compile(r"\b((?:sk|rk)_(?:test|live)_\w{8,})"),
    "a SendGrid key": re.compile(r"\b(SG\.[\w-]{4,}\.[\w-]{4,})"),
    "a public key of SendGrid's": re.compile(r"\b(MF[kE][\w+/]{100,}={0,2})"),
    "a password in a URL": re.compile(
        r"\b(?:amqps?|pyamqp|postgres(?:ql)?(?:\+psycopg2)?)://[\w.-]+:([\w.~%-]+)@"
    ),
    "a password": re.compile(r"(?i)\bpass(?:word)?[\"']?(?:=|: +)[\"']?([\w~%-]{6,})(?![\w.(])"),
}


@cache
def candidates() -> list[tuple[str, str, str]]:
    """(place, what it looks like, text) of everything in the repository that has a secret's shape."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = []
    for name in listed:
        path = REPOSITORY / name
        if NOT_READ.search(name) or not path.is_file():
            continue
        for number, line in enumerate(path.read_text("utf-8", errors="ignore").splitlines(), 1):
            for shape, pattern in {**RANDOM, **OTHERS}.items():
                found += [(f"{name}:{number}", shape, text) for text in pattern.findall(line)]
    return found


@pytest.mark.whole
def test_what_looks_like_a_secret_here_is_known_to_everybody() -> None:
    """Every usable secret in the repository is refused by name, or because it can be guessed."""
    missing = {
        text: f"{place}: {shape}: {text}"
        for place, shape, text in candidates()
        if not is_published(text) and not (shape in RANDOM and is_guessable(text))
    }
    assert not missing, "not in shared/known_secrets.py:\n" + "\n".join(missing.values())


@pytest.mark.whole
def test_the_scan_sees_secrets_of_each_kind() -> None:
    """It would see one that somebody writes down tomorrow: each shape is found where such values stand today."""
    seen = {(place.split(":")[0], shape) for place, shape, _ in candidates()}
    for place, shape in (
        ("compose.yaml", "a webhook secret"),
        ("compose.yaml", "a link key or one like it"),
        ("compose.yaml", "a Stripe key"),
        ("compose.yaml", "a SendGrid key"),
        ("compose.yaml", "a password in a URL"),
        ("deploy/k8s/components/dev-secrets/kustomization.yaml", "a password"),
        ("deploy/k8s/components/dev-secrets/kustomization.yaml", "a link key or one like it"),
    ):
        assert (place, shape) in seen


@pytest.mark.parametrize(
    "secret",
    [
        "k" * 40,
        "password" * 6,
        "change-me-change-me-change-me-chan",
        "0123456789abcdef" * 4,
        "ab" * 9,
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "whsec_9876543210zyxwvutsrq",
    ],
)
def test_a_regular_key_can_be_guessed(secret: str) -> None:
    """Few characters, one part over and over, or characters in their order are no random key."""
    assert is_guessable(secret)


def test_random_keys_are_not_taken_for_guessable_ones() -> None:
    """What `openssl rand -hex 32`, our own generators and Stripe make passes, a thousand times each."""
    for _ in range(1000):
        for made in (
            secrets.token_hex(32),
            secrets.token_urlsafe(32),
            f"whsec_{secrets.token_hex(24)}",
            f"whsec_{secrets.token_urlsafe(24)}",
        ):
            assert not is_guessable(made)
