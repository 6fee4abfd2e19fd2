"""The broker's users for Kubernetes and for a server with systemd, and the table of docs/security.md, all from `shared/messaging/rights.py`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from shared.messaging import rights, topology

ROOT: Final = Path(__file__).resolve().parent.parent
SECURITY: Final = ROOT / "docs" / "security.md"
BEGIN: Final = "<!-- broker rights: begin (`make docs` writes this table) -->"
END: Final = "<!-- broker rights: end -->"
NOTE: Final = (
    "# Generated from shared/messaging/rights.py (`make docs`); change that, not this file."
)
ELSEWHERE: Final = {"keda": "components/keda/user.yaml"}
"""Users that come with another component."""


class _Dumper(yaml.SafeDumper):
    """Expressions on one line and between single quotes, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if text.startswith(("^", ".", "'")) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted)


def _yaml(document: Any) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000)


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "rabbitmq.com/v1beta1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {**spec, "rabbitmqClusterReference": {"name": "rabbitmq"}},
    }


def _permissions(given: rights.Rights) -> dict[str, str]:
    return {"configure": given.configure, "write": given.write, "read": given.read}


def _topic_permission(user: str, exchange: str, topic: rights.TopicRights) -> dict[str, Any]:
    return _object(
        "TopicPermission",
        f"{user}-{exchange.replace('.', '-')}",
        {
            "vhost": "portico",
            "userReference": {"name": user},
            "permissions": {"exchange": exchange, "write": topic.write, "read": topic.read},
        },
    )


def _of_user(user: str, given: rights.Rights) -> Iterator[dict[str, Any]]:
    credentials = {"tags": [], "importCredentialsSecret": {"name": f"{user}-rabbitmq"}}
    yield _object("User", user, credentials)
    yield _object(
        "Permission",
        user,
        {
            "vhost": "portico",
            "userReference": {"name": user},
            "permissions": _permissions(given),
        },
    )
    for exchange, topic in given.topics.items():
        yield _topic_permission(user, exchange, topic)


def users_file() -> str:
    """deploy/k8s/components/rabbitmq/users.yaml."""
    objects = [
        one
        for user, given in rights.users().items()
        if user not in ELSEWHERE
        for one in _of_user(user, given)
    ]
    head = (
        f"{NOTE}\n"
        "# One user a service, and only what it does, by name and by routing key. docs/security.md has it as a table;\n"
        "# tests/integration/test_least_privilege.py runs the loop with exactly these rights, and tries what they forbid.\n"
    )
    return head + "".join(f"---\n{_yaml(one)}" for one in objects)


def upgrade_file() -> str:
    """deploy/k8s/components/rabbitmq-last-release/kustomization.yaml."""
    now, wider = rights.users(), rights.users_while_upgrading()
    patches = []
    for user, given in wider.items():
        changed = {
            right: pattern
            for right, pattern in _permissions(given).items()
            if pattern != _permissions(now[user])[right]
        }
        if changed:
            changes = [
                {"op": "replace", "path": f"/spec/permissions/{right}", "value": pattern}
                for right, pattern in changed.items()
            ]
            patches.append(
                {"target": {"kind": "Permission", "name": user}, "patch": _yaml(changes)}
            )
    head = (
        f"{NOTE}\n"
        "# For an upgrade from the release in which every service might make every exchange, and the host application called on\n"
        "# nameko-rpc: the rights of both releases, while both run. docs/upgrading.md says when to take it out.\n"
        "apiVersion: kustomize.config.k8s.io/v1alpha1\n"
        "kind: Component\n\n"
        "resources:\n  - topics.yaml\n\n"
        "patches:\n"
    )
    lines = []
    for patch in patches:
        body = "".join(f"      {line}\n" for line in patch["patch"].splitlines())
        lines.append(
            f"  - target:\n      kind: Permission\n      name: {patch['target']['name']}\n    patch: |-\n{body}"
        )
    return head + "".join(lines)


def upgrade_topics_file() -> str:
    """deploy/k8s/components/rabbitmq-last-release/topics.yaml."""
    now = rights.users()
    added = [
        _topic_permission(user, exchange, topic)
        for user, given in rights.users_while_upgrading().items()
        for exchange, topic in given.topics.items()
        if exchange not in now[user].topics
    ]
    return f"{NOTE}\n" + "".join(f"---\n{_yaml(one)}" for one in added)


def script_file() -> str:
    """deploy/systemd/broker-rights.sh."""
    lines = [
        "#!/bin/sh",
        NOTE,
        "# What each user may do in the virtual host portico; docs/without-kubernetes.md makes the users. Safe to run again.",
        "set -eu",
    ]
    for user, given in rights.users().items():
        if user in ELSEWHERE:
            continue
        words = [user, given.configure, given.write, given.read]
        lines += ["", f"rabbitmqctl -q set_permissions -p portico {shlex.join(words)}"]
        for exchange, topic in given.topics.items():
            words = [user, exchange, topic.write, topic.read]
            lines.append(f"rabbitmqctl -q set_topic_permissions -p portico {shlex.join(words)}")
    policy = '{"max-length": 10000, "overflow": "reject-publish"}'
    words = ["rpc-requests", "^rpc-(portal|billing|notifier)$", policy]
    lines += [
        "",
        "# Calls that nobody waits for any more must not fill the broker: past this length the caller is refused at once.",
        f"rabbitmqctl -q set_policy -p portico --priority 10 --apply-to queues {shlex.join(words)}",
    ]
    return "\n".join(lines) + "\n"


def _words(pattern: str) -> str:
    """A topic right as people read it."""
    if pattern == ".*":
        return "any key"
    if pattern == "^$":
        return "nothing"
    whole = pattern.removeprefix("^").removesuffix("$").replace("\\", "")
    parts = [whole] if whole == rights.REPLY_ADDRESS else whole.strip("()").split("|")
    shown = [
        "addresses for answers" if part == rights.REPLY_ADDRESS else f"`{part}`" for part in parts
    ]
    return ", ".join(shown)


def table() -> str:
    """User × topic exchange: what the user may publish there, and bind a queue of its own to."""
    exchanges = [topology.RPC_EXCHANGE, topology.HOST_EXCHANGE, topology.DEAD_EXCHANGE]
    exchanges += [topology.exchange(source).name for source in topology.sources()]
    lines = [
        "| user | exchange | makes it | publishes | binds |",
        "|---|---|---|---|---|",
    ]
    for user, given in rights.users().items():
        for exchange in exchanges:
            topic = given.topics.get(exchange)
            if topic is None:
                lines.append(f"| {user} | `{exchange}` | no | no right | no right |")
                continue
            makes = "yes" if topology.OWNERS.get(exchange) == user else "no"
            write, read = _words(topic.write), _words(topic.read)
            lines.append(f"| {user} | `{exchange}` | {makes} | {write} | {read} |")
    return "\n".join(lines)


def security_page() -> str:
    """docs/security.md, with its table of the broker's rights as they are."""
    before, _, rest = SECURITY.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"
