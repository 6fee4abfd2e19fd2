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
    write_new,
)

NOW = dt.datetime(2026, 11, 30, 8, 15, tzinfo=dt.UTC)


def as_docker_reads(text: str) -> dict[str, str]:
    """`docker --env-file`: what follows the first = as it stands, quotes too
    (https://docs.docker.com/reference/cli/docker/container/run/#env)."""
    lines = [line.lstrip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def as_systemd_reads(text: str) -> dict[str, str]:
    """EnvironmentFile=: white space around a value and quotes around it go, a backslash takes what follows it
    (https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile=)."""
    found = {}
    for line in text.splitlines():
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
    assume(not is_misread(value) and "\x85" not in value)
    text = changed_text("", {"NAME": value})
    file = tmp_path_factory.mktemp("env") / "portico.env"
    file.write_text(text)
    assert read_env_file(file) == as_docker_reads(text) == as_systemd_reads(text) == {"NAME": value}


@pytest.mark.parametrize(
    "value", ["'one", 'one"', "a\\b", "a$b", "a\nB=c", " a", "a ", "a #b", "#a", "a\tb\x00", "a ;b"]
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
    """Through a link the file that it leads to is changed; the copy of before is private too, though the file was not."""
    file, link = tmp_path / "real.env", tmp_path / "portico.env"
    file.write_text("A=1\n")
    file.chmod(0o644)
    link.symlink_to(file)
    kept = keep_copy(link, NOW)
    replace(link, "A=2\n")
    assert kept.name == "portico.env.20261130T081500Z"
    assert (kept.read_text(), file.read_text(), link.is_symlink()) == ("A=1\n", "A=2\n", True)
    assert [one.stat().st_mode & 0o777 for one in (kept, file)] == [0o600, 0o600]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be written whole is not written: the old one stands, and no half of a new one lies about."""
    file = tmp_path / "portico.env"
    file.write_text("A=1\n")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(file, "A=2\n")
    with pytest.raises(OSError, match="No space"):
        write_new(tmp_path / "new.env", "A=2\n")
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"portico.env": "A=1\n"}


def test_a_place_where_nothing_can_be_written_is_told_before(tmp_path: Path) -> None:
    """No folder, and a folder in the place of the file."""
    with pytest.raises(BadEnvFile, match="is no folder"):
        must_be_writable(tmp_path / "none" / "portico.env")
    with pytest.raises(BadEnvFile, match="is a folder"):
        must_be_writable(tmp_path)
