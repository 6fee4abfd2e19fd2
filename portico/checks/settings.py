"""`portico doctor`: the settings of the services."""

from __future__ import annotations

import importlib
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from portico.cli.findings import Finding, finding
from shared.settings import SettingsError

SERVICES: Final = ("portal", "billing", "notifier")

STAND_INS: Final = {
    "AMQP_URI": "embedded://stand-in/",
    "PORTAL_DATABASE_URL": "sqlite:///stand-in-of-portal",
    "BILLING_DATABASE_URL": "sqlite:///stand-in-of-billing",
    "NOTIFIER_DATABASE_URL": "sqlite:///stand-in-of-notifier",
    "PUBLIC_URL": "http://localhost:8000",
    "PORTAL_LINK_KEYS": secrets.token_hex(32),
    "STRIPE_API_KEY": "sk_test_" + secrets.token_hex(16),
    "STRIPE_WEBHOOK_SECRETS": "whsec_" + secrets.token_hex(32),
    "SENDGRID_API_KEY": "SG." + secrets.token_hex(16),
    "MAIL_FROM": "stand-in@example.com",
}
"""What a service can't be without. With them the rest of its settings are read; nothing is looked at with one."""
NO_SECRET_YET: Final = "whsec_unset_"  # noqa: S105
"""How the stand-in for a webhook secret begins, which lets nobody in until `portico stripe setup` has made the endpoint."""


def load(service: str, environ: Mapping[str, str]) -> Any:
    """The settings of a service. Raises SettingsError."""
    return importlib.import_module(f"services.{service}.settings").load(environ)


def settings_findings(service: str, error: SettingsError) -> Iterator[Finding]:
    """One finding a setting: its line says what is wrong, the next one what it should look like."""
    lines = str(error).splitlines()[1:-1]
    for number, line in enumerate(lines):
        if line.startswith("  ") and not line.startswith("    "):
            follows = lines[number + 1].strip() if number + 1 < len(lines) else ""
            remedy = (
                follows
                if follows and lines[number + 1].startswith("    ")
                else "see docs/settings.md"
            )
            yield finding("settings", "settings", f"{service}: {line.strip()}", remedy)


def settings_together(loaded: Mapping[str, Any]) -> Iterator[Finding]:
    """What only several services' settings show."""
    urls = Counter(settings.database_url.reveal() for settings in loaded.values())
    if urls and max(urls.values()) > 1:
        yield finding(
            "settings",
            "database-shared",
            "two services have the same database: each has its own tables of the same names",
            "give each service a database of its own",
        )
    if len({settings.amqp_uri.reveal().rpartition("/")[2] for settings in loaded.values()}) > 1:
        yield finding(
            "settings",
            "broker-apart",
            "the services' AMQP_URIs name different virtual hosts: they don't hear each other",
            "let all name the same one",
        )
    public = {loaded[name].public_url for name in ("portal", "billing") if name in loaded}
    if len(public) > 1:
        yield finding(
            "settings",
            "public-urls",
            f"portal and billing have different PUBLIC_URLs ({', '.join(sorted(public))}): billing refuses the way back",
            "set the same one for both",
        )
