"""The secrets of one sandboxed run: made once, kept in its folder, so that links outlive a restart."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from sandbox.private import open_private


def own_secrets(folder: Path) -> dict[str, str]:
    """The settings that are secret, by name. `folder` must exist; the file in it is for its owner only."""
    file = folder / "secrets.json"
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    made = {
        "PORTAL_LINK_KEYS": secrets.token_urlsafe(32),
        "STRIPE_WEBHOOK_SECRETS": f"whsec_{secrets.token_hex(24)}",
        "STRIPE_CONNECT_WEBHOOK_SECRETS": f"whsec_{secrets.token_hex(24)}",
        "SENDGRID_API_KEY": f"SG.{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(32)}",
        "STRIPE_API_KEY": f"sk_test_{secrets.token_hex(12)}",
        "ADDRESS_HASH_KEY": secrets.token_hex(32),
        "HOOK_KEYS": secrets.token_hex(32),
    }
    if made.keys() <= kept.keys():
        return kept
    found = {**made, **kept}  # a folder of an earlier version lacks what it did not know
    with open_private(file, "w") as stream:
        json.dump(found, stream)
    return found
