"""Everything that a manifest refers to exists: no validator sees a Secret's key, a queue or a setting that is not there."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from shared.messaging import topology
from shared.messaging.rights import users, users_while_upgrading
from shared.nameko_ext.web import Http
from tests.unit.deploy.manifests import (
    K8S,
    OVERLAYS,
    SERVICES,
    Manifest,
    containers,
    kind,
    migrations,
    named,
    pod_templates,
    rendered,
    run,
    secrets,
    walk,
)

OPERATORS_OBJECTS = {
    ("Service", "rabbitmq"),  # the Cluster Operator's, named after the RabbitmqCluster
    ("Service", "postgresql-rw"),  # CloudNativePG's, the primary
    ("Service", "otel-collector"),  # the OpenTelemetry Operator's, of a collector called `otel`
}

PREFIXES = ("/me/", "/requests/", "/connect/")
"""Below these, pages that open with a link that is a secret, and where Stripe leads a business back to."""
DOORS = ("/webhooks/stripe", "/webhooks/sendgrid")
BELOW = "/webhooks/stripe/"
"""Below it, the webhooks of accounts beside the own one."""

QUEUES = {
    queue.name
    for service in SERVICES
    for source in topology.sources()
    for main in topology.event_queues(service, source)
    for queue in (main, *topology.auxiliary_queues(main.name))
}


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Asked(Mapping[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values_, self.names = values, set[str]()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self.values_[name]

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return self.values_.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def environment(overlay: str, template: Manifest, container: Manifest) -> dict[str, str]:
    """A container's variables; `NAME_FILE` becomes NAME with the mounted file's content. A missing one fails."""
    made: dict[str, str] = {}
    for source in container.get("envFrom", []):
        made |= named(overlay, "ConfigMap", source["configMapRef"]["name"])["data"]
    volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
    files: dict[str, str] = {}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "secret" in volume:
            kept = secrets(overlay)[volume["secret"]["secretName"]]
            names = {item["key"]: item["path"] for item in volume["secret"].get("items", [])} or {
                key: key for key in kept
            }
            files |= {f"{mount['mountPath']}/{path}": kept[key] for key, path in names.items()}
        if "configMap" in volume:
            data = named(overlay, "ConfigMap", volume["configMap"]["name"])["data"]
            files |= {f"{mount['mountPath']}/{key}": text for key, text in data.items()}
    for variable in container.get("env", []):
        if "value" in variable:
            made[variable["name"]] = variable["value"]
        else:
            reference = variable["valueFrom"]["secretKeyRef"]
            made[variable["name"]] = secrets(overlay)[reference["name"]][reference["key"]]
    for name in [name for name in made if name.endswith("_FILE")]:
        made[name.removesuffix("_FILE")] = files[made.pop(name)]
    for word in container.get("command", []):
        if word.startswith("/"):
            assert word in files, word
    for value in made.values():
        for path in re.findall(r"sslrootcert=(\S+)", value):
            assert path in files, path
    return made


def test_every_secret_config_map_and_account_is_there(overlay: str) -> None:
    """Each pod finds its account, its variables, its mounted files, and the certificate that its URL names."""
    accounts = {manifest["metadata"]["name"] for manifest in kind(overlay, "ServiceAccount")}
    seen = 0
    for _, template in pod_templates(overlay):
        assert template["spec"]["serviceAccountName"] in accounts
        mountable = {volume["name"] for volume in template["spec"].get("volumes", [])}
        for container in containers(template):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= mountable
            environment(overlay, template, container)
            seen += 1
    assert seen >= 12


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_starts_with_what_it_is_given(overlay: str, service: str) -> None:
    """The service's own settings take the pod's environment, and read everything that it holds."""
    template = named(overlay, "Deployment", service)["spec"]["template"]
    (container,) = template["spec"]["containers"]
    given = environment(overlay, template, container)
    asked = Asked(given)
    importlib.import_module(f"services.{service}.settings").load(asked)
    assert set(given) <= asked.names
    assert given["HTTP_ADDRESS"].endswith(f":{container['ports'][0]['containerPort']}")


@pytest.mark.parametrize("service", SERVICES)
def test_traces_find_their_way_out(service: str) -> None:
    """Where an overlay has a service traced, the NetworkPolicy lets it reach the collector that it is told of, in its
    namespace and at its port; elsewhere nothing is traced."""
    load = importlib.import_module(f"services.{service}.settings").load
    for overlay in OVERLAYS:
        template = named(overlay, "Deployment", service)["spec"]["template"]
        traced = load(environment(overlay, template, template["spec"]["containers"][0])).tracing
        assert (traced is not None) == (overlay == "staging")
        if traced is not None:
            collector = urlsplit(traced.endpoint)
            namespace = str(collector.hostname).split(".")[1]
            allowed = named(overlay, "NetworkPolicy", "collector")["spec"]["egress"]
            assert {
                "to": [
                    {
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": namespace}
                        }
                    }
                ],
                "ports": [{"port": collector.port, "protocol": "TCP"}],
            } in allowed


def test_the_migrations_hold_no_key_and_another_role(overlay: str) -> None:
    """A Job gets its database's URL alone, with a role that is not the service's."""
    for service in SERVICES:
        template = migrations(overlay, service)["spec"]["template"]
        database, _, migrate = containers(template)
        name = f"{service.upper()}_DATABASE_URL"
        for container in containers(template):
            given = environment(overlay, template, container)
            assert set(given) == {name, "APP_ROLE"}
            assert given[name].startswith(f"postgresql://{service}_migrations:")
            assert given["APP_ROLE"] == service
        assert database["args"] == [f"services.{service}", "wait-for-database"]
        assert migrate["args"] == [f"services.{service}", "migrate"]


def test_settings_that_differ_by_place_are_set_in_each() -> None:
    """No overlay for others' eyes keeps the base's example.com names of another place."""
    for overlay, host in (("staging", "me.staging.example.com"), ("production", "me.example.com")):
        for service in ("portal", "billing"):
            assert named(overlay, "ConfigMap", service)["data"]["PUBLIC_URL"] == f"https://{host}"
        (route,) = kind(overlay, "HTTPRoute")
        assert route["spec"]["hostnames"] == [host]


def ports(overlay: str, service: str) -> set[str | int]:
    """The names and numbers under which a Service can be reached."""
    manifest = named(overlay, "Service", service)
    return {port[key] for port in manifest["spec"]["ports"] for key in ("name", "port")}


def test_ways_in_lead_to_ports_that_pods_have(overlay: str) -> None:
    """Service to container port, route to Service, scaler and budget to Deployment, selectors to labels."""
    templates = dict(pod_templates(overlay))
    for service in kind(overlay, "Service"):
        selector = service["spec"]["selector"]
        (template,) = [
            template
            for template in templates.values()
            if selector.items() <= template["metadata"]["labels"].items()
        ]
        open_ports = {port["name"] for c in containers(template) for port in c.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports
    for route in kind(overlay, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                assert backend["port"] in ports(overlay, backend["name"])
    for scaler in kind(overlay, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        deployment = named(overlay, "Deployment", target)
        assert "replicas" not in deployment["spec"], "the autoscaler decides"
        names = {c["name"] for c in containers(deployment["spec"]["template"])}
        wanted = {value for key, value in walk(scaler["spec"]) if key == "containerName"} | {
            metric["containerResource"]["container"] for metric in scaler["spec"].get("metrics", [])
        }
        assert wanted <= names
    scaled = [
        scaler["spec"]["scaleTargetRef"]["name"]
        for scaler in kind(overlay, "HorizontalPodAutoscaler", "ScaledObject")
    ]
    assert len(scaled) == len(set(scaled)), "never two on one Deployment"
    for budget in kind(overlay, "PodDisruptionBudget"):
        wanted = budget["spec"]["selector"]["matchLabels"]
        assert wanted == {"app.kubernetes.io/name": "rabbitmq"} or any(
            wanted.items() <= template["metadata"]["labels"].items()
            for template in templates.values()
        )


def test_the_door_is_narrow() -> None:
    """From outside: the pages behind secret links and the webhooks. Never /metrics, /healthz or /readyz."""
    ingress = yaml.safe_load((K8S / "components/ingress/ingress.yaml").read_text())
    paths = {
        (entry["path"], entry["pathType"])
        for rule in ingress["spec"]["rules"]
        for entry in rule["http"]["paths"]
    }
    assert paths == {
        *((path, "Prefix") for path in PREFIXES),
        *((path, "Exact") for path in DOORS),
        (BELOW, "Prefix"),
    }
    for overlay in ("staging", "production"):
        (route,) = kind(overlay, "HTTPRoute")
        matches = {
            (match["path"]["value"], match["path"]["type"], match.get("method"))
            for rule in route["spec"]["rules"]
            for match in rule["matches"]
        }
        assert matches == {
            *((path, "PathPrefix", None) for path in PREFIXES),
            *((path, "Exact", "POST") for path in DOORS),
            (BELOW, "PathPrefix", "POST"),
        }


def routes_in_code() -> set[str]:
    """The routes of all `@http` entrypoints, wherever a service has them from; not those of the API for hosts, which have a listener
    of their own that no overlay opens."""
    return {
        entrypoint.url
        for service in SERVICES
        for _, method in inspect.getmembers(
            getattr(
                importlib.import_module(f"services.{service}.service"),
                f"{service.capitalize()}Service",
            ),
            inspect.isfunction,
        )
        for entrypoint in getattr(method, "nameko_entrypoints", ())
        if isinstance(entrypoint, Http) and entrypoint.server.setting == "HTTP_ADDRESS"
    }


def test_every_route_of_the_code_is_let_in() -> None:
    """A page or webhook that a service answers is reachable from outside, and none else."""
    routes = routes_in_code()
    below = (*PREFIXES, BELOW)
    let_in = {path for path in below for route in routes if route.startswith(path)}
    assert let_in == set(below)
    assert {route for route in routes if not route.startswith(below)} == set(DOORS)


def test_the_api_for_hosts_is_not_let_in(overlay: str) -> None:
    """It listens nowhere: whoever wants it there gives it an address, and a way to it, of its own."""
    (container,) = named(overlay, "Deployment", "portal")["spec"]["template"]["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [8000]
    everything = str([one for one in rendered(overlay) if one["kind"] != "PrometheusRule"])
    assert "API_ADDRESS" not in everything
    assert "/api/" not in everything


def test_queue_names_are_those_of_the_code(overlay: str) -> None:
    """Rights, scalers, alerts: whatever names a queue or exchange names one that the services declare."""
    for trigger in (
        t for scaler in kind(overlay, "ScaledObject") for t in scaler["spec"]["triggers"]
    ):
        if trigger["type"] == "rabbitmq":
            assert trigger["metadata"]["queueName"] in QUEUES
    for service in SERVICES:
        rights = named(overlay, "Permission", service)["spec"]["permissions"]
        own = {name for name in QUEUES if name.startswith(f"{service}.")}
        for right in ("configure", "write", "read"):
            allowed = {name for name in QUEUES if re.fullmatch(rights[right], name)}
            others = {
                queue.name
                for other in SERVICES
                for source in topology.sources()
                for queue in topology.event_queues(other, source)
            } - own
            publishes = {queue.name for queue in topology.queues_of(service)}
            letters = {f"{name}.dead" for name in others} if service == "billing" else set()
            more = {"write": others & publishes, "read": letters}.get(right, set())
            assert allowed == own | more, f"{service} {right}"
            assert not re.search(rights[right], "something-else")


def test_rights_are_those_of_the_code(overlay: str) -> None:
    """Each user has the rights of `shared/messaging/rights.py`, by name and on each topic exchange, and no others."""
    bounds: dict[str, dict[str, tuple[str, str]]] = {user: {} for user in users()}
    for one in kind(overlay, "TopicPermission"):
        given = one["spec"]["permissions"]
        bounds[one["spec"]["userReference"]["name"]][given["exchange"]] = (
            given["write"],
            given["read"],
        )
    for permission in kind(overlay, "Permission"):
        user, given = permission["spec"]["userReference"]["name"], permission["spec"]["permissions"]
        expected = users()[user]
        assert given == {
            "configure": expected.configure,
            "write": expected.write,
            "read": expected.read,
        }
        assert bounds[user] == {
            exchange: (topic.write, topic.read) for exchange, topic in expected.topics.items()
        }


def test_while_upgrading_both_releases_have_their_rights(tmp_path: Path) -> None:
    """The component for the upgrade widens what the overlay gives, and takes nothing away."""
    component = K8S / "components" / "rabbitmq-last-release"
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [{os.path.relpath(K8S / 'overlays' / 'production', tmp_path)}]\n"
        f"components: [{os.path.relpath(component, tmp_path)}]\n"
    )
    done = run("kubectl", "kustomize", "--load-restrictor=LoadRestrictionsNone", tmp_path)
    assert done.returncode == 0, done.stderr
    wider = users_while_upgrading()
    seen = 0
    for one in yaml.safe_load_all(done.stdout):
        if one["kind"] == "Permission":
            expected = wider[one["metadata"]["name"]]
            assert one["spec"]["permissions"]["configure"] == expected.configure
            seen += 1
    assert seen == len(wider)
    for user, now in users().items():
        for right in ("configure", "write", "read"):
            assert getattr(wider[user], right).startswith(getattr(now, right))
        assert dict(now.topics).items() <= dict(wider[user].topics).items()


def test_users_and_roles_have_their_passwords(overlay: str) -> None:
    """Each user of the broker and role of the database finds the Secret it is made from, with the name in its URL."""
    made = secrets(overlay)
    for user in kind(overlay, "User"):
        credentials = made[user["spec"]["importCredentialsSecret"]["name"]]
        assert set(credentials) == {"username", "password"}
    made_users = {user["metadata"]["name"] for user in kind(overlay, "User")}
    assert {p["spec"]["userReference"]["name"] for p in kind(overlay, "Permission")} == made_users
    (cluster,) = kind(overlay, "Cluster")
    roles = {role["name"]: role for role in cluster["spec"]["managed"]["roles"]}
    for name, role in roles.items():
        assert made[role["passwordSecret"]["name"]]["username"] == name
        assert not any(role.get(right) for right in ("superuser", "createdb", "createrole"))
    for database in kind(overlay, "Database"):
        assert database["spec"]["owner"] == f"{database['spec']['name']}_migrations"
        assert database["spec"]["owner"] in roles
        assert database["spec"]["cluster"]["name"] == cluster["metadata"]["name"]
    for authentication in kind(overlay, "TriggerAuthentication"):
        for reference in authentication["spec"]["secretTargetRef"]:
            assert reference["key"] in made[reference["name"]]


def test_hosts_in_urls_are_services(overlay: str) -> None:
    """A broker, database or neighbour that a URL names is a Service of the overlay or of one of its operators."""
    known = {name for _, name in OPERATORS_OBJECTS} | {
        s["metadata"]["name"] for s in kind(overlay, "Service")
    }
    found = set()
    texts = [text for values in secrets(overlay).values() for text in values.values()]
    texts += [
        text for m in kind(overlay, "ConfigMap") for text in m["data"].values() if len(text) < 300
    ]
    for text in texts:
        found |= set(re.findall(r"^(?:amqp|postgresql|http)://(?:[^@/]*@)?([a-z.-]+)", text))
    assert {host.split(".")[0] for host in found} - {"localhost"} <= known
    assert {"rabbitmq", "postgresql-rw"} <= found


def test_network_policies_name_pods_that_exist() -> None:
    """Each selector of ours fits a pod of ours or of an operator, each named port is a port of that pod."""
    overlay = "production"
    labels = [template["metadata"]["labels"] for _, template in pod_templates(overlay)]
    labels += [
        {"app.kubernetes.io/name": "rabbitmq", "app.kubernetes.io/component": "rabbitmq"},
        {"cnpg.io/cluster": "postgresql"},
        {"k8s-app": "kube-dns"},
    ]
    policies = kind(overlay, "NetworkPolicy")
    assert {p["metadata"]["name"] for p in policies} >= {"default-deny", "allow-dns", *SERVICES}
    for key, selector in (pair for policy in policies for pair in walk(policy["spec"])):
        if key == "podSelector" and selector.get("matchLabels"):
            assert any(selector["matchLabels"].items() <= have.items() for have in labels), selector
    for name in ("gateway", "monitoring"):
        (rule,) = named(overlay, "NetworkPolicy", name)["spec"]["ingress"]
        assert {port["port"] for port in rule["ports"]} == {"http"}
    for name in SERVICES:  # who comes in is said by those two alone
        assert "ingress" not in named(overlay, "NetworkPolicy", name)["spec"]
