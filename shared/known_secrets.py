"""Secrets that are none: printed in this repository, or so regular that they can be guessed.

They are for a laptop. A service whose customers come from elsewhere does not start with one (`shared.settings`).
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Final

LEAST_CHARACTERS: Final = 12
"""Different characters in a random key: `openssl rand -hex 32` has sixteen, a word repeated has few."""

PUBLISHED: Final = frozenset(
    [
        "0957cbe048bcbf894e50b3cd7b6600a7b4d129cae021e1b9dec8af499dd632d8",
        "0be64ae89ddd24e225434de95d501711339baeee18f009ba9b4369af27d30d60",
        "0d344aeddafa2549a8940efd6979f2f3310d25c1479cbee5a8057eb08d4410e1",
        "0d4f579411bfdaaab13a1734c3ce3142d7f4915b12b649f853cd37011dead3b6",
        "0f49c52ed4c9ab40275837d45a7888dda68c880e547f72cae91a6a4ec754d2f4",
        "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940",
        "15b69cf3d1f9754ff698f25c2df52af986bb8dc50763dc027d7b65a77f797e1c",
        "178ebe9fd16964b9bba67b6ead2a3d1d4eac6b885b9e3bf16736ecf953444c74",
        "1ef6572bc9c892b1e9b8d38856de6d8c709187371b2726efb72a3f694ad55844",
        "2322e80512cde05f0ef8459dcacb02476e1828031709592ab48ea5587e7bc4af",
        "269dccbd0e3fa4414d4206cf3792a15b496a7307708bb43321b7f9ebcd9b4118",
        "296307baf66bdaff74738b6044d16a5d83c316135ce52b9abe7f8f3193a77d9a",
        "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
        "2cafc0970149a84f3b9e62eaf169f36f59907a3b3e31f7b82e68c69cd27f7326",
        "3330dac1e03f980d3a14e3798dc062ac16d05dc2936d2abb572dbbc394ced4b1",
        "3c9387846baef168bf490cacaaed24e6d2b49dab47c4f7e77f2d21054c078d87",
        "44b561823c56aa9b8ba92d9b6b50888f48b596510025cb4000900a7608eb55ae",
        "5d7f7c1f3d86d052981c3c88f61e623a3367f0ff4ed3ee4817ad9aeaf9d3eaed",
        "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        "652f30f912fd5af3c82e01dd0b216abb46c6a0da32c02188de44f1d656a7a8a2",
        "688b50f8aeb7a0660d3ace6e95843ee313de44235ebcd5c998b710a9fd6731f7",
        "6f752b7237c6e81c9f1fdf06e58fb8ed22cbe0f51ef7eeb5a4b8dd0003d089af",
        "6f844cee547b84cae7346b8fb001fd100e749a3dce693245ad21102d9061362a",
        "72b27b47fe7f73b2d3676dd6456e259a16cb5c3b008ac8e5e2c9de74d3749bc6",
        "83482215a562829f356cbab793a2370683cb8ed4dc70a4411fdc44a8e1dc9706",
        "84983c60f7daadc1cb8698621f802c0d9f9a3c3c295c810748fb048115c186ec",
        "875b9380866e9d56e7110b0ee310962c16d9d4ae103f829d62bdffd2cbe7c61d",
        "8f37daacffbd238bdae0df12674001f8f6ed196115a922e8fbc5b5720fd803f8",
        "99362ffcd218549fb5387e8e002a015c142a637e434c94c381b4802b00d7eafb",
        "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f",
        "a58bba2cc561bddbc30505632528c8aec0c367b859555462f52fe4476dc4d4bb",
        "a672f0c35d2230090864401e8244b99b696debb5afd3061272ef756b5a4cb108",
        "a81648b5e093b240516fe6c6a47e3c92b92a8c828ed1ee588445c41d5063c95a",
        "b34b808200c5241f6b49a006be3e56b766acb35231f8984540bb26a9e798d106",
        "b75b147312eec7cf934c772923fd317579b6476ac613af431fccc19b38a336e6",
        "c8db06a9de42b823f2f2f83bc998d810df3dda56fa28718da512cdf63828d1fb",
        "da53422a4618735f8ae72abdb21c16d340849b1a510ef20768b131171f8f7122",
        "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7",
        "fa0eb8fc3c15e63ce1480303d9584e01888b6c6c3965e47a0d724801525a0374",
    ]
)
"""SHA-256 of every usable secret in README, docs, manifests, examples and tests. `tests/unit/test_published_secrets.py`
finds those that are missing; `python -c 'from shared.known_secrets import fingerprint as f; print(f("…"))'` makes a line."""


def fingerprint(secret: str) -> str:
    """How `PUBLISHED` names a secret: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_published(secret: str) -> bool:
    """Does everybody know it who has read this repository?"""
    return fingerprint(secret) in PUBLISHED


def is_guessable(secret: str) -> bool:
    """Is it too regular for a random one: few different characters, one part over and over, or mostly `abc` and `321`?"""
    repeated = any(secret[size:] == secret[:-size] for size in range(1, len(secret) // 2 + 1))
    steps = sum(abs(ord(one) - ord(next_)) <= 1 for one, next_ in pairwise(secret))
    return repeated or len(set(secret)) < LEAST_CHARACTERS or 2 * steps >= len(secret)
