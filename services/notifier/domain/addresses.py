"""How an address that takes no mail is remembered: never itself, only under hashes that know it again
(docs/adr/0018-addresses-under-a-keyed-hash.md)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass


def address_hash(address: str) -> str:
    """SHA-256 of an address, trimmed and in lower case, as hexadecimal. Addresses can be guessed, and so can this be undone:
    what is kept must be keyed."""
    return hashlib.sha256(address.strip().lower().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AddressHash:
    """An address by its hashes."""

    plain: str
    """`address_hash`. Processes of the release before know no other, so it is still written and read beside `keyed`; the
    next release does neither."""
    keyed: tuple[str, ...]
    """HMAC-SHA256 under each key, the newest key first; empty without a key."""

    @property
    def newest(self) -> str | None:
        """The keyed hash to write; None without a key."""
        return self.keyed[0] if self.keyed else None


class AddressHasher:
    """Hashes addresses under keys: the first is used for what is written, all for what is looked up."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    @property
    def has_keys(self) -> bool:
        """Is there a key at all? Without one only plain hashes are made."""
        return bool(self._keys)

    def __call__(self, address: str) -> AddressHash:
        """The hashes of an address, whatever its case."""
        return self.of_plain(address_hash(address))

    def of_plain(self, plain: str) -> AddressHash:
        """The hashes of an address of which only the plain hash is known. The keyed ones are made from it, so that no row
        of the time before keys has to be given up."""
        return AddressHash(
            plain, tuple(hmac.digest(key, plain.encode(), "sha256").hex() for key in self._keys)
        )
