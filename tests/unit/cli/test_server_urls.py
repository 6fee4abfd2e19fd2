"""URLs with passwords in them: whatever a pasted one holds, its password is not shown."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portico.server_urls import (
    has_hidden_password,
    hosts_of,
    user_of,
    with_password,
    without_password,
)
from tests.fixtures.unpublished import PASSWORD


@given(st.text(min_size=1, max_size=12))
@example("S3cr/etPW")
@example("a@b?c#d:e/f")
@example("1/2@3")
def test_a_password_is_cut_whatever_stands_in_it(password: str) -> None:
    """As it was pasted, nothing of it is left in what is shown, nor taken for the hosts; with it again the URL is a proper one."""
    url = f"postgresql://portal:{password}@one:5432,two:5432/portal?sslmode=require"
    shown = "postgresql://portal@one:5432,two:5432/portal?sslmode=require"
    assert without_password(url) == (shown, password)
    assert (user_of(url), hosts_of(url)) == ("portal", "one:5432,two:5432")
    made = urlsplit(with_password(shown, password))
    assert (made.username, unquote(made.password or "")) == ("portal", password)


@pytest.mark.parametrize(
    "url", ["sqlite:////tmp/a@b.sqlite3", "postgresql://db/portal", "postgresql:///portal", "", "x"]
)
def test_a_url_without_a_user_stays(url: str) -> None:
    """A path with an @ names nobody."""
    assert (without_password(url), user_of(url)) == ((url, ""), "")


def test_a_password_in_the_query_is_known() -> None:
    """libpq takes it there, and that of a certificate's key."""
    for query in ("password=x", "user=a&password=x", "sslpassword=x", "p%61ssword=x"):
        assert has_hidden_password(f"postgresql://db/portal?{query}")
    assert not has_hidden_password(f"postgresql://portal:{PASSWORD}@db/portal?sslmode=require")
