"""A RabbitMQ node of our own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from local.servers.children import Child, ServerMissing, StartError, free_port, kept_secret
from sandbox.private import open_private, private_folder

# A quorum queue is asked itself: what the node knows of one is up to five seconds old.
QUEUES = """\
[{{binary_to_list(element(4, amqqueue:get_name(Q))), Found}} || Q <- rabbit_amqqueue:list(<<"{host}">>), {{_, _}} = Found <- [
  case amqqueue:get_type(Q) of
    rabbit_quorum_queue ->
      Look = fun(State) -> {{rabbit_fifo:query_messages_total(State), rabbit_fifo:query_consumer_count(State)}} end,
      case catch ra:local_query(amqqueue:get_pid(Q), Look) of {{ok, {{_, Counts}}, _}} -> Counts; _ -> {{0, 0}} end;
    _ ->
      case catch rabbit_amqqueue:info(Q, [messages, consumers]) of [{{_, M}}, {{_, C}}] -> {{M, C}}; _ -> gone end
  end]]"""

NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")

# Where packages put the real programs. Debian's scripts of the same names in /usr/sbin insist on the user `rabbitmq`.
SCRIPT_FOLDERS = ("/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin")

START_SECONDS = 240.0
"""Three on an idle machine. On one where thirty others want a processor it was more than a minute, and all tests of a run failed at once; a
node that ends while it starts is told of at once in any case."""

# RabbitMQ stops accepting publishes above this much memory; small, since a laptop has other things to do.
MEMORY_LIMIT = "1GB"

RABBITMQ_CONF = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = portico
default_pass = {password}
vm_memory_high_watermark.absolute = {memory}
disk_free_limit.absolute = 50MB
log.file = false
log.console = true
log.console.level = warning
"""

# +sbwt short: a scheduler that looks for work a moment before it sleeps halves the time to start (6.7 -> 3.2 s), for
# almost no idle CPU. Two schedulers, the distribution on loopback only.
ERLANG_FLAGS = (
    "+S 2:2 +sbwt short +sbwtdcpu short +sbwtdio short -kernel inet_dist_use_interface {127,0,0,1}"
)
# A command is a node of its own, which asks the server and ends: one scheduler that never spins costs half the CPU.
CTL_FLAGS = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r}: letters, digits, dot, dash and underscore only")
    return name


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


class RabbitMQ:
    """A RabbitMQ node of our own, with an epmd (Erlang's port directory) of its own."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        """`folder` holds its data, log and secrets, and is made when missing. Raises ServerMissing."""
        self.folder = folder
        self.port = port or free_port()
        self._distribution_port, self._epmd_port = free_port(), free_port()
        self._scripts = self._find_scripts()
        self._child: Child | None = None
        self._epmd: Child | None = None
        private_folder(folder)
        self.password = kept_secret(folder / "password")
        with open_private(folder / "enabled_plugins", "w") as stream:
            stream.write("[].\n")
        conf = folder / "rabbitmq.conf"
        with open_private(conf, "w") as stream:
            stream.write(
                RABBITMQ_CONF.format(port=self.port, password=self.password, memory=MEMORY_LIMIT)
            )
        self._env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "portico@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "no-rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(conf),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_FLAGS,
            "RABBITMQ_CTL_ERL_ARGS": CTL_FLAGS,
            # The script then becomes the server; otherwise it stays beside it as a second process.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    @staticmethod
    def _find_scripts() -> Path:
        on_path = shutil.which("rabbitmq-server")
        folders = [*SCRIPT_FOLDERS, *([str(Path(on_path).resolve().parent)] if on_path else [])]
        for folder in folders:
            if (Path(folder) / "rabbitmq-server").exists():
                return Path(folder)
        raise ServerMissing("RabbitMQ is not installed (package rabbitmq-server)")

    @property
    def uri(self) -> str:
        """The AMQP address of the default virtual host, with its password."""
        return self.uri_of("/")

    def uri_of(self, vhost: str) -> str:
        """The AMQP address of a virtual host, with its password."""
        path = "/" if vhost == "/" else f"/{vhost}"
        return f"amqp://portico:{self.password}@127.0.0.1:{self.port}{path}"

    def start(self, within: float = START_SECONDS) -> None:
        """Start the node and wait until it takes connections. Raises StartError with the end of its log."""
        self.launch()
        self.wait(within)

    def launch(self) -> None:
        """Start the node without waiting for it; other things can be done in its seconds."""
        if self._epmd is None or not self._epmd.running:
            self._epmd = Child(
                ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                env=self._env,
                log=self.folder / "epmd.log",
            )
        self._child = Child(
            [self._scripts / "rabbitmq-server"],
            env=self._env,
            log=self.folder / "rabbitmq.log",
            cwd=self.folder,
        )

    def wait(self, within: float = START_SECONDS) -> None:
        """Wait until a launched node takes connections. Raises StartError with the end of its log."""
        if self._child is None:
            raise StartError("RabbitMQ was not launched")
        self._child.wait_until(self._is_ready, name="RabbitMQ", within=within)

    def _is_ready(self) -> bool:
        return _answers(self.port) and self._evaluate("rabbit:is_running()") == "true"

    def stop(self) -> None:
        """End the node in order, then its epmd. Data and ports stay for the next start()."""
        if self._child:
            self._child.stop(within=15)
        if self._epmd:
            self._epmd.kill()

    def kill(self) -> None:
        """End the node as a crash would, at once."""
        if self._child and self._child.running:
            # RabbitMQ 3.10 enters a new quorum queue in a DETS table that reaches its file up to 3 s later, and a node
            # killed within them starts with a queue that never elects a leader. Tests kill sooner than that.
            with contextlib.suppress(subprocess.TimeoutExpired, StartError):
                self._evaluate("[dets:sync(Table) || Table <- dets:all()]", within=2)
            self._child.kill()

    def close(self) -> None:
        """End everything without ceremony and remove the data."""
        if self._child:
            self._child.kill()
        if self._epmd:
            self._epmd.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def freeze(self) -> None:
        """Stop the node's clock: connections stay open and nothing is answered, until thaw()."""
        if self._child:
            self._child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._child:
            self._child.send(signal.SIGCONT)

    def add_vhost(self, name: str) -> str:
        """Make a virtual host that our user may use; return its AMQP address."""
        host = f'<<"{_checked(name)}">>'
        self._evaluate(f'rabbit_vhost:add({host}, <<"portico">>)', expect="ok")
        self._evaluate(
            "rabbit_auth_backend_internal:set_permissions("
            f'<<"portico">>, {host}, <<".*">>, <<".*">>, <<".*">>, <<"portico">>)',
            expect="ok",
        )
        return self.uri_of(name)

    def delete_vhost(self, name: str) -> None:
        """Remove a virtual host and all that is in it."""
        self._evaluate(f'rabbit_vhost:delete(<<"{_checked(name)}">>, <<"portico">>)', expect="ok")

    def queues(self, vhost: str = "/") -> dict[str, tuple[int, int]]:
        """Each queue's name with its number of messages (ready and unacknowledged) and of consumers."""
        host = "/" if vhost == "/" else _checked(vhost)
        answer = self._evaluate(QUEUES.format(host=host))
        rows = re.findall(r'\{"([^"]*)",\s*\{(\d+),\s*(\d+)\}\}', answer)
        return {name: (int(messages), int(consumers)) for name, messages, consumers in rows}

    def block(self) -> None:
        """Raise the memory alarm: publishers are blocked until unblock()."""
        self.ctl("set_vm_memory_high_watermark", "0")

    def unblock(self) -> None:
        self.ctl("set_vm_memory_high_watermark", "absolute", MEMORY_LIMIT)

    def close_connections(self) -> None:
        """Close every client's connection from the server's side."""
        self.ctl("close_all_connections", "closed by a test")

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl`, about half a second a call. Raises StartError with what it said when it fails."""
        done = subprocess.run(
            [self._scripts / "rabbitmqctl", "-q", *arguments],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise StartError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _evaluate(self, expression: str, *, expect: str | None = None, within: float = 60) -> str:
        """The text of an Erlang expression's value in the node, in milliseconds; `expect` is the only one allowed."""
        erl_call = self._find_erl_call()
        if erl_call:
            answer = self._call(erl_call, expression, within)
        else:
            answer = self.ctl("eval", f"{expression}.").strip()
        if expect is not None and answer != expect:
            raise StartError(f"RabbitMQ answered {answer!r} to {expression}")
        return answer

    def _call(self, erl_call: str, expression: str, within: float) -> str:
        """What the node answers. On a busy machine it may miss the moment to shake hands, and has then seen nothing of the
        expression: so it is called again."""
        until = time.monotonic() + within
        while True:
            done = subprocess.run(
                [erl_call, "-sname", "portico@localhost", "-e"],
                input=f"{expression}.\n",
                env=self._env,
                capture_output=True,
                text=True,
                timeout=within,
            )
            if done.stdout.strip():
                return done.stdout.strip().removeprefix("{ok, ").removesuffix("}")
            if time.monotonic() > until:
                raise StartError(f"RabbitMQ does not answer to {expression}: {done.stderr.strip()}")
            time.sleep(0.2)

    @staticmethod
    def _find_erl_call() -> str | None:
        erl = shutil.which("erl")
        beside = [str(Path(erl).resolve().parent)] if erl else []
        return shutil.which("erl_call", path=os.pathsep.join([os.environ.get("PATH", ""), *beside]))
