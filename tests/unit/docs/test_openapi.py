"""docs/openapi.yaml names what the services answer, no more and no less; docs/openapi-v1.yaml, which is made from the code, is one that
others can read."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from scripts.make_docs import SERVICES
from services.portal.web.api.door import ApiHttp
from services.portal.web.api.problems import CODES
from shared.nameko_ext.web import Http

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[3] / "docs/openapi.yaml").read_text()
)
EVERY_SERVICE = {("GET", path) for path in ("/healthz", "/readyz", "/metrics")}


def documented(tag: str) -> set[tuple[str, str]]:
    """Methods and paths of the operations with this tag."""
    return {
        (method.upper(), path)
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method != "parameters" and operation["tags"] == [tag]
    }


def registered(service: type) -> set[tuple[str, str]]:
    """Methods and paths of a service's HTTP entrypoints, as OpenAPI writes them."""
    return {
        (method.strip(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", entrypoint.url))
        for _, function in inspect.getmembers(service, inspect.isfunction)
        for entrypoint in getattr(function, "nameko_entrypoints", ())
        if isinstance(entrypoint, Http) and not isinstance(entrypoint, ApiHttp)
        for method in entrypoint.method.split(",")
    }


@pytest.mark.parametrize("name", SERVICES)
def test_the_document_names_exactly_the_routes_of_a_service(name: str) -> None:
    """Each path and method that a service registers is documented under its name, and nothing else is."""
    service = getattr(importlib.import_module(f"services.{name}.service"), SERVICES[name])
    assert registered(service)
    assert documented(name) == registered(service)


def test_the_document_names_what_every_service_answers() -> None:
    """Health, readiness and metrics stand under "every service", and no operation under another name."""
    assert documented("every service") == EVERY_SERVICE
    assert {tag["name"] for tag in DOCUMENT["tags"]} == {*SERVICES, "every service"}


def test_operations_are_named_like_the_methods_that_answer() -> None:
    """An operationId leads to the code; each is used once."""
    ids = [
        operation["operationId"]
        for item in DOCUMENT["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(ids) == len(set(ids))
    services = [
        getattr(importlib.import_module(f"services.{name}.service"), class_name)
        for name, class_name in SERVICES.items()
    ]
    of_services = {id_ for id_ in ids if id_ not in ("alive", "ready", "metrics")}
    assert all(any(hasattr(service, id_) for service in services) for id_ in of_services)


V1: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[3] / "docs/openapi-v1.yaml").read_text()
)


@pytest.mark.parametrize("document", [DOCUMENT, V1], ids=["services", "hosts"])
def test_a_document_is_one_of_openapi(document: dict[str, Any]) -> None:
    """Tools take it: it is what OpenAPI's own schema asks for, so no sentence has become a name by a comma in it."""
    assert [str(error) for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []


def refs(part: Any) -> set[str]:
    """Every reference in a part of a document."""
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*(refs(one) for one in part.values()))
    return set().union(*(refs(one) for one in part)) if isinstance(part, list) else set()


def test_the_document_for_hosts_is_whole() -> None:
    """Every reference leads somewhere, everything that it leads to is used, and every field of it says what it means."""
    used = refs(V1)
    for ref in used:
        part = V1
        for step in ref.removeprefix("#/").split("/"):
            part = part[step]
    parts = {
        f"#/components/{kind}/{name}"
        for kind, some in V1["components"].items()
        if kind != "securitySchemes"
        for name in some
    }
    assert parts == used
    for operation in (one for item in V1["paths"].values() for one in item.values()):
        assert operation["summary"]
        assert "Scope: `" in operation["description"]


def test_the_document_for_hosts_knows_every_code() -> None:
    """A program finds each in it."""
    told = str(V1["components"]["responses"])
    missing = {code for code, status in CODES.items() if f"`{code}`" not in told and status != 405}
    assert missing == set()
