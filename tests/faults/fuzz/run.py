"""The run: both kinds of input at once against a whole system, then what is left of it. `python -m tests.faults.fuzz`"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import amqp
import kombu
from amqp.exceptions import AMQPError

from examples.host_app import Portico
from local.processes import SERVICES
from portico.cli.output import progress_bar
from shared.messaging.deadletters import DeadLetters
from tests.faults.books import accepted_mails
from tests.faults.fuzz.doors import Doors, Sender, Shot, Target
from tests.faults.fuzz.queues import Letter, Queues
from tests.faults.memory import megabytes
from tests.faults.payloads import invoice_event
from tests.faults.plan import CUSTOMERS, Delivery
from tests.faults.poster import Poster
from tests.faults.system import Servers, System, answers

CLIENTS: Final = 12
PUBLISHERS: Final = 4
ANSWER_SECONDS: Final = 30.0
IN_FLIGHT: Final = 1500
"""Messages that may wait in queues before no more are published."""
LOOK_EVERY: Final = 250
MANY_FALLS: Final = 12
"""Processes that ended: enough to know, and each one costs seconds."""
GROWN_MEGABYTES: Final = 60.0
"""Between the first quarter of the input and its end. Caches fill, a leak goes on."""
DRAIN_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 420.0
"""All the waiting rooms together, and some."""
TRACES: Final = (b"Traceback", b'File "', b"sqlalchemy", b"psycopg2", b"nameko")
SHOWN: Final = 8


@dataclass
class Findings:
    """What came of a run."""

    seed: int
    answers: Counter[str] = field(default_factory=Counter)
    """How often each service answered with each status; 0 for no answer."""
    letters: Counter[str] = field(default_factory=Counter)
    complaints: dict[str, list[str]] = field(default_factory=dict)
    """What was wrong, and each time that it was seen."""
    dead: Counter[str] = field(default_factory=Counter)
    """Why messages were given up."""
    retried: dict[str, int] = field(default_factory=dict)
    """What still waits for another try."""
    memory: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """Megabytes of each process: at first, after the first quarter, at the end."""
    seconds: float = 0.0

    def complain(self, what: str, seen: object = "") -> None:
        self.complaints.setdefault(what, []).append(str(seen))

    def verdict(self) -> str:
        """What was wrong, with a few examples each."""
        lines = []
        for what, seen in self.complaints.items():
            lines.append(f"- {what} ({len(seen)} times)" if len(seen) > 1 else f"- {what}")
            lines += [f"    {one[:300]}" for one in seen[:SHOWN] if one]
        return "\n".join(lines) or "Everything held."

    def table(self) -> str:
        """For people."""
        lines = [f"seed {self.seed}, {self.seconds:.0f} s"]
        for service in SERVICES:
            found = {key.partition(" ")[2]: count for key, count in sorted(self.answers.items()) if key.startswith(service)}  # fmt: skip
            lines.append(f"{service:<9} {sum(found.values()):>7} answers  {found}")
        lines.append(f"broker    {self.letters.total():>7} messages {dict(self.letters)}")
        lines += [
            f"  dead    {count:>7} {reason}" for reason, count in self.dead.most_common(SHOWN)
        ]
        lines += [f"  retried {count:>7} {queue}" for queue, count in self.retried.items()]
        lines += [
            f"memory    {name:<12} {first:.0f} -> {warm:.0f} -> {last:.0f} MiB"
            for name, (first, warm, last) in self.memory.items()
        ]
        return "\n".join(lines)


class Fuzz:
    """One run against a system that stands. `first` is the number of the first input: one of another run can be looked at alone."""

    def __init__(
        self,
        system: System,
        sender: Sender,
        *,
        messages: int,
        requests: int,
        seed: int,
        first: int = 0,
        patient: bool = True,
    ) -> None:
        """`patient`: wait until the last retry is over."""
        self.system, self.sender = system, sender
        self.messages, self.requests, self.first = messages, requests, first
        self.patient = patient
        self.found = Findings(seed)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._done = 0

    def run(self) -> Findings:
        """Do it all."""
        began = time.monotonic()
        stack = self.system.stack
        customers = tuple(f"cus_faults{number}" for number in range(CUSTOMERS))
        with Portico(stack.amqp_uri, timeout=10) as portico:
            tokens = tuple(token_of(portico, number) for number in range(10))
        doors = Doors(self.found.seed, Target(stack.webhook_secret, self.sender, tokens, customers))
        queues = Queues(self.found.seed, list(self.system.rabbitmq.queues(stack.vhost)), customers)
        first = self._memory()
        warm = self._send_all(doors, queues)
        if len(self.system.fell) < MANY_FALLS:
            self._drained(queues)
        self._memory_is_flat(first, warm, self._memory())
        self._nobody_fell()
        self._all_are_ready(queues)
        self._dead_letters()
        self._loop_works()
        self.found.seconds = time.monotonic() - began
        return self.found

    # -- what is sent --------------------------------------------------------------------------------------

    def _send_all(self, doors: Doors, queues: Queues) -> dict[str, float]:
        """Until all is answered and published, or too much has broken. Returns the memory after a quarter of it."""
        requests, messages = itertools.count(self.first), itertools.count(self.first)
        total = self.messages + self.requests
        warm: dict[str, float] = {}
        with ThreadPoolExecutor(CLIENTS + PUBLISHERS) as pool, progress_bar() as bar:
            working = {pool.submit(self._ask, doors, requests) for _ in range(CLIENTS)}
            working |= {pool.submit(self._publish, queues, messages) for _ in range(PUBLISHERS)}
            task = bar.add_task("fuzz", total=total)
            try:
                while working:
                    done, working = wait(working, 0.1, FIRST_COMPLETED)
                    for one in done:
                        one.result()
                    bar.update(task, completed=self._done)
                    if not warm and self._done * 4 >= total:
                        warm = self._memory()
                    if len(self.system.fell) >= MANY_FALLS:
                        self._over.set()
            finally:
                self._over.set()
        return warm

    def _ask(self, doors: Doors, numbers: Iterator[int]) -> None:
        while not self._over.is_set():
            with self._lock:
                number = next(numbers)
            if number >= self.first + self.requests:
                return
            shot = doors.shot(number)
            self._judge(number, shot, self._send(shot))

    def _send(self, shot: Shot) -> bytes | None:
        """All that is answered; None when nothing more came for a long time."""
        said = b""
        port = self.system.stack.processes(shot.service)[0].port
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as made:
                with contextlib.suppress(ConnectionError):
                    made.sendall(shot.data)
                    if shot.leaves:
                        made.setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                        )
                        return b""
                    made.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while piece := made.recv(65536):
                        said += piece
        except TimeoutError:
            return None
        except OSError:  # nobody listens there now: the supervisor sees that
            time.sleep(0.1)
        return said

    def _judge(self, number: int, shot: Shot, said: bytes | None) -> None:
        where = f"request {number}: {shot.data[:60]!r}…"
        if said is None:
            self._complain(
                f"{shot.service}: no end of an answer within {ANSWER_SECONDS:g} s", where
            )
            return
        heads = re.split(rb"(?m)^HTTP/1\.1 (?=\d{3} )", said)[1:]
        statuses = [int(head[:3]) for head in heads] or [0]
        self._count(self.found.answers, *(f"{shot.service} {status}" for status in statuses))
        for status, head in zip(statuses, heads, strict=False):
            meant = status == 503 and b"\r\nRetry-After:" in head
            if status >= 500 and not meant:
                self._complain(f"{shot.service}: {status} to a request of kind {shot.kind}", where)
        if any(trace in said for trace in TRACES):
            self._complain(f"{shot.service}: shows what is inside", f"{where} {said[-200:]!r}")

    def _publish(self, queues: Queues, numbers: Iterator[int]) -> None:
        uri = self.system.rabbitmq.uri_of(self.system.stack.vhost)
        connection = channel = None
        for turn in itertools.count(1):
            with self._lock:
                number = next(numbers)
            if number >= self.first + self.messages or self._over.is_set():
                break
            letter = queues.letter(number)
            try:
                if connection is None:
                    connection = kombu.Connection(uri)
                    channel = connection.channel()
                    channel.confirm_select()
                publish(channel, letter)
                self._count(self.found.letters, letter.kind)
            except (AMQPError, OSError):
                if connection is not None:
                    connection.collect()
                connection = None
                self._count(self.found.letters, "refused by the broker")
            if turn % LOOK_EVERY == 0:
                self._wait_for_room(queues)
        if connection is not None:
            connection.release()

    def _wait_for_room(self, queues: Queues) -> None:
        end = time.monotonic() + DRAIN_SECONDS
        while not self._over.is_set():
            waiting = self.system.waiting()
            if sum(waiting.get(name, 0) for name in queues.consumed) < IN_FLIGHT:
                return
            if time.monotonic() > end:
                self._complain("nobody takes messages any more", waiting)
                self._over.set()
            time.sleep(0.1)

    def _count(self, counter: Counter[str], *what: str) -> None:
        with self._lock:
            counter.update(what)
            self._done += 1

    def _complain(self, what: str, seen: object) -> None:
        with self._lock:
            self.found.complain(what, seen)

    # -- what is left --------------------------------------------------------------------------------------

    def _memory(self) -> dict[str, float]:
        return {
            process.name: megabytes(process)
            for service in SERVICES
            for process in self.system.stack.processes(service)
            if process.running
        }

    def _memory_is_flat(
        self, first: dict[str, float], warm: dict[str, float], last: dict[str, float]
    ) -> None:
        for name in first.keys() & warm.keys() & last.keys():
            self.found.memory[name] = first[name], warm[name], last[name]
            if last[name] - warm[name] > GROWN_MEGABYTES:
                self.found.complain(f"{name} grows", f"{warm[name]:.0f}, then {last[name]:.0f} MiB")

    def _drained(self, queues: Queues) -> None:
        """Until nothing waits but dead letters and, when nobody is patient, what is tried again later."""

        def empty() -> bool:
            """queues are empty"""
            left = self.system.left()
            return not any(
                count
                for name, count in left.items()
                if not name.endswith(".dead") and (self.patient or ".retry." not in name)
            )

        try:
            self.system.wait(empty, RETRY_SECONDS if self.patient else DRAIN_SECONDS)
        except TimeoutError:
            self.found.complain("messages are left", self.system.left())
        self.found.retried = {
            name: count for name, count in self.system.waiting().items() if ".retry." in name
        }

    def _nobody_fell(self) -> None:
        for name in self.system.fell:
            self.found.complain(f"{name} ended by itself")
        for name, text in self.system.stack.logs().items():
            for line in text.splitlines():
                if "a service died" in line:
                    self.found.complain(f"{name}: a service died", line[-300:])

    def _all_are_ready(self, queues: Queues) -> None:
        for service in SERVICES:
            for process in self.system.stack.processes(service):
                if not answers(f"http://127.0.0.1:{process.port}/readyz"):
                    self.found.complain(f"{process.name} is not ready")
        there = self.system.rabbitmq.queues(self.system.stack.vhost)
        for name in queues.consumed:
            if not name.startswith("rpc.reply-") and not there.get(name, (0, 0))[1]:
                self.found.complain(f"nobody listens to {name}")

    def _dead_letters(self) -> None:
        """Each has a reason and can be looked at."""
        letters = DeadLetters(self.system.rabbitmq.uri_of(self.system.stack.vhost))
        try:
            counts = letters.counts()
            for queue in counts:
                for letter in letters.look(queue, limit=500):
                    letter.view(body=True)
                    self.found.dead[f"{queue}: {letter.reason[:70]!r}"] += 1
        except Exception as error:
            self.found.complain("dead letters can't be looked at", repr(error))

    def _loop_works(self) -> None:
        """One more failed charge of a new customer: one mail."""
        stack = self.system.stack
        poster = Poster([stack.processes("billing")[0].port], stack.webhook_secret)
        try:
            with Portico(stack.amqp_uri, timeout=10) as portico:
                portico.call("portal", "upsert_business", business_id="after", name="After & Sons")
                portico.call(
                    "portal", "upsert_customer", business_id="after", external_id="after", name="After",
                    email="after@example.com", platform_stripe_customer_id="cus_after",
                )  # fmt: skip
            event = invoice_event(
                "invoice.payment_failed",
                event_id="evt_after_fuzz",
                invoice_id="in_after_fuzz",
                customer_id="cus_after",
                parent={
                    "type": "subscription_details",
                    "subscription_details": {"subscription": "sub_after"},
                },
            )
            poster.post([Delivery(event)])
            poster.drain(30)
            self.system.wait(lambda: bool(self._mails_after()), 60)
            time.sleep(1)  # a second one that comes late is still a second one
            if len(self._mails_after()) != 1:
                self.found.complain("a failed charge afterwards is mailed more than once")
        except Exception as error:
            self.found.complain("the loop does not work afterwards", repr(error))
        finally:
            poster.close()

    def _mails_after(self) -> list[float]:
        mails = accepted_mails(self.system)
        rows = self.system.rows(
            "notifier",
            "SELECT notification_id FROM notifications WHERE invoice_id = 'in_after_fuzz'",
        )
        return [at for (notification_id,) in rows for at in mails.get(notification_id, ())]


def publish(channel: Any, letter: Letter) -> None:
    """Past every serializer. Raises AMQPError when the broker does not take it."""
    channel.basic_publish_confirm(
        amqp.Message(letter.body, **letter.properties),
        exchange=letter.exchange,
        routing_key=letter.routing_key,
        confirm_timeout=ANSWER_SECONDS,
    )


def token_of(portico: Portico, number: int) -> str:
    """The token of a customer's link; of one in three an old one, which was replaced."""
    made = portico.call(
        "portal", "upsert_customer", business_id="faults", external_id=f"c{number}", name=f"Customer {number}",
        email=f"customer{number}@example.com",
    )  # fmt: skip
    token = str(portico.call("portal", "link", customer_id=made["customer_id"])["token"])
    if number % 3 == 2:
        portico.call("portal", "rotate_link", customer_id=made["customer_id"])
    return token


@contextlib.contextmanager
def started_system(folder: Path, servers: Servers | None = None) -> Iterator[tuple[System, Sender]]:
    """A process a service, and a SendGrid whose key is ours."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL's user passes through
    sender = Sender()
    settings = {"SENDGRID_WEBHOOK_PUBLIC_KEY": sender.public_key}
    with System(folder, replicas={}, settings=settings, servers=servers) as system:
        system.make_customers(CUSTOMERS)
        yield system, sender
