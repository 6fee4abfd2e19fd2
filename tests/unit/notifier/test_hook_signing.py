"""Webhooks are verified by the other side's own library, through a rotation too."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.notifier.domain.hook_signing import BOTH_FOR, Signer

REPOSITORY = Path(__file__).resolve().parents[3]
BODY = '{"id":"evh_1","who":"Zoë"}'
OLD, NEW = "o" * 20 + "0123456789ab", "n" * 20 + "0123456789ab"


def signed(
    signer: Signer, generation: int = 1, rotated: dt.timedelta | None = None
) -> dict[str, str]:
    now = dt.datetime.now(dt.UTC)
    return signer.headers(
        endpoint_id="whe_1",
        generation=generation,
        rotated_at=now - rotated if rotated is not None else None,
        message_id="evh_1",
        body=BODY.encode(),
        now=now,
    )


def verifies(secret: str, headers: dict[str, str], body: str = BODY) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_the_package_verifies_what_we_sign() -> None:
    """And nothing that is not ours: another body, another endpoint's secret."""
    signer = Signer([OLD])
    headers = signed(signer)
    assert verifies(signer.secret("whe_1", 1), headers)
    assert not verifies(signer.secret("whe_1", 1), headers, BODY.replace("Zoë", "Zoe"))
    assert not verifies(signer.secret("whe_2", 1), headers)
    assert not verifies(signer.secret("whe_1", 2), headers)


@pytest.mark.parametrize(
    ("since", "old_is_good"),
    [(dt.timedelta(0), True), (BOTH_FOR - dt.timedelta(minutes=1), True), (BOTH_FOR, False)],
)
def test_after_a_rotation_both_secrets_verify_for_a_day(
    since: dt.timedelta, old_is_good: bool
) -> None:
    """A host changes its secret when it likes to, within the day."""
    signer = Signer([OLD])
    headers = signed(signer, 2, since)
    assert verifies(signer.secret("whe_1", 2), headers)
    assert verifies(signer.secret("whe_1", 1), headers) is old_is_good


def test_a_new_key_of_the_installation_keeps_old_secrets_good_while_the_old_key_is_given() -> None:
    """The hosts' secrets change with the first key; until they have them, both sign."""
    headers = signed(Signer([NEW, OLD]))
    assert verifies(Signer([OLD]).secret("whe_1", 1), headers)
    assert verifies(Signer([NEW, OLD]).secret("whe_1", 1), headers)
    assert not verifies(Signer([OLD]).secret("whe_1", 1), signed(Signer([NEW])))


def test_a_secret_is_no_key_and_has_the_standards_form() -> None:
    """`whsec_` and 32 bytes; the same for the same endpoint and generation, in any process."""
    secret = Signer([OLD]).secret("whe_1", 1)
    assert secret.startswith("whsec_")
    assert len(secret) == len("whsec_") + 44
    assert OLD not in secret
    assert secret == Signer([OLD]).secret("whe_1", 1)


def test_the_page_says_it_so_that_it_can_be_done_without_a_library(tmp_path: Path) -> None:
    """What docs/integration.md does with OpenSSL comes to one of the signatures, with the secret before a rotation too."""
    page = (REPOSITORY / "docs" / "integration.md").read_text()
    (shown,) = re.findall(r"```sh\n(# SECRET, ID.*?)```", page, re.DOTALL)
    signer = Signer([OLD])
    headers = signed(signer, 2, dt.timedelta(hours=1))
    (tmp_path / "body").write_text(BODY)
    for generation in (2, 1):
        given = {
            "SECRET": signer.secret("whe_1", generation),
            "ID": headers["webhook-id"],
            "TIMESTAMP": headers["webhook-timestamp"],
            "PATH": "/usr/local/bin:/usr/bin:/bin",
        }
        done = subprocess.run(
            ["/bin/sh", "-euc", shown], env=given, cwd=tmp_path, capture_output=True, check=True
        )
        assert f"v1,{done.stdout.decode()}" in headers["webhook-signature"].split(" ")
