"""What can be read of the SendGrid account: for `portico doctor`, and for which addresses may be used as senders."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
import urllib3

from services.notifier.adapters.sendgrid.gateway import ANSWER_SECONDS, CONNECT_SECONDS
from services.notifier.adapters.sendgrid.sender_domains import Unreadable, is_of
from shared.http_client import HttpPool
from shared.text import decode_json

LOOK_SECONDS: Final = (2.0, 3.0)
"""To connect and to wait for an answer, while an email waits."""
PAGE: Final = 50
MOST_PAGES: Final = 100
"""More than the 3,000 domains that SendGrid lets one account have."""

WORDS: Final = frozenset(
    ["v3", "scopes", "verified_senders", "whitelabel", "domains", "tracking_settings", "click"]
)
"""The parts of its paths, for traces."""

Shape = TypeVar("Shape")


class SendGridTrouble(Unreadable):
    """SendGrid did not answer a question about the account; `refused` says that our key is the reason."""

    def __init__(self, text: str, *, refused: bool) -> None:
        super().__init__(text)
        self.refused = refused


class _Scopes(msgspec.Struct):
    scopes: list[str] = []


class _Sender(msgspec.Struct):
    from_email: str = ""
    verified: bool = False


class _Senders(msgspec.Struct):
    results: list[_Sender] = []


class _Domain(msgspec.Struct):
    domain: str = ""
    valid: bool = False


class _Click(msgspec.Struct):
    enabled: bool = False


class SendGridAccount:
    """What can be read of the SendGrid account, for `portico doctor`. Raises SendGridTrouble."""

    def __init__(
        self,
        api_key: str,
        api_base: str,
        timeouts: tuple[float, float] = (CONNECT_SECONDS, ANSWER_SECONDS),
    ) -> None:
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._pool = HttpPool(api_base, words=WORDS, connections=1, timeouts=timeouts)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def scopes(self) -> set[str]:
        """What the key may do, such as `mail.send` (docs: GET /v3/scopes)."""
        return set(self._get("scopes", _Scopes).scopes)

    def may_send_from(self, address: str) -> bool:
        """Whether the address is a verified sender, or of a domain that is authenticated."""
        senders = self._get("verified_senders", _Senders).results
        if any(one.verified and one.from_email.lower() == address.lower() for one in senders):
            return True
        return is_of(address, self.authenticated_domains())

    def authenticated_domains(self) -> frozenset[str]:
        """The domains in lower case whose records SendGrid has found right (docs: GET /v3/whitelabel/domains)."""
        seen: set[str] = set()
        valid: set[str] = set()
        for page in range(MOST_PAGES):
            query = f"limit={PAGE}&offset={page * PAGE}"
            found = self._get(f"whitelabel/domains?{query}", list[_Domain])
            names = {one.domain.lower() for one in found}
            valid |= {one.domain.lower() for one in found if one.valid and one.domain}
            if len(found) < PAGE or names <= seen:
                break
            seen |= names
        return frozenset(valid)

    def click_tracking(self) -> bool:
        """Whether the account rewrites links by default. Our messages say no each; others' may not."""
        return self._get("tracking_settings/click", _Click).enabled

    def _get(self, path: str, shape: type[Shape]) -> Shape:
        try:
            answer = self._pool.get(f"/v3/{path}", self._headers)
        except urllib3.exceptions.HTTPError as error:
            raise SendGridTrouble(
                f"no answer from SendGrid: {type(error).__name__}", refused=False
            ) from None
        if answer.status in (401, 403):
            raise SendGridTrouble(
                f"{answer.status} from SendGrid for /v3/{path.partition('?')[0]}", refused=True
            )
        if answer.status != 200:
            raise SendGridTrouble(f"{answer.status} from SendGrid", refused=False)
        try:
            return decode_json(msgspec.json.Decoder(shape), answer.data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise SendGridTrouble("an answer that can't be read", refused=False) from None
