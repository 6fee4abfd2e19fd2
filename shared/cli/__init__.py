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
from shared.cli.output import (
    as_moment,
    complain,
    confirm,
    data_stream,
    one_line,
    print_json,
    print_table,
    progress_bar,
    say,
)
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
    "complain",
    "confirm",
    "data_stream",
    "desk_of",
    "one_line",
    "print_json",
    "print_table",
    "progress_bar",
    "say",
    "since",
]
