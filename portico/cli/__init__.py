"""What the command lines of the services share: RPC in plain Python, output for people and scripts, exit codes."""

from portico.cli.context import FINDING, OK, UNAVAILABLE, USAGE, Desk, PorticoGroup, Stop, desk_of
from portico.cli.durations import since
from portico.cli.findings import Finding, Level
from portico.cli.output import (
    as_moment,
    confirm,
    data_stream,
    print_json,
    print_table,
    progress_bar,
)
from portico.cli.rpc import Caller, Fault, RpcCaller, Unavailable, ask, read
from shared.terminal import complain, one_line, say

__all__ = [
    "FINDING",
    "OK",
    "UNAVAILABLE",
    "USAGE",
    "Caller",
    "Desk",
    "Fault",
    "Finding",
    "Level",
    "PorticoGroup",
    "RpcCaller",
    "Stop",
    "Unavailable",
    "as_moment",
    "ask",
    "complain",
    "confirm",
    "data_stream",
    "desk_of",
    "one_line",
    "print_json",
    "print_table",
    "progress_bar",
    "read",
    "say",
    "since",
]
