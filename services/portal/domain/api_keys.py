"""Keys of the HTTP API: how one looks, and what tells a mangled one from one that may be ours.

`portico_<mode>_` + 30 random characters of base62 (178 bits) + 6 of their CRC32, as GitHub's keys are built: secret scanners
know one by its form, and what has another form is refused without a query. The mode, `live` or `test`, keeps a key of one
installation from another of the other mode.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from typing import Final

MODES: Final = ("live", "test")
BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH: Final = 30
CHECKSUM_LENGTH: Final = 6
MOST_AT_ONCE: Final = 2
"""Keys of one name and owner that are good at a time: the present one and, while a host changes over, the next."""

_FORM: Final = re.compile(
    rf"portico_(live|test)_([0-9A-Za-z]{{{RANDOM_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class Credential:
    """A key that is good: whose it is and what it may do."""

    key_id: str
    business_id: str | None
    """The host's own id of the one business that it is for; None: the whole installation."""
    scopes: frozenset[str]


def new_key(mode: str) -> str:
    """A key that nobody has."""
    body = "".join(secrets.choice(BASE62) for _ in range(RANDOM_LENGTH))
    return f"portico_{mode}_{body}{checksum(body)}"


def new_key_id() -> str:
    """What names a key without being it."""
    return "key_" + "".join(secrets.choice(BASE62) for _ in range(16))


def checksum(body: str) -> str:
    """The CRC32 of a key's random part, in base62."""
    left, digits = zlib.crc32(body.encode("ascii")), ""
    while left:
        left, digit = divmod(left, 62)
        digits = BASE62[digit] + digits
    return digits.rjust(CHECKSUM_LENGTH, BASE62[0])


def is_well_formed(key: str, mode: str) -> bool:
    """Whether a text can be a key of an installation of this mode."""
    found = _FORM.fullmatch(key)
    return found is not None and found[1] == mode and checksum(found[2]) == found[3]


def digest(key: str) -> str:
    """What is stored of a key. One of 178 random bits needs no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def hint(key: str) -> str:
    """How a key begins and ends, for people who have several."""
    return f"{key[: key.rindex('_') + 1]}…{key[-4:]}"
