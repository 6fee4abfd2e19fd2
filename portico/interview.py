"""`portico init`: what only a person knows, asked one by one and looked at at once; what a machine can make."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from portico.checks.settings import NO_SECRET_YET, SERVICES
from portico.cli.findings import Finding, Level, finding, tell
from portico.cli.output import agree, prompt
from portico.env_file import is_misread
from portico.server_urls import (
    has_hidden_password,
    hosts_of,
    user_of,
    with_password,
    without_password,
)
from shared.terminal import say

FIRM: Final = frozenset(
    {
        *("settings", "misread", "url", "stripe-key", "stripe-stand-in", "sendgrid-key"),
        *("database-owner", "database-shared"),
    }
)
"""Findings with which an answer is of no use at all. With any other it may be kept, and what is wrong put right later."""

Look = Callable[[str, Mapping[str, str]], Iterable[Finding]]
"""Looks at the setting of this name among all that are known."""


@dataclass(frozen=True)
class Question:
    """A setting that a person is asked for."""

    name: str
    words: str
    default: str | None = None
    secret: bool = False
    url: bool = False
    """A URL with a user in it, whose password is asked for by itself."""
    optional: bool = False


QUESTIONS: Final = (
    Question("PUBLIC_URL", "Where customers will reach Portico (https://me.example.com)"),
    Question("STRIPE_API_KEY", "Stripe key, sk_… or rk_…", secret=True),
    Question(
        "MODE",
        "observe (takes in and decides everything, mails and charges nobody) or live",
    ),
    Question("SENDGRID_API_KEY", "SendGrid key, SG.…", secret=True),
    Question("MAIL_FROM", "Address that mails come from, verified at SendGrid"),
    Question(
        "SENDGRID_WEBHOOK_PUBLIC_KEY",
        "Verification key of SendGrid's signed Event Webhook (Enter: later)",
        optional=True,
    ),
    Question("AMQP_URI", "RabbitMQ", "amqp://portico@127.0.0.1:5672/portico", url=True),
    *(
        Question(
            f"{service.upper()}_DATABASE_URL",
            f"PostgreSQL database of {service}",
            f"postgresql://{service}@127.0.0.1:5432/{service}",
            url=True,
        )
        for service in SERVICES
    ),
)


def _is_live(key: str) -> bool:
    return key.split("_")[1:2] == ["live"]


def made_by_machine(known: Mapping[str, str]) -> dict[str, str]:
    """The settings that nobody has to think of, those that are known left out. Keys that are there must stay: without them every link,
    and every secret of a host's, is dead."""
    made = {
        "API_ADDRESS": "127.0.0.1:8003",
        "API_MODE": "live" if _is_live(known["STRIPE_API_KEY"]) else "test",
        "STRIPE_WEBHOOK_SECRETS": NO_SECRET_YET + secrets.token_hex(24),
        "PORTAL_LINK_KEYS": secrets.token_hex(32),
        "ADDRESS_HASH_KEY": secrets.token_hex(32),
        "HOOK_KEYS": secrets.token_hex(32),
    }
    return {name: value for name, value in made.items() if not known.get(name)}


MADE: Final = tuple(made_by_machine({"STRIPE_API_KEY": ""}))
"""Their names."""


@dataclass
class Interview:
    """Asks the questions. `known` is what the environment, or the file that is changed, says already."""

    look: Look
    known: dict[str, str]
    before: Mapping[str, str] = field(default_factory=dict)
    """What the file that is changed says, as far as no option says it."""
    elsewhere: Collection[str] = ()
    """Settings that the file takes from files of their own: nobody is asked for them, and they stay there."""
    answers: dict[str, str] = field(default_factory=dict)
    troubles: list[Finding] = field(default_factory=list)
    """What speaks against the answers that nobody was asked about."""
    _causes: set[str] = field(default_factory=set)
    """What is wrong with other settings, as it was told of one that can't be looked at for it."""

    def by_asking(self) -> dict[str, str]:
        """Every answer, from a terminal; each is asked until it is good, or kept knowingly."""
        for question in QUESTIONS:
            if question.name in self.elsewhere:
                say(f"{question.name} stays in the file that {question.name}_FILE names.")
                self.answers[question.name] = self.known[question.name]
                list(self._look_at(question, self.known[question.name]))
                continue
            default = self._default(question)
            while True:
                answer = self._ask(question, default)
                if not answer and not question.optional:  # blanks alone
                    tell(_unset(question))
                    continue
                bad = list(self._look_at(question, answer))
                if not bad:
                    break
                if any(one.code in FIRM for one in bad):
                    continue
                default = answer
                if agree("Keep it all the same, and put this right later? (No asks once more)"):
                    break
            self.answers[question.name] = answer
        return self.answers

    def without_asking(self) -> dict[str, str]:
        """The same from what is known alone; `troubles` has what a person would have been asked about."""
        for question in QUESTIONS:
            answer = self._default(question)
            if answer is None:
                if not question.optional:
                    self.troubles.append(_unset(question))
                    tell(self.troubles[-1])
                continue
            self.troubles += self._look_at(question, answer, once=True)
            self.answers[question.name] = answer
        return self.answers

    def is_of_other_mode(self) -> bool:
        """Whether the key is live and that of the file that is changed is a test key, or the other way round."""
        old, new = self.before.get("STRIPE_API_KEY"), self.answers.get("STRIPE_API_KEY")
        return bool(old and new) and _is_live(old or "") != _is_live(new or "")

    def outdated(self) -> set[str]:
        """What went with a key of the other mode: asked for, or made, anew."""
        if not self.is_of_other_mode():
            return set()
        return {
            name
            for name in ("MODE", "API_MODE")
            if name not in self.elsewhere and self.known.get(name) == self.before.get(name)
        }

    def _default(self, question: Question) -> str | None:
        """What is there, or what is usual."""
        there = self.known.get(question.name)
        if there and question.name not in self.outdated():
            return there
        if question.name == "MODE":
            return "observe" if _is_live(self.answers.get("STRIPE_API_KEY", "")) else "live"
        if question.name in ("BILLING_DATABASE_URL", "NOTIFIER_DATABASE_URL"):
            return _beside(self.answers.get("PORTAL_DATABASE_URL"), question)
        return question.default

    def _ask(self, question: Question, default: str | None) -> str:
        if question.url:
            return _ask_url(question, default)
        hidden = " (it is not shown)" if question.secret else ""
        there = " [Enter: the one that is there]" if question.secret and default else ""
        if default is None and question.optional:
            default = ""
        return prompt(question.words + hidden + there, default, hidden=question.secret)

    def _look_at(self, question: Question, answer: str, *, once: bool = False) -> Iterator[Finding]:
        """Tell what is seen of an answer; gives what speaks against it. `once`: another setting, for which this one can't be looked at, is
        told the first time alone."""
        if not answer and question.optional:
            return
        if is_misread(answer) and question.name not in self.elsewhere:
            found: Iterable[Finding] = [
                finding(
                    "settings",
                    "misread",
                    f"{question.name} has a character that not everything that reads env files takes as it stands",
                    "without quotes, backslashes, $ and a space before #; in a URL write them as %24 and the like",
                )
            ]
        else:
            found = self.look(question.name, {**self.known, **self.answers, question.name: answer})
        for one in found:
            cause = one.text.partition(": ")[2] if one.code == "settings-beside" else ""
            if not (once and cause and cause in self._causes):
                tell(one)
            self._causes.add(cause)
            if one.level in (Level.FINDING, Level.UNKNOWN):
                yield one


def _unset(question: Question) -> Finding:
    return finding("settings", "settings", f"{question.name} is not set", question.words)


def _ask_url(question: Question, default: str | None) -> str:
    """A URL and its password, which is not shown."""
    if default and has_hidden_password(default):
        words = f"{question.words}, the whole URL (it is not shown) [Enter: the one that is there]"
        return prompt(words, default, hidden=True)
    shown, there = without_password(default or "")
    typed = prompt(question.words, shown or None)
    bare, typed_password = without_password(typed)
    user = user_of(typed)
    if typed_password or not user or has_hidden_password(typed):
        return typed
    same = there if bare == shown else ""
    enter = "the one that is there" if same else "none"
    password = prompt(
        f"Password of {user} (it is not shown) [Enter: {enter}]", default="", hidden=True
    )
    if not password:
        return default if same and default else typed
    return with_password(typed, password)


def _beside(portal: str | None, question: Question) -> str | None:
    """The usual URL of a database, on the server where the portal's is."""
    if portal is None or question.default is None or not portal.startswith("postgres"):
        return question.default
    return question.default.replace("127.0.0.1:5432", hosts_of(portal))
