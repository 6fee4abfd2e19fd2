"""The running services against docs/openapi.yaml: schemathesis invents the requests and judges the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from examples.host_app import Portico
from tests.faults.system import System
from tests.faults.test_bad_input import counted, fine, port_of

SCHEMA = schemathesis.openapi.from_path(str(Path(__file__).parents[2] / "docs/openapi.yaml"))
OPERATIONS: dict[str, Any] = {
    f"{made.method.upper()} {made.path}": made
    for made in (found.ok() for found in SCHEMA.get_all_operations())
}
CONFORMS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def token(system: System) -> str:
    """The token of a customer's link. What Stripe tells of its presses on buttons is not delivered."""
    system.sandbox("POST", "/sandbox/webhooks", {"drop": True})
    with Portico(system.stack.amqp_uri) as portico:
        made = portico.call(
            "portal", "upsert_customer", business_id="faults", external_id="openapi", name="Olga",
            email="olga@example.com", platform_stripe_customer_id="cus_openapi",
        )  # fmt: skip
        portico.call(
            "portal", "upsert_appointments", customer_id=made["customer_id"],
            appointments=[{"external_id": "1", "title": "Pruning", "starts_at": "2030-01-01T10:00:00Z"}],
        )  # fmt: skip
        return str(portico.call("portal", "link", customer_id=made["customer_id"])["token"])


def services(operation: Any) -> list[str]:
    """Who answers it."""
    tag = operation.definition.raw["tags"][0]
    return ["portal", "billing", "notifier"] if tag == "every service" else [tag]


@pytest.mark.parametrize("name", OPERATIONS)
def test_answers_are_as_documented_and_strangers_leave_nothing(
    system: System, token: str, name: str
) -> None:
    """Requests that fit the document and ones that break it, with true and invented tokens: an answer that is documented,
    no error of ours, and no row."""
    operation = OPERATIONS[name]
    before = counted(system)

    @FEW
    @given(
        operation.as_strategy(GenerationMode.POSITIVE)
        | operation.as_strategy(GenerationMode.NEGATIVE),
        st.booleans(),
    )
    def check(case: Case, known: bool) -> None:
        if known and "token" in case.path_parameters:
            case.path_parameters["token"] = token
        for service in services(operation):
            address = f"http://127.0.0.1:{port_of(system, service)}"
            try:
                answer = case.call(address, allow_redirects=False, timeout=20)
            except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
                continue  # what can't be sent as HTTP
            fine(answer.status_code, answer.content, 503)
            case.validate_response(answer, checks=CONFORMS)

    check()
    assert counted(system) == before
