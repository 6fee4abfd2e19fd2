"""Which of the emails that were not sent are to go after all: read from a file, and given to the notifier."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from portico.cli.rpc import Caller, ask, read
from shared.contracts.rpc import notifier

PORTION: Final = 200
"""Emails of one call."""
AT_ONCE: Final = 20
"""Calls under way at a time."""
ID: Final = re.compile(r"ntf_[\w-]{1,36}")


class BadList(Exception):
    """The file names no emails; the text says why and what to do."""


class _Row(msgspec.Struct):
    notification_id: str


class _Preview(msgspec.Struct):
    """What `portico preview --json` writes, as far as it is read."""

    notifications: list[_Row]


def read_ids(path: Path) -> list[str]:
    """The ids of emails in a file that `portico preview --json` wrote, or that has an id a line (lines that begin with # are skipped);
    each once. Raises BadList."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise BadList(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadList(f"{path}: it is not text") from None
    if text.lstrip().startswith("{"):
        try:
            ids = [
                one.notification_id
                for one in msgspec.json.decode(text, type=_Preview).notifications
            ]
        except msgspec.MsgspecError as error:
            raise BadList(
                f"{path}: it is not what `portico preview --json` writes: {error}"
            ) from None
    else:
        lines = (line.strip() for line in text.splitlines())
        ids = [line for line in lines if line and not line.startswith("#")]
    for number, id in enumerate(ids, 1):
        if not ID.fullmatch(id):
            raise BadList(
                f"{path}: {id[:40]!r}, number {number} in it, is not an email's id (ntf_…): expected one a line"
            )
    if not ids:
        raise BadList(f"{path}: it names no email")
    return list(dict.fromkeys(ids))


@dataclass(frozen=True)
class Chosen:
    """What a person has chosen of what was observed."""

    offered: Mapping[str, bool]
    """The emails that were observed, by id; whether nothing is owed any more."""
    ids: Sequence[str]
    """Those that are to go."""
    before: Sequence[str] = ()
    """Those that were chosen and that a person wanted before: they are not sent twice."""
    wrong: Mapping[str, str] = field(default_factory=dict)
    """Those that can't go, and why."""

    @property
    def over(self) -> int:
        """Of how many nothing is owed any more: looked at again, they are not sent."""
        return sum(self.offered[id] for id in self.ids)


def choose(call: Caller, offered: Mapping[str, bool], wanted: Iterable[str] | None) -> Chosen:
    """What of the offered emails of a business is to go: those that are wanted, or all (None). What is wanted and not offered is looked
    up one by one. Raises Fault, Unavailable."""
    if wanted is None:
        return Chosen(offered, list(offered))
    ids: list[str] = []
    others: list[str] = []
    for id in wanted:
        (ids if id in offered else others).append(id)
    reasons = _why_not(call, others)
    before = [id for id, reason in reasons.items() if reason is None]
    wrong = {id: reason for id, reason in reasons.items() if reason is not None}
    return Chosen(offered, ids, before, wrong)


def _why_not(call: Caller, ids: Sequence[str]) -> dict[str, str | None]:
    """Why each of these is not offered, in words; None: it was accepted before."""
    found: dict[str, str | None] = {}
    for portion in batched(ids, AT_ONCE):
        calls = [call.send("notifier", "story", notification_id=id) for id in portion]
        for id, call_id in zip(portion, calls, strict=True):
            steps = {step.step for step in read(notifier.STORY, call.wait(call_id)).steps}
            if "accepted" in steps:
                found[id] = None
            elif not steps:
                found[id] = "no such email is known"
            elif "observed" in steps:
                found[id] = "it is another business's"
            else:
                found[id] = "it was not observed"
    return found


def accept(call: Caller, ids: Sequence[str]) -> Iterator[int]:
    """Let these go out, a portion at a time; how many of each were not accepted before. Raises Fault, Unavailable."""
    for portion in batched(ids, PORTION):
        told = ask(call, notifier.ACCEPT_OBSERVED, notification_ids=list(portion))
        yield sum(one.accepted for one in told)


def batched(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The ids in portions."""
    return (ids[start : start + size] for start in range(0, len(ids), size))
