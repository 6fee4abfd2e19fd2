"""The image: built from the Dockerfile, and the three services run from it as a cluster would run them.

Needs buildah, debootstrap, podman and runc, and to be root: skipped where they are not. No registry is asked: the base is
made of Debian's packages.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.host_app import Portico
from local.processes import SERVICES, Process, Stack
from local.servers import Child, PostgreSQL, RabbitMQ
from tests.fixtures.servers import REPOSITORY
from tests.fixtures.story import Story, eventually, link_in
from tests.fixtures.system import assert_private

IMAGE = "localhost/portico:dev"
MEBIBYTE = 1 << 20
PROGRAMS = ("buildah", "debootstrap", "podman", "runc")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="building without user namespaces needs root"),
    pytest.mark.skipif(
        not all(map(shutil.which, PROGRAMS)),
        reason=f"needs {', '.join(PROGRAMS)} (`apt-get install buildah debootstrap podman runc`)",
    ),
    pytest.mark.timeout(900),
]

RUN = (
    "podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--rm", "--pull", "never",
    "--network", "host", "--read-only", "--tmpfs", "/tmp:rw,size=64m", "--cap-drop", "all",
    "--security-opt", "no-new-privileges",
    "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096",
)  # fmt: skip


def tool_environment() -> dict[str, str]:
    return {**os.environ, "STORAGE_DRIVER": "vfs"}


def tool(*words: str, within: float = 600) -> str:
    """What podman or buildah printed; fails with what it said."""
    done = subprocess.run(
        words, cwd=REPOSITORY, env=tool_environment(), capture_output=True, text=True, timeout=within
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def in_image(*words: str, entrypoint: str = "python") -> str:
    """What a command prints in a container of the image, as restricted as the services run."""
    return tool(*RUN, "--entrypoint", entrypoint, IMAGE, *words, within=120)


@pytest.fixture(scope="module")
def image() -> str:
    """The production image, as `make image BASE=debian` builds it; IMAGE_IS_BUILT=1 takes the one that is there."""
    if not os.environ.get("IMAGE_IS_BUILT"):
        tool("make", "image", "BASE=debian")
    return IMAGE


class Container(Process):
    """A service in a container: secrets in files, other settings in the environment, nothing else of this machine."""

    secrets: Path

    def _run(self, *words: str) -> Child:
        settings = {
            name: value
            for name, value in self.env.items()
            if name not in ("PATH", "HOME", "TMPDIR", "LANG", "PYTHONUNBUFFERED")
        }
        self.secrets.mkdir(exist_ok=True)
        self.secrets.chmod(0o755)
        flags = ["--volume", f"{self.secrets}:/run/portico:ro"]
        for name, value in settings.items():
            if re.search(r"URI|DATABASE_URL|KEYS?$|SECRETS$", name) and "PUBLIC" not in name:
                (self.secrets / name).write_text(value + "\n")
                flags += ["--env", f"{name}_FILE=/run/portico/{name}"]
            else:
                flags += ["--env", f"{name}={value}"]
        return Child(
            [
                *RUN,
                "--name",
                f"portico-test-{self.name}-{os.getpid()}-{len(words)}",
                *flags,
                IMAGE,
                self._module,
                *words,
            ],
            env={"PATH": os.environ["PATH"], "HOME": "/root", "STORAGE_DRIVER": "vfs"},
            log=self._log,
            cwd=REPOSITORY,
        )


class ContainerStack(Stack):
    """The stack whose services run from the image."""

    def _one(self, service: str, port: int, mark: str) -> Process:
        name = f"{service}-{mark}"
        container = Container(
            name,
            f"services.{service}",
            port=port,
            env=self.env(service, port),
            log=self.folder / f"{name}.log",
        )
        container.secrets = self.folder / f"{name}-secrets"
        return container


@pytest.fixture(scope="module")
def containers(
    image: str, tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQ, postgres: PostgreSQL
) -> Iterator[ContainerStack]:
    """Portico from the image, migrated from the image, with the sandbox beside it."""
    folder = tmp_path_factory.mktemp("image")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o011)
    stack = ContainerStack(folder, name="image", rabbitmq=rabbitmq, postgres=postgres)
    try:
        stack.start()
        yield stack
    finally:
        for service in SERVICES:
            for process in stack._processes.get(service, []):
                process.terminate()
        stack.close()


def test_a_failed_charge_becomes_an_email(containers: ContainerStack) -> None:
    """The loop works from containers with a read-only root, no capabilities, and a uid that nobody has."""
    story = Story(
        Portico(containers.amqp_uri, timeout=10), containers.sandbox_url, containers.stripe_api_key
    )
    try:
        customer = story.customer("autopay")
        story.charge_fails(customer)
        assert link_in(story.mail_to(customer, within=30)).startswith(customer.link)
    finally:
        story.close()
    assert_private(containers.logs(), containers.secrets())


def test_the_process_is_who_it_should_be(containers: ContainerStack) -> None:
    """Process 1 of each container is Python itself, as 10001, with no capability."""
    names = tool("podman", "ps", "--format", "{{.Names}}").split()
    mine = [
        name for name in names if name.startswith("portico-test-") and f"-{os.getpid()}-" in name
    ]
    assert len(mine) == len(SERVICES)
    for name in mine:
        (pid,) = tool("podman", "inspect", "--format", "{{.State.Pid}}", name).split()
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^Uid:\s+10001\s+10001", status, re.M)
        assert re.search(r"^Gid:\s+10001\s+10001", status, re.M)
        assert re.search(r"^CapEff:\s+0{16}$", status, re.M)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"python\0-m\0services.")


def test_sigterm_ends_a_container_in_order(containers: ContainerStack) -> None:
    """Process 1 gets the signal, finishes and exits 0, well within the grace period; then it comes up again."""
    (notifier,) = containers.processes("notifier")
    notifier.signal(signal.SIGTERM)
    eventually(lambda: not notifier.running, within=30, what="the end of the container")
    assert notifier.terminate() == 0
    assert '"event": "stopped"' in notifier.log_text()
    containers.resume("notifier")


def test_only_what_runs_is_inside(image: str) -> None:
    """No tests, docs, sandbox, examples, requirements, pip, or bytecode that a read-only root can't renew."""
    listed = in_image("-c", "import os; print(sorted(os.listdir('.')))")
    assert listed.strip() == "['portico', 'services', 'shared']"
    packages = in_image(
        "-c",
        "from importlib.metadata import distributions as d; print(' '.join(x.name.lower() for x in d()))",
    ).split()
    assert {"nameko", "stripe", "sendgrid"} <= set(packages)
    assert not {"flask", "pytest", "pip", "setuptools"} & set(packages)


def test_every_part_starts_in_it(image: str) -> None:
    """The modules of all three services and the command line import; wrong settings are told, as exit code 2."""
    for module in SERVICES:
        done = subprocess.run(
            [*RUN, IMAGE, f"services.{module}"],
            env=tool_environment(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert "settings are wrong" in done.stderr
    assert "explain" in tool(*RUN, IMAGE, "portico", "--help", within=120)


def test_it_is_small(image: str) -> None:
    """What we add to the base is under 170 MiB (stripe, babel and SQLAlchemy are most of it)."""
    size = in_image(
        "-c",
        "import os; print(sum(os.lstat(os.path.join(d, f)).st_size"
        " for root in ('/opt/portico', '/srv/portico') for d, _, fs in os.walk(root) for f in fs))",
    )
    assert int(size) < 170 * MEBIBYTE, f"{int(size) / MEBIBYTE:.0f} MiB"
