"""An account looks first: docs/operations.md's commands as written, over all three services and one Stripe."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from typer.main import get_command

from portico.cli.context import CliContext
from portico.cli.rpc import Fault
from portico.main import app
from shared.contracts.rpc.errors import RpcError
from tests.contract.rpc_world import World
from tests.unit.stories import house as stories
from tests.unit.stories import steps

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
DAY = 86_400


class Calls:
    """The command line's way to the services of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting: dict[str, Any] = {}

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def call(self, service: str, method: str, **arguments: Any) -> Any:
        try:
            return self.world.call(service, method, **arguments)
        except RpcError as error:
            raise Fault(type(error).__name__, str(error)) from None

    def send(self, service: str, method: str, **arguments: Any) -> str:
        self.waiting[str(len(self.waiting))] = self.call(service, method, **arguments)
        return str(len(self.waiting) - 1)

    def wait(self, call_id: str) -> Any:
        return self.waiting[call_id]


def portico(world: World, line: str) -> str:
    """Run a command as it stands on the page: `portico … > FILE`."""
    words = shlex.split(line)
    to = Path(words.pop()) if ">" in words else None
    if to is not None:
        words.remove(">")
    desk = CliContext({}, lambda environ, timeout: Calls(world))
    done = CliRunner().invoke(get_command(app), words[1:], obj=desk, input="y\n")
    assert done.exit_code == 0, done.output
    if to is not None:
        to.write_text(done.stdout)
    return done.stdout


def commands() -> list[str]:
    """Those of the page's section, in their order."""
    section = PAGE.read_text("utf-8").split("## Look first", 1)[1].split("\n## ", 1)[0]
    return [
        line.replace("sunrise-cleaning", "sunrise")
        for line in re.findall(r"^    (portico .*)$", section, flags=re.MULTILINE)
    ]


def test_accepting_sends_exactly_the_preview_less_what_was_paid_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two failures are observed and nothing goes; one is paid before the line; of the preview the other goes, once, and nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stories, "START", int(time.time()) - 2 * DAY)
    observe, look, keep, live, accept = commands()
    world = World()
    house = world.house
    steps.opens()(house)
    house.settle()
    assert "observes" in portico(world, observe)
    for step in (steps.renewal_fails("insufficient_funds"), steps.another_subscription):
        step(house)
        house.settle()
    steps.renewal_fails("expired_card")(house)
    house.settle()
    assert house.mails == []
    portico(world, look)
    portico(world, keep)
    told = json.loads(Path("preview.json").read_text())
    assert Path("preview.html").read_text().count("Maria Lopez") == len(told["notifications"])
    by_invoice = {one["invoice_id"] for one in told["notifications"]}
    assert by_invoice == {one["id"] for one in house.failed_invoices()}
    steps.pays_by_hand(house)
    house.settle()
    (unpaid,) = [one["id"] for one in house.failed_invoices() if one["status"] == "open"]
    assert "has been live since" in portico(world, live)
    house.settle()
    assert house.mails == []
    done = portico(world, accept)
    assert "paid or voided meanwhile, not to be sent" in done
    house.wait(seconds=int(time.time() - house.now().timestamp()) + 60)
    while house.notifier.work():
        pass
    rows = {
        one["notification_id"]: one
        for one in world.call("notifier", "notifications", limit=500)
        if one["status"] in ("sent", "delivered")
    }
    assert {one["invoice_id"] for one in rows.values()} == {unpaid}
    assert rows.keys() <= {one["notification_id"] for one in told["notifications"]}
    assert len(house.notifier.mailer.inbox) == len(rows) == 1
