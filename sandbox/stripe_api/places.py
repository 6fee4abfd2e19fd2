"""Where an object lives: in one account, in one mode."""

from __future__ import annotations

from typing import Final, NamedTuple

ACCOUNT: Final = "acct_1PorticoSandbox00"
"""The account that is there from the start. It is also the platform to which others are connected."""


class Place(NamedTuple):
    """An account in test or live mode. What is in one place is invisible from every other."""

    account: str
    livemode: bool = False

    @property
    def mode(self) -> str:
        """`test` or `live`."""
        return "live" if self.livemode else "test"

    @property
    def namespace(self) -> str:
        """What tells this place's rows from others' in the state file; empty for the one there always was."""
        if self.livemode:
            return f"{self.account}/live"
        return "" if self.account == ACCOUNT else self.account

    @property
    def is_platform(self) -> bool:
        """Whether this account is the platform, in whichever mode."""
        return self.account == ACCOUNT

    @classmethod
    def parse(cls, namespace: str) -> Place:
        """The place behind a namespace."""
        account, _, mode = namespace.partition("/")
        return cls(account or ACCOUNT, mode == "live")

    @property
    def prefix(self) -> str:
        """What the addresses of this place's pages begin with; empty for the one there always was."""
        return f"/{self.account}/{self.mode}" if self.namespace else ""


OWN: Final = Place(ACCOUNT)
