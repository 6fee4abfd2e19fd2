"""Read a process's settings from the environment, and refuse to start with one message that names every wrong one.

A setting ``NAME`` is read from the variable ``NAME``, or, for secrets that an orchestrator mounts, from the
file that ``NAME_FILE`` names. Both at once is an error: which of them is stale, nobody can know.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import SplitResult, unquote, urlsplit

from shared.known_secrets import is_guessable, is_published

T = TypeVar("T")


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED: Final[Any] = _Required()
"""The default of a setting that has none."""

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
ADDRESS = re.compile(r"^[^\s:]+:\d{1,5}$")
PAIR = re.compile(
    r"^[ \t]*[\w.!#$%&'*+^`|~-]+[ \t]*=[\x20\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$", re.ASCII
)
"""A header as OpenTelemetry writes one: any printable characters but `"`, `,`, `;` and a backslash."""


UNREADABLE: Final = (
    "can't be read as a URL: in a password write # as %23, / as %2F, @ as %40, [ as %5B"
)


class SettingsError(Exception):
    """The settings are wrong, by themselves or for the place they are in (an address that is taken, another service's
    database). The text lists each one, what is wrong with it and what it should look like."""


class Secret:
    """A value that never shows itself: `repr`, `str` and logs give ``***``; `reveal()` gives the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def is_loopback(url: str) -> bool:
    """Does the URL lead to the machine that reads it, and no further?"""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split(url: str, *, port: bool = False) -> SplitResult:
    """Raises ValueError, without the text that urlsplit's quotes: a password may be in it. `port`: it is looked at, too."""
    try:
        parts = urlsplit(url)
        if port:
            _ = parts.port
    except ValueError:
        raise ValueError(UNREADABLE) from None
    return parts


class Reader:
    """Reads settings one by one, collects what is wrong, and tells all of it in `done`.

    Every method takes the variable's `meaning` and an `example`: they are the error message. A setting that is
    wrong reads as None until `done` raises.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []
        self._secrets: dict[str, tuple[Secret, ...]] = {}
        self._random: set[str] = set()

    def _read(
        self, name: str, parse: Callable[[str], T], default: Any, meaning: str, example: str
    ) -> T:
        """The parsed value, or `default`; what stands for one with a problem is never seen, as `finish` raises."""
        nothing = cast(T, None)
        text = self._environ.get(name, "")
        file = self._environ.get(f"{name}_FILE", "").strip()
        if file:
            by_file, a_file = f"{name}_FILE", f"/run/secrets/{name.lower()}"
            if text.strip():
                problem = f"and {by_file} are both set: unset one of them"
                self._problem(name, problem, meaning, f"{by_file}={a_file}")
                return nothing
            try:
                text = Path(file).read_text("utf-8-sig")
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is not text"
                self._problem(by_file, f"can't be read: {reason}", meaning, f"{by_file}={a_file}")
                return nothing
            if not text.strip():
                self._problem(by_file, "names an empty file", meaning, f"{by_file}={a_file}")
                return nothing
        if not text.strip():
            if default is REQUIRED:
                self._problem(name, "is not set", meaning, f"{name}={example}")
                return nothing
            return cast(T, default)
        try:
            value = parse(text.strip())
        except ValueError as error:
            where = f"{name} (in the file of {name}_FILE)" if file else name
            self._problem(where, str(error), meaning, f"{name}={example}")
            return nothing
        if isinstance(value, Secret):
            self._secrets[name] = (value,)
        elif isinstance(value, tuple) and all(isinstance(one, Secret) for one in value):
            self._secrets[name] = value
        return value

    def _problem(self, name: str, problem: str, meaning: str, example: str) -> None:
        self._problems.append(f"  {name} {problem}\n      {meaning}; for example {example}")

    def text(self, name: str, *, meaning: str, example: str, default: Any = REQUIRED) -> Any:
        """A plain value."""
        return self._read(name, str, default, meaning, example)

    def secret(
        self, name: str, *, meaning: str, example: str, default: Any = REQUIRED, prefix: str = ""
    ) -> Any:
        """One secret, as a `Secret`. The error never repeats the value."""

        def parse(text: str) -> Secret:
            if not text.startswith(prefix):
                raise ValueError(f"does not start with {prefix!r}")
            return Secret(text)

        return self._read(name, parse, default, meaning, example)

    def secrets(
        self,
        name: str,
        *,
        meaning: str,
        example: str,
        default: Any = REQUIRED,
        min_length: int = 1,
        prefix: str = "",
    ) -> tuple[Secret, ...]:
        """A comma-separated list of at least one secret, each made at random: `refuse_known` refuses a guessable one."""
        self._random.add(name)

        def parse(text: str) -> tuple[Secret, ...]:
            parts = [part.strip() for part in text.split(",") if part.strip()]
            if not parts:
                raise ValueError("is empty")
            for number, part in enumerate(parts, 1):
                entry = f"entry {number} " if len(parts) > 1 else ""
                if len(part) < min_length:
                    raise ValueError(
                        f"{entry}is too short ({len(part)} of at least {min_length} characters)"
                    )
                if not part.startswith(prefix):
                    raise ValueError(f"{entry}does not start with {prefix!r}")
            return tuple(Secret(part) for part in parts)

        return self._read(name, parse, default, meaning, example)

    def url(self, name: str, *, meaning: str, example: str, default: Any = REQUIRED) -> Any:
        """An absolute http(s) URL without a slash at its end."""

        def parse(text: str) -> str:
            parts = _split(text)
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise ValueError("is not a URL that starts with http or https://")
            return text.rstrip("/")

        return self._read(name, parse, default, meaning, example)

    def urls(
        self, name: str, *, meaning: str, example: str, default: Any = REQUIRED
    ) -> tuple[str, ...]:
        """A comma-separated list of http(s) URLs."""

        def parse(text: str) -> tuple[str, ...]:
            parts = [part.strip() for part in text.split(",") if part.strip()]
            for part in parts:
                if _split(part).scheme not in ("http", "https") or not _split(part).netloc:
                    raise ValueError(
                        f"has an entry that does not start with http:// or https://: {part!r}"
                    )
            return tuple(part.rstrip("/") for part in parts)

        return self._read(name, parse, default, meaning, example)

    def integer(
        self,
        name: str,
        *,
        meaning: str,
        default: Any = REQUIRED,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> int:
        """A whole number, bounds included."""

        def parse(text: str) -> int:
            try:
                number = int(text)
            except ValueError:
                raise ValueError(f"is not a whole number: {text!r}") from None
            if minimum is not None and number < minimum:
                raise ValueError(f"is {number}, the least is {minimum}")
            if maximum is not None and number > maximum:
                raise ValueError(f"is {number}, the most is {maximum}")
            return number

        return self._read(
            name, parse, default, meaning, str(default if default is not REQUIRED else 1)
        )

    def fraction(self, name: str, *, meaning: str, default: float) -> float:
        """A number from 0 to 1."""

        def parse(text: str) -> float:
            try:
                number = float(text)
            except ValueError:
                raise ValueError(f"is not a number: {text!r}") from None
            if not 0 <= number <= 1:
                raise ValueError(f"is {number:g}, it must be from 0 to 1")
            return number

        return self._read(name, parse, default, meaning, str(default))

    def pairs(self, name: str, *, meaning: str, example: str) -> Secret:
        """A comma-separated list of `name=value`, as one `Secret`; an empty one when it is not set. The error never
        repeats a value."""

        def parse(text: str) -> Secret:
            for number, part in enumerate(text.split(","), 1):
                if not PAIR.match(part):
                    raise ValueError(f"has an entry that is not name=value: number {number}")
            return Secret(text)

        return self._read(name, parse, Secret(""), meaning, example)

    def boolean(self, name: str, *, meaning: str, default: bool) -> bool:
        """`true`/`false`, `1`/`0`, `yes`/`no`, `on`/`off`."""

        def parse(text: str) -> bool:
            lowered = text.lower()
            if lowered in ("true", "1", "yes", "on"):
                return True
            if lowered in ("false", "0", "no", "off"):
                return False
            raise ValueError(f"is neither true nor false: {text!r}")

        return self._read(name, parse, default, meaning, str(default).lower())

    def choice(
        self, name: str, *, meaning: str, options: tuple[str, ...], default: Any = REQUIRED
    ) -> str:
        """One of a few words."""

        def parse(text: str) -> str:
            if text not in options:
                raise ValueError(f"is {text!r}, it must be one of {', '.join(options)}")
            return text

        return self._read(name, parse, default, meaning, options[0])

    def address(self, name: str, *, meaning: str, default: Any, example: str = "") -> Any:
        """A `host:port` to listen on, or the default, which may be None."""

        def parse(text: str) -> str:
            if not ADDRESS.match(text) or not 0 <= int(text.rsplit(":", 1)[1]) <= 65535:
                raise ValueError(f"is not host:port: {text!r}")
            return text

        return self._read(name, parse, default, meaning, example or default)

    def log_level(self) -> str:
        """`LOG_LEVEL`, in capitals; it may be written in small letters too."""

        def parse(text: str) -> str:
            if text.upper() not in LOG_LEVELS:
                raise ValueError(f"is {text!r}, it must be one of {', '.join(LOG_LEVELS)}")
            return text.upper()

        return self._read(
            "LOG_LEVEL", parse, "INFO", "how much is logged: this, and what is worse", "INFO"
        )

    def http_shared(self) -> bool:
        """`HTTP_SHARED`: whether other processes may listen on the same address."""
        return self.boolean(
            "HTTP_SHARED",
            meaning="whether several processes of this service may listen on the same `HTTP_ADDRESS` on one machine; "
            "the kernel gives each new connection to one of them. Otherwise an address that is taken is an error",
            default=False,
        )

    def amqp_uri(self) -> Secret:
        """`AMQP_URI`: where RabbitMQ is. A `Secret`, since it usually carries a password."""

        def parse(text: str) -> Secret:
            if _split(text, port=True).scheme not in ("amqp", "amqps", "pyamqp", "embedded"):
                raise ValueError("does not start with amqp:// or amqps://")
            return Secret(text)

        return self._read(
            "AMQP_URI",
            parse,
            REQUIRED,
            "the RabbitMQ server",
            "amqp://user:password@rabbitmq:5672/portico",
        )

    def database_url(self, service: str) -> Secret:
        """`<SERVICE>_DATABASE_URL`: a SQLAlchemy database URL, as a `Secret`: PostgreSQL (psycopg2) or, embedded, SQLite. Several hosts may stand in
        it as libpq writes them: `postgresql://user:password@one:5432,two:5432/name?target_session_attrs=read-write`."""

        def parse(text: str) -> Secret:
            if text.startswith("postgres://"):
                text = "postgresql://" + text.removeprefix("postgres://")
            if text.startswith("postgresql://"):
                text = "postgresql+psycopg2://" + text.removeprefix("postgresql://")
            if not text.startswith(("postgresql+psycopg2://", "sqlite://")):
                raise ValueError("is not a postgresql:// URL (or sqlite:// for looking around)")
            # A third of a second of imports, for who has a database.
            from sqlalchemy import make_url
            from sqlalchemy.exc import ArgumentError

            try:
                make_url(url := _hosts_as_query(text))
            except (ValueError, ArgumentError):  # of a port that is no number it quotes it
                raise ValueError(UNREADABLE) from None
            return Secret(url)

        return self._read(
            f"{service.upper()}_DATABASE_URL",
            parse,
            REQUIRED,
            f"{service}'s own database",
            f"postgresql://{service}:password@postgres:5432/{service}",
        )

    def check(self, name: str, ok: bool, problem: str) -> None:
        """Note a problem that only several settings together show."""
        if not ok:
            self._problems.append(f"  {name} {problem}")

    def note_secret(self, name: str, value: str | None) -> None:
        """Let `refuse_known` look at a value that was read as plain text: a public key, whose other half may be known."""
        if value is not None:
            self._secrets[name] = (Secret(value),)

    def refuse_known(self, public_url: str | None) -> None:
        """Note every secret read so far that others know or can guess, and passwords in URLs, unless the portal's
        `public_url` shows that this is a laptop. Without one (None) it is not."""
        if public_url is not None and is_loopback(public_url):
            return
        for name, secrets in self._secrets.items():
            for number, secret in enumerate(secrets, 1):
                entry = f" entry {number}" if len(secrets) > 1 else ""
                value = secret.reveal()
                if is_published(_password(value) if "://" in value else value):
                    problem = "is printed in Portico's own repository: everybody knows it"
                elif name in self._random and is_guessable(value):
                    problem = "is not random: it can be guessed"
                else:
                    continue
                self._problems.append(
                    f"  {name}{entry} {problem}\n      make another one at random; this one is taken only where "
                    "PUBLIC_URL is this machine's own, such as http://localhost:8000"
                )

    def done(self) -> None:
        """Raise SettingsError when anything was wrong."""
        if self._problems:
            count = len(self._problems)
            heading = "one setting is wrong" if count == 1 else f"{count} settings are wrong"
            raise SettingsError(
                f"Portico can't start: {heading}.\n"
                + "\n".join(self._problems)
                + "\nSet them in the environment; a secret NAME may also come from a file named by NAME_FILE."
            )


def _password(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:  # no URL after all: who connects with it says so
        return ""


def _hosts_as_query(url: str) -> str:
    """Several hosts in the place where SQLAlchemy looks for them: `?host=one:5432&host=two:5432`."""
    parts = _split(url)
    user, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return url
    query = "&".join([*(f"host={host}" for host in hosts.split(",")), *filter(None, [parts.query])])
    return parts._replace(netloc=user + at, query=query).geturl()
