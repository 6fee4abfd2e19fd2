"""The env file: read alike by all that read env files, and written whole or not at all, for its owner alone."""

from __future__ import annotations

import datetime as dt
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from portico.env_file import (
    BadEnvFile,
    changed_text,
    is_misread,
    is_plain_for_a_shell,
    keep_copy,
    must_be_writable,
    read_env_file,
    replace,
    text_of,
    write_new,
)

NOW = dt.datetime(2026, 11, 30, 8, 15, tzinfo=dt.UTC)


def as_docker_reads(text: str) -> dict[str, str]:
    """`docker --env-file`: what follows the first = as it stands, quotes too
    (https://docs.docker.com/reference/cli/docker/container/run/#env)."""
    lines = [line.lstrip() for line in text.split("\n")]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def as_systemd_reads(text: str) -> dict[str, str]:
    """EnvironmentFile=: white space around a value and quotes around it go, a backslash takes what follows it
    (https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile=)."""
    found = {}
    for line in text.split("\n"):
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        name, _, value = line.partition("=")
        value = value.strip()
        if value[:1] in ("'", '"'):
            value = "".join(shlex.split(value))
        found[name.strip()] = value.replace("\\", "")
    return found


VALUES = st.text(st.characters(min_codepoint=1, max_codepoint=0x17F, codec="utf-8"), max_size=20)


@given(VALUES)
@example("Portico <billing@mail.example.com>")
@example("postgresql://portal:a%24b@127.0.0.1:5432/portal?sslmode=require")
@example('"quoted"')
@example("back\\slash")
@example("a #comment")
def test_every_reader_takes_the_same_value(
    tmp_path_factory: pytest.TempPathFactory, value: str
) -> None:
    """What is written stands for the same at `portico --env-file`, systemd and docker; what would not is refused before."""
    assume(not is_misread(value))
    text = changed_text("", {"NAME": value})
    file = tmp_path_factory.mktemp("env") / "portico.env"
    file.write_text(text)
    assert read_env_file(file) == as_docker_reads(text) == as_systemd_reads(text) == {"NAME": value}


@pytest.mark.parametrize(
    "value",
    ["'one", 'one"', "a\\b", "a$b", "a\nB=c", " a", "a ", "a #b", "#a", "a\tb\x00", "a ;b"]
    + [f"a{end}b" for end in ("\x85", "\u2028", "\u2029")],
)
def test_a_value_that_is_misread_is_known(value: str) -> None:
    """Quotes at an end, backslashes, line ends, $ and comments: each is another value to one of the readers."""
    assert is_misread(value)


def test_a_shell_takes_the_values_that_are_plain(tmp_path: Path) -> None:
    """`set -a; . ./portico.env; set +a` is named where it works, and not where a value has a space or an ampersand."""
    values = {
        "MAIL_FROM": "billing@mail.example.com",
        "URL": "postgresql://portal:a%24b@127.0.0.1:5432,two:5432/portal?sslmode=require",
    }
    assert is_plain_for_a_shell(values)
    file = tmp_path / "portico.env"
    file.write_text(changed_text("", values))
    script = f"set -a; . {file}; set +a; env"
    shown = subprocess.run(
        ["sh", "-euc", script], capture_output=True, text=True, check=True
    ).stdout
    assert values.items() <= as_docker_reads(shown).items()
    for odd in ("Portico <billing@mail.example.com>", "postgresql://db/portal?a=b&c=d"):
        assert not is_plain_for_a_shell({"NAME": odd})


def test_a_change_leaves_everything_else() -> None:
    """Comments, other settings and the order stay; a doubled line goes, so that the last one does not win over the change."""
    before = "# ours\nB=old\n\nOTHER=kept\n#B=a comment\nexport B=twice\n"
    assert changed_text(before, {"B": "new", "C": "3"}) == (
        "# ours\nB=new\n\nOTHER=kept\n#B=a comment\nC=3\n"
    )


UNCHANGED = """# Joe\u2028B=said so
A=Joe "Bob"
export B="a b # c"
C='"q"'
D=it's
  E = spaced \r
"""


def test_a_line_whose_value_is_the_same_stays_to_the_letter(tmp_path: Path) -> None:
    """Quotes go in pairs, and one pair alone; what was read is not written anew, so that no reader takes it for something else."""
    file = tmp_path / "portico.env"
    file.write_bytes(UNCHANGED.encode())
    read = read_env_file(file)
    assert read == {"A": 'Joe "Bob"', "B": "a b # c", "C": '"q"', "D": "it's", "E": "spaced"}
    before = file.read_bytes().decode()
    assert changed_text(before, read) == before
    assert changed_text(before, {**read, "D": "its"}) == before.replace("it's", "its")


def test_a_new_file_is_its_owners_and_never_over_another(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask; where somebody has made the file meanwhile, theirs stays; nothing is left beside it."""
    file = tmp_path / "portico.env"
    mask = os.umask(0)
    try:
        write_new(file, "A=1\n")
    finally:
        os.umask(mask)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("A=1\n", 0o600)
    with pytest.raises(BadEnvFile, match="is there by now"):
        write_new(file, "A=2\n")
    assert file.read_text() == "A=1\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_replaced_is_whole_private_and_kept(tmp_path: Path) -> None:
    """Through a link the file that it leads to is changed, and the copy of before lies beside that: the link may be in another file
    system. The copy is private, though the file was not; that one nobody but its group may read besides."""
    (tmp_path / "elsewhere").mkdir()
    file, link = tmp_path / "elsewhere" / "real.env", tmp_path / "portico.env"
    file.write_text("A=1\n")
    file.chmod(0o644)
    link.symlink_to(file)
    file.write_bytes(b"A=1\n#\r\n")
    kept = keep_copy(link, NOW)
    replace(link, "A=2\n")
    assert kept == file.with_name("real.env.20261130T081500Z")
    assert (kept.read_bytes(), text_of(kept)) == (b"A=1\n#\r\n", "A=1\n#\r\n")
    assert (file.read_text(), link.is_symlink()) == ("A=2\n", True)
    assert [one.stat().st_mode & 0o777 for one in (kept, file)] == [0o600, 0o640]
    assert len(list(tmp_path.rglob("*"))) == 4


def test_owner_and_group_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`root:portico 0640` is what the services' group reads it by; whoever can't leave it so is told before anything is typed."""
    file = tmp_path / "portico.env"
    file.write_text("A=1\n")
    file.chmod(0o660)
    given: list[tuple[int, int]] = []
    real = Path.stat
    theirs = os.stat_result((0o100660, 0, 0, 1, 4711, 4712, 4, 0, 0, 0))
    monkeypatch.setattr(
        Path, "stat", lambda self, **how: theirs if self == file else real(self, **how)
    )
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
    replace(file, "A=2\n")
    assert given == [(4711, 4712)]
    assert real(file).st_mode & 0o777 == 0o640

    def refused(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    for change in (lambda: must_be_writable(file), lambda: replace(file, "A=3\n")):
        with pytest.raises(BadEnvFile, match="Operation not permitted"):
            change()
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"portico.env": "A=2\n"}


def test_a_file_system_without_links_takes_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exFAT and CIFS refuse one: the file is written in place, private, and still never over another."""

    def refused(*_: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    file = tmp_path / "portico.env"
    write_new(file, "A=1\n")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("A=1\n", 0o600)
    with pytest.raises(BadEnvFile, match="is there by now"):
        write_new(file, "A=2\n")
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"portico.env": "A=1\n"}


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be written whole is not written: the old one stands, and no half of a new one lies about."""
    file = tmp_path / "portico.env"
    file.write_text("A=1\n")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (
        lambda: replace(file, "A=2\n"),
        lambda: write_new(tmp_path / "new.env", "A=2\n"),
        lambda: keep_copy(file, NOW),
    ):
        with pytest.raises(BadEnvFile, match=r"can't be written: No space left on device"):
            write()
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"portico.env": "A=1\n"}


def test_a_place_where_nothing_can_be_written_is_told_before(tmp_path: Path) -> None:
    """No folder, a folder in the place of the file, a link into one that is not there, and one that leads to itself."""
    for number, target in enumerate((tmp_path / "none" / "portico.env", tmp_path / "1")):
        (tmp_path / str(number)).symlink_to(target)
        with pytest.raises(BadEnvFile):
            must_be_writable(tmp_path / str(number))
    with pytest.raises(BadEnvFile, match="is not a folder"):
        must_be_writable(tmp_path / "none" / "portico.env")
    with pytest.raises(BadEnvFile, match="is a folder"):
        must_be_writable(tmp_path)
