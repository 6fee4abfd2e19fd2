"""The notifier's settings, from the environment, checked at start."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import getaddresses
from typing import Final

from shared.service_settings import ServiceSettings, read_service
from shared.settings import Reader, Secret, is_loopback

SENDGRID: Final = "https://api.sendgrid.com"
KEY_LENGTH: Final = 32
"""Characters of an address hash's key at least."""
_P256_HEAD: Final = bytes.fromhex("3059 3013 06072a8648ce3d0201 06082a8648ce3d030107 03420004")
"""How a P-256 public key begins in the form that SendGrid shows (DER SubjectPublicKeyInfo); x and y follow, 32 bytes each."""
_P256_P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_P256_B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
"""Its points are those with y² = x³ - 3x + b modulo p (SEC 2, secp256r1)."""


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """All that the notifier needs to know at start."""

    sendgrid_api_key: Secret
    sendgrid_api_base: str
    sendgrid_webhook_public_key: str | None
    """Base64 as SendGrid's settings page shows it. None: the Event Webhook's endpoint does not exist."""
    mail_from: str
    """The verified sender's address."""
    mail_from_name: str
    """Display name for emails of a business without a name; may be empty."""
    senders: int
    """How many emails are on their way to SendGrid at the same time, per process."""
    address_hash_keys: tuple[Secret, ...] = ()
    """The keys of the hashes under which bounced addresses are kept: the first is used, all are known again."""
    hook_keys: tuple[Secret, ...] = ()
    """The keys that the secrets of hosts' endpoints are derived from, newest first; none: there are no webhooks to hosts."""
    hooks_allow_loopback: bool = False
    hook_senders: int = 8
    """How many webhooks are on their way to hosts at the same time, per process."""


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings; raises SettingsError that names every wrong one."""
    reader = Reader(environ)
    mail_from = reader.text(
        "MAIL_FROM",
        meaning="the sender of all emails, verified with SendGrid; a display name may stand before it",
        example="Portico <billing@mail.example.com>",
    )
    public_key = reader.text(
        "SENDGRID_WEBHOOK_PUBLIC_KEY",
        meaning="the verification key of SendGrid's signed Event Webhook",
        example="MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE…",
        default=None,
    )
    public_url = reader.url(
        "PUBLIC_URL",
        meaning="where customers reach the portal; read for one thing: on this machine alone, keys that everybody knows "
        "are taken, and HOOKS_ALLOW_LOOPBACK",
        example="https://portal.example.com",
        default=None,
    )
    senders = getaddresses([mail_from]) if isinstance(mail_from, str) else []
    name, address = senders[0] if len(senders) == 1 else ("", "")
    settings = Settings(
        **read_service(reader, listens="where the notifier listens", address="127.0.0.1:8002"),
        database_url=reader.database_url("notifier"),
        sendgrid_api_key=reader.secret(
            "SENDGRID_API_KEY",
            meaning="a SendGrid API key that may send mail",
            example="SG.xxxxxxxx.yyyyyyyy",
            prefix="SG.",
        ),
        sendgrid_api_base=reader.url(
            "SENDGRID_API_BASE",
            meaning="SendGrid's API (the EU's is https://api.eu.sendgrid.com)",
            example=SENDGRID,
            default=SENDGRID,
        ),
        sendgrid_webhook_public_key=_one_line(public_key),
        mail_from=address,
        mail_from_name=name,
        senders=reader.integer(
            "NOTIFIER_SENDERS",
            meaning="how many emails are sent at the same time",
            default=16,
            minimum=1,
            maximum=40,
        ),
        address_hash_keys=reader.secrets(
            "ADDRESS_HASH_KEY",
            meaning="the key of the hashes under which bounced addresses are kept, newest first where there are several; "
            f"{KEY_LENGTH} characters or more each. Without it they are kept under a plain hash, which can be undone by "
            "guessing; the next release needs it",
            example="$(openssl rand -hex 32)",
            default=(),
            min_length=KEY_LENGTH,
        ),
        hook_keys=reader.secrets(
            "HOOK_KEYS",
            meaning="the keys that the secrets of hosts' webhook endpoints are derived from, newest first; "
            f"{KEY_LENGTH} characters or more each, comma-separated: all sign, and new secrets are of the first. Unset: no webhooks to hosts",
            example="$(openssl rand -hex 32)",
            default=(),
            min_length=KEY_LENGTH,
        ),
        hooks_allow_loopback=reader.boolean(
            "HOOKS_ALLOW_LOOPBACK",
            meaning="whether webhooks may go to this machine (http://localhost:3000), for trying; only where PUBLIC_URL is this machine's own",
            default=False,
        ),
        hook_senders=reader.integer(
            "NOTIFIER_HOOK_SENDERS",
            meaning="how many webhooks to hosts are sent at the same time",
            default=8,
            minimum=1,
            maximum=40,
        ),
    )
    if isinstance(mail_from, str):
        reader.check(
            "MAIL_FROM",
            bool(address) and "@" in address.strip("@") and " " not in address,
            "is not one email address; for example MAIL_FROM=Portico <billing@mail.example.com>",
        )
    reader.check(
        "SENDGRID_API_BASE",
        not str(settings.sendgrid_api_base).endswith("/v3"),
        "ends with /v3, which comes after it",
    )
    reader.check(
        "SENDGRID_WEBHOOK_PUBLIC_KEY",
        settings.sendgrid_webhook_public_key is None
        or _is_p256(settings.sendgrid_webhook_public_key),
        "is not a P-256 public key as SendGrid's settings page shows it (124 characters of base64)",
    )
    reader.check(
        "HOOKS_ALLOW_LOOPBACK",
        not settings.hooks_allow_loopback
        or (isinstance(public_url, str) and is_loopback(public_url)),
        "lets hosts reach this machine from within: it is taken only where PUBLIC_URL is this machine's own, such as "
        "http://localhost:8000; leave it out",
    )
    reader.note_secret("SENDGRID_WEBHOOK_PUBLIC_KEY", settings.sendgrid_webhook_public_key)
    reader.refuse_known(public_url)
    reader.done()
    return settings


def _one_line(key: str | None) -> str | None:
    """The key's base64 alone: people paste it with or without the PEM lines around it."""
    if key is None:
        return None
    lines = key.replace("\\n", "\n").splitlines()
    return "".join(line.strip() for line in lines if not line.startswith("-----"))


def _is_p256(key: str) -> bool:
    """Whether it is one, by its point: cryptography, which checks it again at the first webhook, is 7 MB that a service
    without webhooks does without."""
    try:
        whole = base64.b64decode(key, validate=True)
    except binascii.Error:
        return False
    head, point = whole[: len(_P256_HEAD)], whole[len(_P256_HEAD) :]
    if head != _P256_HEAD or len(point) != 64:
        return False
    x, y = int.from_bytes(point[:32]), int.from_bytes(point[32:])
    return max(x, y) < _P256_P and (y * y - (x * x * x - 3 * x + _P256_B)) % _P256_P == 0
