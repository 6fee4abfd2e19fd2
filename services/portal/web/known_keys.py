"""Keys of the HTTP API that were good a moment ago. Looking one up is a transaction of its own, which costs as much as a small request."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from services.portal.domain.api_keys import Credential

KNOWN_SECONDS: Final = 5.0
"""How long a key that was found good is taken for it: so long a key may be used after it was revoked at another process, or after its
end. `docs/operations.md` and `portico keys revoke` say so."""
MOST_KNOWN: Final = 1000


class KnownKeys:
    """What this process knows of keys, by their digests. Bad ones are looked up each time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[Credential, float]] = {}

    def credential(
        self, digest: str, look_up: Callable[[str], Credential | None]
    ) -> Credential | None:
        """Whose key it is; None: nobody's. Asks `look_up` where it isn't known. Raises what that does."""
        now = self._clock()
        found = self._known.get(digest)
        if found is not None and now < found[1]:
            return found[0]
        self._known.pop(digest, None)
        credential = look_up(digest)
        if credential is not None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[digest] = credential, now + KNOWN_SECONDS
        return credential

    def forget(self) -> None:
        """Look each up again."""
        self._known.clear()
