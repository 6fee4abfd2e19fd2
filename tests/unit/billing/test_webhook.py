"""Who may speak to the webhook."""

from __future__ import annotations

import hashlib
import hmac

import pytest
import stripe  # noqa: TID251  (the library signs what the check must accept)

from services.billing.adapters.stripe.webhook import BadSignature, verify

BODY = '{"id": "evt_1", "type": "x", "näme": "ß"}'.encode()
SECRET, OTHER = "whsec_0123456789abcdef", "whsec_fedcba9876543210"
NOW = 1_795_467_845


def signed(body: bytes = BODY, secret: str = SECRET, at: int = NOW) -> str:
    header: str = stripe.WebhookSignature.generate_signature_header(
        body.decode(), secret, timestamp=at
    )
    return header


def accepts(body: bytes, header: str, secrets: list[str], now: float) -> bool:
    try:
        verify(body, header, secrets, now)
    except BadSignature:
        return False
    return True


def test_what_stripes_own_library_signed_is_accepted() -> None:
    """A header made by the stripe library for these bytes passes."""
    assert accepts(BODY, signed(), [SECRET], NOW)


@pytest.mark.parametrize("secrets", [[SECRET, OTHER], [OTHER, SECRET]])
def test_any_of_several_secrets_will_do(secrets: list[str]) -> None:
    """While a secret is rotated, both the old and the new one are good, in any order."""
    assert accepts(BODY, signed(), secrets, NOW)


def test_any_of_several_signatures_will_do() -> None:
    """Stripe signs once per active secret in one header; one match is enough."""
    header = signed(secret=OTHER) + "," + signed().split(",")[1]
    assert accepts(BODY, header, [SECRET], NOW)


@pytest.mark.parametrize("drift", [-300, 300])
def test_five_minutes_either_way_are_tolerated(drift: int) -> None:
    """Clocks may differ by up to 300 seconds."""
    assert accepts(BODY, signed(at=NOW + drift), [SECRET], NOW)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "missing"),
        ("", "missing"),
        (signed(secret=OTHER), "wrong"),
        (signed(body=b"{}"), "wrong"),
        (signed(at=NOW - 301), "right and 301 s old"),
        (signed(at=NOW + 301), "right and 301 s ahead"),
        (signed(at=NOW + 31_536_000), "ahead"),
        ("nonsense", "can't be read"),
        ("t=,v1=", "can't be read"),
        (f"t={NOW}", "can't be read"),
        ("t=٣,v1=00", "can't be read"),
        ("t=" + "9" * 5000 + ",v1=00", "can't be read"),
        ("t=-1,v1=00", "can't be read"),
        (f"t={NOW},v1=ß", "wrong"),
        (f"t={NOW},v0=" + signed().partition("v1=")[2], "can't be read"),
    ],
)
def test_everything_else_is_refused(header: str | None, why: str) -> None:
    """Missing, wrong, stale, future and mangled signatures are refused, and the reason quotes nothing."""
    with pytest.raises(BadSignature, match=why) as refused:
        verify(BODY, header, [SECRET], NOW)
    assert "evt_1" not in str(refused.value.args)


def test_a_body_changed_by_one_byte_is_refused() -> None:
    """The signature is over the raw bytes, a space counts."""
    with pytest.raises(BadSignature, match="wrong"):
        verify(BODY + b" ", signed(), [SECRET], NOW)


def test_bytes_that_are_not_utf8_can_be_verified() -> None:
    """The check itself never decodes: a signed body that is not UTF-8 is refused later, not by a crash here."""
    body = b"\xff\xfe"
    digest = hmac.new(SECRET.encode(), b"%d." % NOW + body, hashlib.sha256).hexdigest()
    assert accepts(body, f"t={NOW},v1={digest}", [SECRET], NOW)
