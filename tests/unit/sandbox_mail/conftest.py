"""Applications of Flask's for the sandbox's pages, whose templates are compiled once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from sandbox import pages
from sandbox.config import SandboxConfig
from sandbox.stripe_api.api import StripeApi


class Compiled(BytecodeCache):
    """Templates that an application before has compiled: it takes three quarters of a test that draws a page."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


COMPILED = Compiled()


def application() -> Flask:
    """An application without a page."""
    made = Flask("test")
    made.jinja_options = {**made.jinja_options, "bytecode_cache": COMPILED}
    return made


@pytest.fixture
def world() -> Iterator[StripeApi]:
    """A Stripe of the test's own."""
    made = StripeApi(SandboxConfig(public_url="http://sandbox.test"))
    yield made
    made.stop()


@pytest.fixture
def client(world: StripeApi) -> FlaskClient:
    """A browser on its hosted pages."""
    app = application()
    app.register_blueprint(pages.blueprint(world))
    return app.test_client()
