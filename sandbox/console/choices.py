"""The buttons on a customer's card: which there are for somebody who stands as they do, and in which group."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.console import business, charges, methods
from sandbox.console.actions import Action
from sandbox.console.people import Standing

ACTIONS: dict[str, Action] = {
    "decline": charges.decline,
    "charge": charges.charge,
    "expire": charges.expire,
    "retry": charges.retry,
    "settle": charges.settle,
    "card": methods.card,
    "bank": methods.bank,
    "empty-bank": methods.empty_bank,
    "credit": business.credit,
    "credit-half": business.credit_half,
    "stop": business.stop_collecting,
    "collect": business.collect_again,
    "coupon": business.coupon,
    "pause": business.pause,
    "resume": business.resume,
    "cancel": business.cancel,
}
"""By the last part of a button's address."""


@dataclass(frozen=True)
class Button:
    """One action on offer; ``style`` is a class of the button's."""

    action: str
    label: str
    style: str = ""


@dataclass(frozen=True)
class Group:
    """Actions of one kind."""

    title: str
    buttons: tuple[Button, ...]


def first(now: Standing) -> tuple[Button, ...]:
    """What leads on in the story that everybody begins with."""
    buttons = []
    if now.method:
        buttons += [
            Button("decline", "Decline the next charge", "danger"),
            Button("charge", "Charge now"),
        ]
    if now.settles_at:
        buttons.append(Button("settle", "Run the clock to the bank’s answer"))
    if now.next_retry:
        buttons.append(Button("retry", "Run the clock to the next retry"))
    return tuple(buttons)


def more(now: Standing) -> tuple[Group, ...]:
    """Everything else, by what it concerns."""
    groups = [
        Group(
            "Pays with",
            (
                Button("card", "A new card"),
                Button("bank", "A bank account"),
                Button("empty-bank", "A bank account that fails later"),
                *((Button("expire", "Expire the card"),) if now.method == "card" else ()),
            ),
        )
    ]
    if now.owes:
        groups.append(
            Group(
                "What is open",
                (
                    Button("credit", "Forgive all"),
                    Button("credit-half", "Forgive half"),
                    Button("stop", "Stop collecting")
                    if now.collected
                    else Button("collect", "Collect again"),
                ),
            )
        )
    if now.autopay:
        groups.append(
            Group(
                "Subscription",
                (
                    Button("coupon", "Half price"),
                    Button("resume", "Resume") if now.paused else Button("pause", "Pause"),
                    Button("cancel", "Cancel now", "danger"),
                ),
            )
        )
    return tuple(groups)
