"""What is watched is counted: rules, dashboard and monitors name only metrics, labels and ports that exist."""

from __future__ import annotations

import importlib
import json
import re

from prometheus_client import REGISTRY

from shared.telemetry import PREFIX, WITHOUT_PREFIX
from tests.unit.deploy.manifests import REPOSITORY, SERVICES, Manifest, kind, named, pod_templates

BROKERS_METRICS = {"rabbitmq_detailed_queue_consumers", "rabbitmq_detailed_queue_messages"}
"""RabbitMQ's own; tests/integration/test_least_privilege.py finds them on a real broker."""
OTHERS_METRICS = BROKERS_METRICS | {
    # Of a scrape: https://prometheus.io/docs/concepts/jobs_instances/
    "up",
    # CloudNativePG's default queries, and its barman plugin's: https://cloudnative-pg.io/plugin-barman-cloud/docs/observability
    "cnpg_pg_stat_archiver_last_archived_time",
    "cnpg_pg_stat_archiver_last_failed_time",
    "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp",
    # The kubelet's: https://kubernetes.io/docs/reference/instrumentation/metrics/
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    # The blackbox exporter's: https://github.com/prometheus/blackbox_exporter
    "probe_success",
    "probe_ssl_earliest_cert_expiry",
}


def our_metrics() -> dict[str, set[str]]:
    """Each sample's name with its labels, as the code registers them."""
    for service in SERVICES:
        importlib.import_module(f"services.{service}.service")
    importlib.import_module("shared.tracing.recorder")
    found: dict[str, set[str]] = {}
    for collector, names in list(REGISTRY._collector_to_names.items()):
        for name in names:
            found[name] = set(getattr(collector, "_labelnames", ()))
    return found


def test_each_metric_of_ours_has_our_prefix() -> None:
    """Among the metrics of all that a Prometheus scrapes, ours are found together; the names of before are told once more."""
    ours = set(our_metrics())
    assert {name for name in ours if not name.startswith(("python_", "process_", PREFIX))} == set()
    assert {f"{PREFIX}{name}" for name in WITHOUT_PREFIX} <= ours


def test_the_page_lists_each_metric_with_its_labels() -> None:
    """docs/operations.md has them all, and no other."""
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    section = page.split("\n## Metrics\n", 1)[1].split("\n## ", 1)[0]
    listed = {
        name: set(re.findall(r"`(\w+)`", labels))
        for names, labels in re.findall(r"^\| (`portico_.*?) \| (.*?) \|", section, re.M)
        for name in re.findall(r"`(\w+)`", names)
    }
    ours = our_metrics()
    counted = {
        re.sub(r"_(bucket|count|sum)$", "", name): labels
        for name, labels in ours.items()
        if name.startswith(PREFIX) and not name.endswith("_created") and f"{name}_total" not in ours
    }
    assert listed == counted


def test_a_rule_counts_by_an_old_name_only_what_is_past() -> None:
    """Names without the prefix stand where a rule looks days back, and nowhere else."""
    for expression in rule_expressions():
        assert not re.search(
            rf"\b(?:{'|'.join(WITHOUT_PREFIX)})(?:_\w+)?\{{[^}}]*\}}\[\w+\](?! offset)", expression
        )


def used_metrics(expression: str) -> dict[str, set[str]]:
    """Metric names with the labels that they are filtered by."""
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(
        r"\b([a-z][a-z0-9_]*_[a-z0-9_]+)(?:\{([^}]*)\})?(?=[\s\[\)]|$|\{)", expression
    ):
        if name not in ("histogram_quantile", "label_values", "__rate_interval", "rate_interval"):
            found.setdefault(name, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))
    return found


def rule_expressions() -> list[str]:
    (rule,) = kind("production", "PrometheusRule")
    return [entry["expr"] for group in rule["spec"]["groups"] for entry in group["rules"]]


def dashboard() -> Manifest:
    loaded: Manifest = json.loads(
        named("production", "ConfigMap", "portico-dashboard")["data"]["portico.json"]
    )
    return loaded


def test_rules_watch_what_the_code_counts() -> None:
    """Every metric and label of a rule is registered by the code, or one that we know of others."""
    ours = our_metrics()
    seen = set()
    for expression in rule_expressions():
        for used, labels in used_metrics(re.sub(r"portico:\w+:\w+", "1", expression)).items():
            name = f"{PREFIX}{used}" if used.removesuffix("_total") in WITHOUT_PREFIX else used
            assert name in ours or name in OTHERS_METRICS, name
            assert name in OTHERS_METRICS or labels <= ours[name], f"{name} {labels}"
            seen.add(name)
    assert len(seen) >= 8


def test_the_dashboard_shows_what_the_code_counts() -> None:
    """Every panel's metrics and labels are registered by the code; every metric of the loop is on one."""
    ours = our_metrics()
    seen: set[str] = set()
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            for name, labels in used_metrics(target["expr"]).items():
                assert name in ours, f"{panel['title']}: {name}"
                assert labels <= ours[name] | {"namespace"}, f"{panel['title']}: {labels}"
                for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                    assert label in ours[name], f"{panel['title']}: {label}"
                seen.add(re.sub(r"_(bucket|count|sum)$", "", name))
    assert seen >= {
        "portico_stripe_webhooks_total",
        "portico_outbox_oldest_age_seconds",
        "portico_event_handler_duration_seconds",
        "portico_notifications_oldest_due_seconds",
        "portico_emails_sent_total",
        "portico_sendgrid_events_total",
        "portico_portal_visits_total",
        "portico_portal_billing_opened_total",
        "portico_dead_letters_total",
    }


def test_alerts_lead_to_their_page() -> None:
    """Each alert's runbook is a heading of docs/operations.md, under the address that the overlay names."""
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    headings = {heading.strip("# `\n").lower() for heading in re.findall(r"^#+ .*$", text, re.M)}
    (rule,) = kind("production", "PrometheusRule")
    for group in rule["spec"]["groups"]:
        for entry in group["rules"]:
            if "alert" in entry:
                path, _, anchor = entry["annotations"]["runbook_url"].partition("#")
                assert path == "https://git.example.com/portico/docs/operations.md"
                assert anchor == entry["alert"].lower()
                assert anchor in headings


def test_monitors_scrape_ports_that_exist() -> None:
    """The services' monitor fits their pods and names their port."""
    monitor = named("production", "PodMonitor", "portico")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    fits = [
        template
        for _, template in pod_templates("production")
        if wanted.items() <= template["metadata"]["labels"].items()
    ]
    assert len(fits) == len(SERVICES)
    for template in fits:
        (container,) = template["spec"]["containers"]
        assert {e["port"] for e in monitor["spec"]["podMetricsEndpoints"]} == {
            container["ports"][0]["name"]
        }
