"""The settings by which the services find the sandbox in the place of Stripe and SendGrid."""

from __future__ import annotations

from sandbox.stripe_api.directory import client_id


def stripe_settings(sandbox_url: str) -> dict[str, str]:
    """Those of Stripe, without the secrets."""
    return {
        "STRIPE_API_BASE": sandbox_url,
        "STRIPE_CLIENT_ID": client_id(livemode=False),
        "STRIPE_CONNECT_BASE": sandbox_url,
        "STRIPE_LOOK_RATE": "100",  # our own Stripe has no limit
        "PORTAL_SESSION_ORIGINS": sandbox_url,
    }


def mail_settings(sandbox_url: str, public_key: str) -> dict[str, str]:
    """Those of SendGrid, whose webhooks are signed with this key, and of who sends."""
    return {
        "SENDGRID_API_BASE": sandbox_url,
        "SENDGRID_WEBHOOK_PUBLIC_KEY": public_key,
        "MAIL_FROM": "billing@portico.example",
    }
