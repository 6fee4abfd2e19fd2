"""URLs of servers with a user and a password in them: what may be shown of one.

A password that was pasted may hold `/`, `#`, `?` and `@` as they are. So all up to the last @ is the user's part here, whatever the
rules of URLs say: too little is shown of an odd one, never too much.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote


def without_password(url: str) -> tuple[str, str]:
    """The URL without its password, and the password as it stands there."""
    scheme, who, rest = _parts(url)
    user, _, password = who.partition(":")
    return f"{scheme}{user}{rest}", password


def with_password(url: str, password: str) -> str:
    """The URL of a user without a password, with one."""
    scheme, who, rest = _parts(url)
    return f"{scheme}{who.partition(':')[0]}:{quote(password, safe='')}{rest}"


def user_of(url: str) -> str:
    """The user that the URL names; "" where it names none."""
    return unquote(_parts(url)[1].partition(":")[0])


def hosts_of(url: str) -> str:
    """`one:5432,two:5432`."""
    return re.split(r"[/?#]", _parts(url)[2].removeprefix("@"), maxsplit=1)[0]


def has_hidden_password(url: str) -> bool:
    """Whether a password stands elsewhere than behind the user: `?password=`, `&sslpassword=`."""
    return "password=" in unquote(url).lower()


def _parts(url: str) -> tuple[str, str, str]:
    """`postgresql://`, `user:password` and `@host/name`."""
    scheme, sign, rest = url.partition("://")
    if rest.startswith("/") or "@" not in rest:  # a path (sqlite:///…) names no user
        return f"{scheme}{sign}", "", rest
    who, at, place = rest.rpartition("@")
    return f"{scheme}{sign}", who, f"{at}{place}"
