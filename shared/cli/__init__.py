"""What the command lines of the services share: RPC in plain Python, output for people and scripts, exit codes."""

from shared.cli.desk import (
    FINDING,
    OK,
    UNAVAILABLE,
    USAGE,
    Desk,
    PorticoGroup,
    Stop,
    desk_of,
)
from shared.cli.findings import Finding, Level
from shared.cli.output import as_moment, plain, print_json, print_table, progress_bar
from shared.cli.rpc import Caller, Fault, RpcCaller, Unavailable
from shared.cli.words import since

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
    "desk_of",
    "plain",
    "print_json",
    "print_table",
    "progress_bar",
    "since",
]
