"""Who may do what at the broker, in one place: the Kubernetes manifests and docs/security.md are written from here (`make docs`).

RabbitMQ knows three rights on exchanges and queues, by name, and on topic exchanges besides which routing keys a user may
publish (write) and bind (read). **A user without topic permissions on an exchange may use every key there**, so each user
has some on each topic exchange that it may write to or read from. What they can't bound, `shared.nameko_ext.rpc` refuses: see
docs/adr/0015. A right that is taken away here goes a release after the code that needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from shared.events import CONSUMERS
from shared.messaging import topology

CALLS: Final[Mapping[str, frozenset[str]]] = {
    "host": frozenset(
        {
            "portal.checkout_reference",
            "portal.link",
            "portal.link_customer",
            "portal.link_evidence",
            "portal.lookup",
            "portal.rotate_link",
            "portal.unknown_links",
            "portal.unlink_customer",
            "portal.upsert_appointments",
            "portal.upsert_business",
            "portal.upsert_customer",
        }
    ),
    "portal": frozenset(
        {
            "billing.cancel_at_period_end",
            "billing.connect_account",
            "billing.create_portal_session",
            "billing.customers_may",
            "billing.disconnect_account",
            "billing.erase_customer",
            "billing.hosted_invoice_url",
            "billing.invoice_states",
            "billing.stripe_account",
            "billing.subscription_prices",
            "notifier.change_webhook_endpoint",
            "notifier.create_webhook_endpoint",
            "notifier.delete_webhook_endpoint",
            "notifier.emails_of_invoices",
            "notifier.erase_customer",
            "notifier.replay_webhooks",
            "notifier.rotate_webhook_secret",
            "notifier.send_business_mail",
            "notifier.send_customer_mail",
            "notifier.send_fresh_link",
            "notifier.test_webhook_endpoint",
            "notifier.webhook_attempts",
            "notifier.webhook_endpoint",
            "notifier.webhook_endpoints",
        }
    ),
    "notifier": frozenset(
        {
            "billing.invoice_state",
            "billing.invoice_states",
            "portal.business_contact",
            "portal.cancellation_links",
            "portal.contact",
            "portal.contacts",
            "portal.observed",
        }
    ),
    "billing": frozenset({"portal.observed"}),
    "cli": frozenset(
        {
            "billing.close_event",
            "billing.collect_invoice",
            "billing.disconnect_account",
            "billing.erase_customer",
            "billing.import_findings",
            "billing.import_page",
            "billing.import_plan",
            "billing.inbox_event",
            "billing.inbox_events",
            "billing.note_dead_letter",
            "billing.observed_charges",
            "billing.reconcile",
            "billing.replay",
            "billing.republish",
            "billing.story",
            "billing.stripe_accounts",
            "notifier.accept_observed",
            "notifier.cancel",
            "notifier.change_webhook_endpoint",
            "notifier.create_webhook_endpoint",
            "notifier.delete_webhook_endpoint",
            "notifier.erase_customer",
            "notifier.notifications",
            "notifier.observed",
            "notifier.queue_welcomes",
            "notifier.replay_webhooks",
            "notifier.resend",
            "notifier.resend_failed",
            "notifier.rotate_webhook_secret",
            "notifier.send_test_mail",
            "notifier.stats",
            "notifier.stop_welcomes",
            "notifier.story",
            "notifier.test_webhook_endpoint",
            "notifier.webhook_attempts",
            "notifier.webhook_endpoint",
            "notifier.webhook_endpoints",
            "notifier.welcomes",
            "portal.accept_proposals",
            "portal.api_keys",
            "portal.begin_connecting",
            "portal.business_accounts",
            "portal.business_contact",
            "portal.businesses_modes",
            "portal.create_api_key",
            "portal.erase_customer",
            "portal.export_customers",
            "portal.find_customer",
            "portal.import_customers",
            "portal.link",
            "portal.link_customer",
            "portal.link_evidence",
            "portal.link_proposals",
            "portal.recipients",
            "portal.refuse_proposals",
            "portal.revoke_api_key",
            "portal.rotate_link",
            "portal.set_mode",
            "portal.story",
            "portal.unknown_links",
            "portal.unlink_customer",
        }
    ),
}
"""Caller to the RPC methods that it may call: host applications those of docs/integration.md, a service those that its code calls
(a test compares), `cli` those of people's command line, which works with billing's user in billing's pods."""

REPLY_ADDRESS: Final = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""The key of a queue for answers: a random UUID, which nobody else can name, and so nobody can listen to."""

_ANY: Final = ".*"
_NOTHING: Final = "^$"
_DEFAULT_EXCHANGE: Final = "amq.default"
_PEOPLE: Final = {"billing": "cli"}
"""With whose user people's command line works, beside the service itself."""


@dataclass(frozen=True)
class TopicRights:
    """Routing keys of one topic exchange that a user may publish, and those that it may bind a queue to."""

    write: str = _NOTHING
    read: str = _NOTHING


@dataclass(frozen=True)
class Rights:
    """A user's rights as RabbitMQ takes them: regular expressions of names, and of routing keys for each topic exchange."""

    configure: str
    write: str
    read: str
    topics: Mapping[str, TopicRights]


def users() -> dict[str, Rights]:
    """Each user of the broker with its rights."""
    services = {service: _service(service) for service in CONSUMERS}
    return {**services, "host": _host(), "keda": _keda()}


def users_while_upgrading() -> dict[str, Rights]:
    """The same with what the release before needs besides: while both run, for hosts that still call on the services' exchange,
    and for the way back. To be dropped with the component `rabbitmq-last-release` in the release after this one."""
    shared = (topology.RPC_EXCHANGE, topology.DEAD_EXCHANGE, topology.exchange("billing").name)
    queues = [topology.queue_name(one) for one in ("portal", "notifier")]
    heard = [topology.exchange(source).name for source in topology.sources()]
    now = users()
    host = _and(now["host"], configure=[topology.RPC_EXCHANGE, *heard], use=[topology.RPC_EXCHANGE])
    calls = host.topics[topology.HOST_EXCHANGE]
    return {
        "portal": _and(now["portal"], configure=shared),
        "notifier": _and(now["notifier"], configure=shared),
        "billing": _and(now["billing"], configure=queues, use=queues),
        "host": replace(host, topics={**host.topics, topology.RPC_EXCHANGE: calls}),
        "keda": now["keda"],
    }


def _and(rights: Rights, *, configure: Iterable[str], use: Iterable[str] = ()) -> Rights:
    def wider(pattern: str, names: Iterable[str]) -> str:
        return f"{pattern}|{_names(names)}" if names else pattern

    return replace(
        rights,
        configure=wider(rights.configure, configure),
        write=wider(rights.write, use),
        read=wider(rights.read, use),
    )


def callers_of(service: str) -> list[str]:
    """Whose calls are made with a service's user: its own, and those of people's command line."""
    return [service, *([_PEOPLE[service]] if service in _PEOPLE else [])]


def _service(service: str) -> Rights:
    callers = callers_of(service)
    calls = sorted(frozenset().union(*(CALLS[caller] for caller in callers)))
    hears = [one for one in topology.sources() if topology.event_queues(service, one)]
    event_queues = [one.name for source in hears for one in topology.event_queues(service, source)]
    topics = {
        topology.RPC_EXCHANGE: TopicRights(
            write=_one_of(map(_escape, calls), [REPLY_ADDRESS]),
            read=_one_of([rf"{service}\.\*", REPLY_ADDRESS]),
        ),
        topology.HOST_EXCHANGE: TopicRights(
            write=_one_of([REPLY_ADDRESS]), read=_one_of([rf"{service}\.\*"])
        ),
        topology.DEAD_EXCHANGE: TopicRights(read=_names(event_queues)),
        **{
            topology.exchange(source).name: TopicRights(
                write=_ANY if source == service else _NOTHING, read=_bindings(service, source)
            )
            for source in topology.sources()
            if source in hears or source == service
        },
    }
    queues = [
        f"rpc-{service}",
        *(rf"rpc\.reply-{caller}-.*" for caller in callers),
        *(rf"{_escape(name)}(\.dead|\.retry\.[0-9]+s)?" for name in event_queues),
    ]
    # A publisher binds the queues of its consumers, too.
    others = [
        queue.name
        for other in CONSUMERS
        if other != service
        for queue in topology.event_queues(other, service)
    ]
    # People's command line looks into the dead letters of all.
    everybodys = [
        queue.name
        for other in CONSUMERS
        if other != service
        for source in topology.sources()
        for queue in topology.event_queues(other, source)
    ]
    letters = [rf"{_escape(name)}\.dead" for name in everybodys] if service in _PEOPLE else []
    # To make a queue that dead-letters takes the right to write there; no key is published by that.
    publishes = [name for name, topic in topics.items() if topic.write != _NOTHING]
    writes = [*others, *publishes, topology.DEAD_EXCHANGE, _DEFAULT_EXCHANGE]
    binds = [_escape(name) for name, topic in topics.items() if topic.read != _NOTHING]
    makes = [_escape(one.name) for one in topology.exchanges_of(service)]
    return Rights(
        configure=_one_of(queues, makes),
        write=_one_of(queues, map(_escape, writes)),
        read=_one_of(queues, letters, binds),
        topics=topics,
    )


def _host() -> Rights:
    # nameko calls the answers' queue of a proxy outside a service after a stand-in for one.
    queues = [r"rpc\.reply-(host|standalone_rpc_proxy)-.*", r"host\..*"]
    hears = [topology.exchange(source).name for source in topology.sources()]
    topics = {
        topology.HOST_EXCHANGE: TopicRights(
            write=_one_of(map(_escape, sorted(CALLS["host"]))), read=_one_of([REPLY_ADDRESS])
        ),
        **{name: TopicRights(read=_ANY) for name in hears},
    }
    return Rights(
        configure=_one_of(queues),
        write=_one_of(queues, [_escape(topology.HOST_EXCHANGE)]),
        read=_one_of(queues, map(_escape, topics)),
        topics=topics,
    )


def _keda() -> Rights:
    return Rights(_NOTHING, _NOTHING, _names([topology.queue_name("notifier")]), {})


def _bindings(service: str, source: str) -> str:
    """The keys that a service binds on an exchange: for its own queue, and for those of all who hear what it publishes."""
    return _names(
        {
            bound.routing_key
            for one in (CONSUMERS if source == service else [service])
            for queue in topology.event_queues(one, source)
            for bound in queue.bindings
        }
    )


def _escape(name: str) -> str:
    return name.replace(".", r"\.")


def _names(names: Iterable[str]) -> str:
    return _one_of(map(_escape, sorted(names)))


def _one_of(*patterns: Iterable[str]) -> str:
    every = [pattern for some in patterns for pattern in some]
    return f"^{_either(every)}$"


def _either(patterns: list[str]) -> str:
    return f"({'|'.join(patterns)})" if len(patterns) > 1 else "".join(patterns)
