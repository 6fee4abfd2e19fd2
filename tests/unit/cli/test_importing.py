"""Importing customers: every bad line told, nothing doubled, and a run that was killed goes on where it was."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portico.cli.rpc import Unavailable
from portico.importing import Import
from portico.spreadsheets import guarded, unguarded
from services.portal.handlers import importing
from services.portal.models import Base, CustomerRow
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.portal import CustomerLine
from shared.messaging.transport import MESSAGE_BYTES
from tests.unit import tables
from tests.unit.any_text import any_text
from tests.unit.cli.conftest import FakeServices, Run
from tests.unit.portal.builders import NOW, add_business
from tests.unit.wire import on_the_wire

HEADER = "external_id,name,email,locale,timezone,platform_stripe_customer_id\n"


class Portal:
    """The portal's own handler on tables in memory, over what went through JSON."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.calls = 0
        self.fail_at: int | None = None

    def __call__(self, business_id: str, rows: list[Any]) -> dict[str, Any]:
        self.calls += 1
        if self.calls == self.fail_at:
            raise Unavailable("portal: no answer")
        lines = msgspec.convert(rows, list[CustomerLine])
        done = importing.import_customers(
            self.session, business_id=business_id, lines=lines, now=NOW
        )
        answer: dict[str, Any] = plain(done.answer())
        return answer

    def count(self) -> int:
        return self.session.scalar(select(func.count()).select_from(CustomerRow)) or 0

    def customer(self, external_id: str) -> CustomerRow:
        self.session.expire_all()
        return self.session.scalars(
            select(CustomerRow).where(CustomerRow.external_id == external_id)
        ).one()


@pytest.fixture
def portal(services: FakeServices) -> Iterator[Portal]:
    with Session(tables.empty(Base.metadata).engine, expire_on_commit=False) as session:
        add_business(session)
        session.commit()
        made = Portal(session)
        services.answers["portal", "import_customers"] = made
        yield made


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "customers.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def errors(file: Path) -> dict[int, str]:
    with file.with_name(file.name + ".errors.csv").open(encoding="utf-8") as stream:
        return {int(row["line"]): row["error"] for row in csv.DictReader(stream)}


@pytest.mark.whole
def test_every_bad_line_is_told_with_its_number(tmp_path: Path, portal: Portal, run: Run) -> None:
    """Wrong addresses, cells, quotes and bytes are each reported at their own line; the good lines around are in."""
    file = write(
        tmp_path,
        b"\xef\xbb\xbf" + HEADER.encode() + b"1,Ann,ann@example.com,en,,\n"
        b"2,Bob,not-an-address,en,,\n"
        b"3,Cid\n"
        b'4,"Dora,dora@example.com,en,,\n'
        b'5,"Eve\nof two lines",eve@example.com,en,,\n'
        b"6,F\xffritz,fritz@example.com,en,,\n"
        b"\n"
        b'7,"Gil ""G"" Gold",gil@example.com,xx_YY,,\n'
        b"8,Hal,hal@example.com,,Mars/Base,\n"
        b'9,"Ida, Jr.",ida@example.com,de,Europe/Berlin,cus_9\n'
        b"1 0,Jo,jo@example.com,,,\n"
        b"11,K\x00im,kim@example.com,,,\n"
        b"12,Lee,lee@example.com,,,cus_\x1b\n",
    )
    result = run("customers", "import", str(file), "--business", "sunrise", "--json")
    assert result.exit_code == 1
    told = errors(file)
    assert sorted(told) == [3, 4, 5, 6, 8, 10, 11, 13, 14, 15]
    assert "email address" in told[3]
    assert "2 cells, expected 6" in told[4]
    assert "not CSV" in told[5]
    assert "one line" in told[6]
    assert "not UTF-8" in told[8]
    assert "locale" in told[10]
    assert "time zone" in told[11]
    assert told[14] == told[15] == "a control character"
    assert portal.count() == 2
    assert portal.customer("9").name == "Ida, Jr."
    summary = json.loads(result.stdout)
    assert (summary["created"], summary["errors"], summary["lines"]) == (2, 10, 12)


def test_importing_again_changes_and_never_doubles(
    tmp_path: Path, portal: Portal, run: Run
) -> None:
    """The same file twice is no change; a changed name is a change; a missing column keeps, an empty cell clears."""
    file = write(
        tmp_path,
        HEADER + "1,Ann,ann@example.com,en,Europe/Berlin,cus_1\n2,Bob,bob@example.com,,,\n",
    )
    assert run("customers", "import", str(file), "--business", "sunrise").exit_code == 0
    result = run("customers", "import", str(file), "--business", "sunrise", "--json")
    assert json.loads(result.stdout)["unchanged"] == 2
    public_id = portal.customer("1").public_id
    file = write(tmp_path, "name,external_id,email\nAnne,1,ann@example.com\n")
    run("customers", "import", str(file), "--business", "sunrise", "--restart")
    ann = portal.customer("1")
    assert (ann.name, ann.locale, ann.platform_stripe_customer_id) == ("Anne", "en", "cus_1")
    assert (portal.count(), ann.public_id) == (2, public_id)
    file = write(tmp_path, "name,external_id,email,locale\nAnne,1,ann@example.com,\n")
    run("customers", "import", str(file), "--business", "sunrise", "--restart")
    assert portal.customer("1").locale is None


@pytest.mark.whole
def test_a_stripe_customer_stays_with_whom_it_belongs(
    tmp_path: Path, portal: Portal, run: Run
) -> None:
    """A Stripe id of somebody else, or twice in the file, is that line's error, and changes nothing; another one than before
    is the host's later word, and the one before is free, in the same file already."""
    file = write(
        tmp_path,
        HEADER
        + "1,Ann,ann@example.com,,,cus_1\n"
        + "2,Bob,bob@example.com,,,cus_1\n"
        + "3,Cid,cid@example.com,,,cus_3\n",
    )
    run("customers", "import", str(file), "--business", "sunrise")
    assert list(errors(file)) == [3]
    file = write(
        tmp_path,
        HEADER
        + "3,Cid,cid@example.com,,,cus_4\n"
        + "4,Dot,dot@example.com,,,cus_1\n"
        + "5,Eve,eve@example.com,,,cus_3\n",
    )
    run("customers", "import", str(file), "--business", "sunrise", "--restart")
    assert list(errors(file)) == [3]
    assert portal.customer("3").platform_stripe_customer_id == "cus_4"
    assert portal.customer("5").platform_stripe_customer_id == "cus_3"


def test_of_two_lines_with_one_id_the_later_wins(tmp_path: Path, portal: Portal, run: Run) -> None:
    """In one batch as in two: what stands further down counts."""
    file = write(tmp_path, HEADER + "1,Ann,ann@example.com,,,\n1,Anne,ann@example.com,,,\n")
    run("customers", "import", str(file), "--business", "sunrise")
    assert (portal.count(), portal.customer("1").name) == (1, "Anne")


@pytest.mark.whole
def test_an_id_that_stands_twice_is_told_with_both_lines(
    tmp_path: Path, portal: Portal, run: Run
) -> None:
    """Within a batch, over batches, and where the first stood before a stop; the later line counts, and the command ends with 1."""
    lines = [f"{number},Name {number},a@example.com,,," for number in (1, 2, 1, 3, 4, 5, 2, 6)]
    file = write(tmp_path, HEADER + "\n".join(lines) + "\n")
    words = ("customers", "import", str(file), "--business", "sunrise", "--batch", "3", "--json")
    portal.fail_at = 3
    assert run(*words, "--at-once", "1").exit_code == 3
    portal.fail_at = None
    result = run(*words)
    summary = json.loads(result.stdout)
    assert (result.exit_code, summary["doubled"], summary["errors"]) == (1, 2, 0)
    assert errors(file) == {
        4: "external_id as on line 2: this line counts",
        8: "external_id as on line 3: this line counts",
    }
    assert "2 ids twice (see" in run(*words[:-1], "--restart").stdout


@pytest.mark.whole
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_run_that_was_stopped_goes_on(
    at_once: int, tmp_path: Path, portal: Portal, run: Run
) -> None:
    """Stopped at any batch and started again: everybody is there once, and each bad line is told once."""
    lines = "".join(
        f"{n},Name {n},{'bad' if n % 7 == 0 else f'n{n}@example.com'},,,\n" for n in range(1, 101)
    )
    file = write(tmp_path, HEADER + lines)
    words = (
        "customers",
        "import",
        str(file),
        "--business",
        "sunrise",
        "--batch",
        "10",
        "--at-once",
        str(at_once),
    )
    portal.fail_at = 4
    assert run(*words).exit_code == 3
    portal.fail_at = portal.calls + 3
    assert run(*words).exit_code == 3
    portal.fail_at = None
    result = run(*words, "--json")
    assert "going on after line" in result.stderr
    summary = json.loads(result.stdout)
    assert (summary["lines"], summary["errors"], portal.count()) == (100, 14, 86)
    assert list(errors(file)) == [n + 1 for n in range(7, 101, 7)]


@pytest.mark.whole
def test_a_file_that_changed_is_not_gone_on_with(tmp_path: Path, portal: Portal, run: Run) -> None:
    """The remembered place is of another file: the run refuses and says what to do, --restart begins at the top."""
    file = write(tmp_path, HEADER + "1,Ann,ann@example.com,,,\n2,Bob,bob@example.com,,,\n")
    portal.fail_at = 2
    words = (
        "customers",
        "import",
        str(file),
        "--business",
        "sunrise",
        "--batch",
        "1",
        "--at-once",
        "1",
    )
    assert run(*words).exit_code == 3
    mistyped = run(*(word.replace("sunrise", "sunris") for word in words))
    said = " ".join(mistyped.stderr.replace("│", " ").split())
    assert mistyped.exit_code == 2
    assert "was imported for the business sunrise before" in said
    assert "look at --business" in said
    write(tmp_path, HEADER + "3,Cid,cid@example.com,,,\n")
    result = run(*words)
    assert "was changed since" in " ".join(result.stderr.replace("│", " ").split())
    assert (result.exit_code, "--restart" in result.output) == (2, True)
    assert run(*words, "--restart").exit_code == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"id,name\n1,Ann\n", "must name the columns; missing: external_id, email"),
        (b"external_id;name;email\n1;Ann;a@example.com\n", "stand between semicolons"),
        (b"external_id\tname\temail\n1\tAnn\ta@example.com\n", "stand between tabs"),
        (b"external_id,name,email\r1,Ann,a@example.com\r", "a carriage return alone"),
        ("external_id,name,email\n".encode("utf-16"), "not UTF-8: save it as CSV in UTF-8"),
        ("external_id,Straße;name\n".encode("latin-1"), "not UTF-8: save it as CSV in UTF-8"),
        (b"", "must name the columns"),
    ],
)
def test_a_header_without_the_needed_columns_is_refused(
    tmp_path: Path, portal: Portal, run: Run, body: bytes, said: str
) -> None:
    """A file of something else is not imported, line by line, as errors; of what spreadsheets save it says what to save instead."""
    file = tmp_path / "customers.csv"
    file.write_bytes(body)
    result = run("customers", "import", str(file), "--business", "sunrise")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert portal.calls == 0
    assert list(tmp_path.iterdir()) == [file]


def test_a_carriage_return_within_a_line_is_told(tmp_path: Path, portal: Portal, run: Run) -> None:
    """In words for whoever has the file; the lines after it are in."""
    file = write(tmp_path, HEADER + "1,Ann,ann@example.com,,,\r2,Bob,b@example.com,,,\n3,Cid,cid@example.com,,,\n")  # fmt: skip
    run("customers", "import", str(file), "--business", "sunrise")
    assert errors(file) == {2: "not CSV: new-line character seen in unquoted field"}
    assert portal.customer("3").name == "Cid"


def test_a_line_without_end_takes_no_memory(tmp_path: Path, portal: Portal, run: Run) -> None:
    """A line of megabytes is skipped in pieces and told; the lines after it are in."""
    long = "x" * 3_000_000
    file = write(tmp_path, HEADER + f"1,{long},a@example.com,,,\n2,Bob,bob@example.com,,,\n")
    run("customers", "import", str(file), "--business", "sunrise")
    assert list(errors(file)) == [2]
    assert portal.customer("2").name == "Bob"


@pytest.mark.whole
def test_the_state_names_what_was_read(tmp_path: Path, portal: Portal) -> None:
    """The place in the state file is a line's beginning, so going on never begins inside one."""
    file = write(tmp_path, HEADER + "1,Ann,ann@example.com,,,\n2,Bob,bob@example.com,,,\n")
    services = FakeServices()
    services.answers["portal", "import_customers"] = portal
    run = Import(file, "sunrise")
    next(run.work(services, 1, 1))
    state = json.loads(run.state_file.read_text())
    assert file.read_bytes()[state["offset"] :].startswith(b"2,Bob")


FORMULAS = ('=HYPERLINK("http://x.example";A2)', "+49 30 1234", "-1+cmd|' /C calc'!A0", "@SUM(A1)")
TEXTS = (*FORMULAS, "'=kept", "''-kept", "'quoted", "＝1+1", "O'Hara", "Zoë, the 2nd")


@pytest.mark.whole
def test_an_export_holds_no_formula_and_comes_back_as_it_was(
    tmp_path: Path, portal: Portal, services: FakeServices, run: Run
) -> None:
    """Names and ids that begin like a formula are text for a spreadsheet, and the import of our own export changes nothing."""
    services.answers["portal", "export_customers"] = lambda **page: on_the_wire(
        importing.export_customers
    )(portal.session, **page)
    rows = [[f"{text[0]}{n}", text, f"c{n}@example.com"] for n, text in enumerate(TEXTS)]
    assert portal("sunrise", rows)["created"] == len(TEXTS)
    out = tmp_path / "export.csv"
    assert run("customers", "export", str(out), "--business", "sunrise").exit_code == 0
    with out.open(encoding="utf-8", newline="") as stream:
        cells = [cell for row in list(csv.reader(stream))[1:] for cell in row]
    assert [cell for cell in cells if re.match(r"[=+\-@\t\r\n＝＋－＠]", cell)] == []
    assert run("customers", "import", str(out), "--business", "sunrise").exit_code == 0
    assert portal.count() == len(TEXTS)
    assert [portal.customer(external_id).name for external_id, *_ in rows] == list(TEXTS)
    again = tmp_path / "again.csv"
    run("customers", "export", str(again), "--business", "sunrise")
    assert again.read_bytes() == out.read_bytes()


@given(any_text())
def test_every_cell_can_be_read_back(cell: str) -> None:
    """Whatever stands in a cell: written, it is no formula, and read it is the same."""
    written = guarded(cell)
    assert not re.match(r"[=+\-@\t\r\n＝＋－＠]", written)
    assert unguarded(written) == cell


def test_the_report_of_bad_lines_holds_no_formula(
    tmp_path: Path, services: FakeServices, run: Run
) -> None:
    """Its reader is a person with a spreadsheet, too."""
    services.answers["portal", "import_customers"] = {
        "created": 0,
        "updated": 0,
        "unchanged": 0,
        "errors": [{"row": 0, "error": "=cmd|' /C calc'!A0"}],
    }
    file = write(tmp_path, HEADER + "1,Ann,ann@example.com,en,,\n")
    run("customers", "import", str(file), "--business", "sunrise")
    assert errors(file) == {2: "'=cmd|' /C calc'!A0"}


@pytest.mark.whole
def test_a_call_stays_below_what_the_broker_brings(
    tmp_path: Path, portal: Portal, run: Run
) -> None:
    """Long names end a batch before its number of rows does: no request is refused for its size."""
    long = "é" * 190
    file = write(
        tmp_path,
        "external_id,name,email\n"
        + "".join(f"c{n},{long},c{n}@example.com\n" for n in range(1000)),
    )
    state = Import(file, "sunrise", restart=False)
    sizes: list[int] = []

    class Measuring:
        def send(self, service: str, method: str, **arguments: Any) -> str:
            sizes.append(len(json.dumps({"args": [], "kwargs": arguments})))
            self.answer = portal(**arguments)
            return "id"

        def wait(self, call_id: str) -> Any:
            return self.answer

    list(state.work(Measuring(), 5000, 1))  # type: ignore[arg-type]
    assert max(sizes) < MESSAGE_BYTES
    assert len(sizes) > 1
    assert portal.count() == 1000
