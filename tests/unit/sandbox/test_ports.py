"""Where `make run` and `make stack` listen."""

from __future__ import annotations

import pytest

from local.ports import PORTS, CannotStart, chosen_ports
from local.stack import choose_ports


def test_the_environment_names_ports() -> None:
    """Those that it names, and no others; the usual ones only where they are asked for. An empty variable names none."""
    environ = {
        "PORTAL_PORT": "9000",
        "SANDBOX_PORT": "9010",
        "API_PORT": "9003",
        "BILLING_PORT": "",
    }
    assert chosen_ports(environ) == {"portal": 9000, "api": 9003, "sandbox": 9010}
    assert chosen_ports(environ, PORTS) == {**PORTS, "portal": 9000, "api": 9003, "sandbox": 9010}


@pytest.mark.parametrize("text", ["0", "65536", "eight", "-1", "8000 ", "٨٠٠٠", "1e3"])
def test_what_is_no_port_is_refused(text: str) -> None:
    """With the variable's name, and an example of a right one."""
    with pytest.raises(CannotStart, match=r"NOTIFIER_PORT is .* such as 8002"):
        chosen_ports({"NOTIFIER_PORT": text})


def test_two_parts_do_not_share_a_port() -> None:
    """Neither by two variables, nor by one that names another part's usual port."""
    with pytest.raises(CannotStart, match="BILLING_PORT"):
        chosen_ports({"PORTAL_PORT": "9000", "BILLING_PORT": "9000"})
    with pytest.raises(CannotStart, match="BILLING_PORT"):
        chosen_ports({"PORTAL_PORT": "8001"}, PORTS)


def test_the_stack_takes_the_ports_that_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Told ports are used as they are, or it says that one is taken: it does not move quietly. The others evade them."""
    busy = {8000, 8002, 9000}
    with pytest.raises(CannotStart, match=r"port 9000 \(portal\) is taken.*make stack"):
        choose_ports({"PORTAL_PORT": "9000"}, lambda port: port not in busy)
    ports = choose_ports({"PORTAL_PORT": "8003"}, lambda port: port not in busy)
    assert ports == {
        "portal": 8003,
        "billing": 8001,
        "notifier": 8004,
        "api": 8005,
        "sandbox": 8010,
    }
    assert (
        capsys.readouterr().out
        == "Port 8002 is taken: notifier is on 8004.\nPort 8003 is taken: api is on 8005.\n"
    )
