"""deploy/systemd and deploy/nginx: the same settings, promises and paths as the pods have, and what systemd and nginx say of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts.make_docs import settings_of
from shared.nameko_ext import web
from shared.nameko_ext.runtime import GRACE_SECONDS
from shared.settings import REQUIRED
from tests.fixtures.server_page import PAGE, blocks
from tests.unit.deploy.manifests import REPOSITORY, SERVICES, containers, named

UNITS = REPOSITORY / "deploy" / "systemd"
HARDENING = UNITS / "portico-.service.d" / "hardening.conf"
NGINX = REPOSITORY / "deploy" / "nginx" / "portico.conf"
ALL_UNITS = sorted(path.name for path in UNITS.glob("portico-*.service"))

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (package systemd)"
)
needs_nginx = pytest.mark.skipif(
    shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None,
    reason="needs nginx (package nginx)",
)


def values(text: str, key: str) -> list[str]:
    """What a unit says for a key, in order."""
    return re.findall(rf"^{key}=(.*)$", text, re.M)


def unit(service: str) -> str:
    return (UNITS / f"portico-{service}.service").read_text()


@pytest.mark.parametrize("service", SERVICES)
def test_a_unit_gives_a_service_the_secrets_that_its_pod_has(service: str) -> None:
    """The same settings from files, each loaded by systemd for this process alone; the page makes each file."""
    text = unit(service)
    (container,) = named("production", "Deployment", service)["spec"]["template"]["spec"][
        "containers"
    ]
    from_files = {one["name"] for one in container["env"]}
    given = dict(one.split("=", 1) for one in values(text, "Environment"))
    loaded = dict(one.split(":", 1) for one in values(text, "LoadCredential"))
    assert given.keys() == from_files
    assert given == {f"{name}_FILE": f"%d/{name}" for name in loaded}
    made = "\n".join((*blocks("Databases and broker"), *blocks("Settings")))
    for name, path in loaded.items():
        assert path == f"/etc/portico/{service}/{name}"
        written = path.replace(f"{service.upper()}_DATABASE_URL", "$setting")
        assert {path, written, written.replace(f"/{service}/", "/$service/")} & set(
            re.findall(r"> (\S+)", made)
        ), path


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_the_page_is_one_of_its_service(service: str) -> None:
    """Each line of an environment file, and each secret, is a setting of docs/settings.md for that service."""
    known = {name for name, *_ in settings_of(service)}
    page = PAGE.read_text()
    files = re.findall(rf"/etc/portico/{service}\.env <<'END'\n(.*?)^END$", page, re.M | re.S)
    added = re.findall(rf"echo '(\w+)=.*>> /etc/portico/{service}\.env", page)
    lines = [line.partition("=")[0] for text in files for line in text.splitlines()]
    secrets = [one.partition(":")[0] for one in values(unit(service), "LoadCredential")]
    assert lines
    assert {*lines, *added, *secrets} <= known
    required = {name for name, _, default, _ in settings_of(service) if default is REQUIRED}
    assert required <= {*lines, *secrets}


def test_a_block_that_makes_secrets_takes_its_umask_back() -> None:
    """Whoever types the page types it into one shell: what comes later (packages, other units' files) is for everybody."""
    texts = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    private = [text for text in texts if "umask 077" in text]
    assert len(private) == 3
    assert [text for text in private if not text.endswith("\numask 022\n")] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_unit_promises_what_a_pod_does(service: str) -> None:
    """An ordinary user, a read-only root, no capability, the usual system calls; the same memory, start and end."""
    text, hardening = unit(service), HARDENING.read_text()
    template = named("production", "Deployment", service)["spec"]["template"]
    (container,) = template["spec"]["containers"]
    context = container["securityContext"]
    assert context["runAsNonRoot"]
    assert values(text, "User") == [f"portico-{service}"]
    assert context["readOnlyRootFilesystem"]
    assert values(hardening, "ProtectSystem") == ["strict"]
    assert "ReadWritePaths" not in text
    assert context["allowPrivilegeEscalation"] is False
    assert values(hardening, "NoNewPrivileges") == ["yes"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert values(hardening, "CapabilityBoundingSet") == [""]
    assert template["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "@system-service" in values(hardening, "SystemCallFilter")
    assert values(text, "MemoryMax") == [container["resources"]["limits"]["memory"].rstrip("i")]
    assert not values(text, "CPUQuota")
    assert int(values(text, "TimeoutStopSec")[0]) > GRACE_SECONDS
    python = "/opt/portico/current/.venv/bin/python -m "
    (first,) = [one["args"] for one in containers(template) if one["name"] == "migrated"]
    assert values(text, "ExecStartPre") == [python + " ".join(first)]
    assert values(text, "ExecStart") == [python + " ".join(container["args"])]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as systemd would find them, with programs that are here in place of those of a server."""
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob("portico-*.service"):
        path.write_text(
            path.read_text().replace("/opt/portico/current/.venv/bin/python", "/bin/sh")
        )
    return tmp_path


def analyze(*words: str, units: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words],
        env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@needs_systemd
def test_systemd_takes_the_units(installed: Path) -> None:
    """No unknown key, no wrong value."""
    units = [path for path in installed.iterdir() if path.suffix in (".service", ".timer")]
    done = analyze("verify", "--man=no", *map(str, units), units=installed)
    ours = [line for line in done.stderr.splitlines() if "portico" in line]
    assert ours == []


@needs_systemd
@pytest.mark.parametrize("name", ALL_UNITS)
def test_little_is_exposed(installed: Path, name: str) -> None:
    """systemd's own measure, from 0 to 10, is below 2 for each: the hardening is found by the units' names."""
    done = analyze(
        "security", "--offline=true", "--no-pager", str(installed / name), units=installed
    )
    (level,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(level) < 2


def locations() -> dict[str, str]:
    """Each path of the TLS server with what stands in it."""
    server = NGINX.read_text().partition("listen 443")[2]
    return dict(re.findall(r"location (?:= )?(\S+) \{\n(.*?)^    \}", server, re.M | re.S))


def test_nginx_sends_each_path_where_the_route_does() -> None:
    """The paths of deploy/k8s's HTTPRoute, each to the same service's port, and nothing else."""
    text = NGINX.read_text()
    ports = dict(re.findall(r"upstream portico_(\w+) \{\n    server 127\.0\.0\.1:(\d+);", text))
    addresses = re.findall(r"^HTTP_ADDRESS=127\.0\.0\.1:(\d+)$", PAGE.read_text(), re.M)
    assert list(ports.values()) == addresses
    route = yaml.safe_load(
        (REPOSITORY / "deploy/k8s/components/http-route/http-route.yaml").read_text()
    )
    expected = {
        match["path"]["value"]: rule["backendRefs"][0]["name"]
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
    }
    passed = {
        path: re.findall(r"proxy_pass http://portico_(\w+);", body)
        for path, body in locations().items()
    }
    assert passed.pop("/") == []
    assert passed == {path: [service] for path, service in expected.items()}


def test_nginx_limits_bodies_as_portico_does() -> None:
    """16 KiB of a form, 1 MiB of a webhook; and it logs no path."""
    for path, body in locations().items():
        limits = re.findall(r"client_max_body_size (\w+);", body)
        if path.startswith("/webhooks"):
            assert limits == ["1m"]
        elif path != "/":
            assert limits == ["16k"]
    assert (web.FORM_BYTES, web.WEBHOOK_BYTES) == (16 << 10, 1 << 20)
    text = NGINX.read_text()
    assert text.count("access_log off;") == text.count("server {")
    assert set(re.findall(r"error_log \S+ (\w+);", text)) == {"crit"}


@needs_nginx
def test_nginx_takes_its_file(tmp_path: Path) -> None:
    """`nginx -t`, with a certificate of the test's own."""
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-subj", "/CN=me.example.com", "-keyout", str(key), "-out", str(certificate)),
        ],
        capture_output=True,
        check=True,
    )
    text = NGINX.read_text().replace("/etc/letsencrypt/live/me.example.com", str(tmp_path))
    text = text.replace("/var/log/nginx", str(tmp_path))
    (tmp_path / "portico.conf").write_text(text)
    whole = f"pid {tmp_path}/pid; error_log {tmp_path}/error; events {{}} http {{ include {tmp_path}/portico.conf; }}"
    (tmp_path / "nginx.conf").write_text(whole)
    done = subprocess.run(
        ["/usr/sbin/nginx", "-t", "-c", str(tmp_path / "nginx.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
