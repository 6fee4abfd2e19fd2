"""compose.yaml: what the Compose specification says of it, and whether what it refers to is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from local.processes import SERVICES
from sandbox import config
from scripts.make_docs import settings_of
from tests.unit.deploy.manifests import REPOSITORY, run

COMPOSE = REPOSITORY / "compose.yaml"
IN_A_URL = re.compile(r"\b\w+://[^\s\"']+")
OURS = ("portal", "billing", "notifier", "sandbox")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The file, its anchors and merges resolved."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


def schema_finds(file: Path) -> str:
    """What the Compose specification's schema objects to."""
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_it_fits_the_specification() -> None:
    """Every key and value is one that Compose knows."""
    assert schema_finds(COMPOSE) == ""


def test_the_schema_would_object(tmp_path: Path, document: dict[str, Any]) -> None:
    """A misspelt key is found: the check above can fail."""
    document["services"]["portal"]["enviroment"] = {}
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(yaml.safe_dump(document))
    del document["services"]["portal"]["enviroment"]
    assert "enviroment" in schema_finds(wrong)


def test_every_setting_is_one_that_somebody_reads(document: dict[str, Any]) -> None:
    """A renamed setting does not live on here: each is in docs/settings.md, or the sandbox's own."""
    known = {name for service in SERVICES for name, *_ in settings_of(service)}
    theirs = set(re.findall(r'"(SANDBOX_\w+)"', Path(config.__file__).read_text()))
    for name in (*SERVICES, "seed"):
        assert set(document["services"][name]["environment"]) <= known
    assert set(document["services"]["sandbox"]["environment"]) <= theirs


def addresses(document: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Host and port of every URL in a setting."""
    for service in document["services"].values():
        for value in service.get("environment", {}).values():
            for url in IN_A_URL.findall(str(value)):
                parts = urlsplit(url)
                assert parts.hostname
                assert parts.port, url
                yield parts.hostname, parts.port


def test_urls_lead_to_services_and_ports_that_are_there(document: dict[str, Any]) -> None:
    """Inside: a service and the port it listens on. From the browser: a port that is published, on loopback."""
    services = document["services"]
    listens = {"rabbitmq": 5672, "postgres": 5432}
    published = {}
    for name in OURS:
        setting = "SANDBOX_ADDRESS" if name == "sandbox" else "HTTP_ADDRESS"
        listens[name] = int(services[name]["environment"][setting].rpartition(":")[2])
        (port,) = services[name]["ports"]
        address, outside, inside = port.split(":")
        assert (address, int(inside)) == ("127.0.0.1", listens[name])
        published[int(outside)] = name
    seen = set(addresses(document))
    assert {host for host, _ in seen} >= {"rabbitmq", "postgres", "sandbox", "billing", "localhost"}
    for host, port in seen:
        assert port in published if host == "localhost" else listens[host] == port


def test_the_parts_share_their_secrets_and_databases(document: dict[str, Any]) -> None:
    """The webhook's secret, the broker's user and virtual host, and databases that are made before they are asked for."""
    services = document["services"]
    settings = services["billing"]["environment"]
    sandbox = services["sandbox"]["environment"]
    assert sandbox["SANDBOX_WEBHOOK_SECRET"] == settings["STRIPE_WEBHOOK_SECRETS"]
    broker, rabbitmq = urlsplit(settings["AMQP_URI"]), services["rabbitmq"]["environment"]
    assert (broker.username, broker.password, broker.path) == (
        rabbitmq["RABBITMQ_DEFAULT_USER"],
        rabbitmq["RABBITMQ_DEFAULT_PASS"],
        "/" + rabbitmq["RABBITMQ_DEFAULT_VHOST"],
    )
    postgres = services["postgres"]["environment"]
    (script,) = (one for one in services["postgres"]["volumes"] if "initdb" in one)
    made = re.findall(
        r"^CREATE DATABASE (\w+);$", (REPOSITORY / script.split(":")[0]).read_text(), re.M
    )
    for service in SERVICES:
        url = urlsplit(settings[f"{service.upper()}_DATABASE_URL"])
        assert (url.username, url.password) == (
            postgres["POSTGRES_USER"],
            postgres["POSTGRES_PASSWORD"],
        )
        assert url.path.lstrip("/") in made
        assert services[f"migrate-{service}"]["command"] == [f"services.{service}", "migrate"]


def test_references_are_kept(document: dict[str, Any]) -> None:
    """What is waited for or mounted is there; what not every Compose knows is not used."""
    for name, service in document["services"].items():
        assert set(service.get("depends_on", ())) <= set(document["services"]), name
        for source in (volume.partition(":")[0] for volume in service.get("volumes", ())):
            is_there = (
                (REPOSITORY / source).is_file() if "/" in source else source in document["volumes"]
            )
            assert is_there, source
        assert "configs" not in service, "podman-compose leaves them out without a word"
