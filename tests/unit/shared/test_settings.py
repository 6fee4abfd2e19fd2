"""Settings: one message for all that is wrong, secrets that never show."""

import pytest

from shared.settings import Reader, Secret, SettingsError


def read(environ, then):
    reader = Reader(environ)
    value = then(reader)
    reader.done()
    return value


def secrets(reader, **options):
    return reader.secrets("KEYS", meaning="keys", example="a,b", **options)


def test_all_problems_in_one_message():
    """Every wrong or missing variable is named at once, with what it is for and an example."""
    reader = Reader({"AMQP_URI": "http://wrong", "PUBLIC_URL": "no url", "WORKERS": "many"})
    reader.amqp_uri()
    reader.url(
        "PUBLIC_URL", meaning="where customers reach the portal", example="https://pay.example"
    )
    reader.integer("WORKERS", meaning="how many", default=3, minimum=1)
    secrets(reader)
    with pytest.raises(SettingsError) as caught:
        reader.done()
    text = str(caught.value)
    assert "4 settings are wrong" in text
    for word in ("AMQP_URI", "PUBLIC_URL", "WORKERS", "KEYS is not set", "https://pay.example"):
        assert word in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_secret_from_a_file(tmp_path, encoding):
    """NAME_FILE names a file that holds the secret; neither a line end at its end nor a byte order mark before it is part of it."""
    file = tmp_path / "key"
    file.write_text("hidden-value\n", encoding)
    secret = read(
        {"KEY_FILE": str(file)}, lambda reader: reader.secret("KEY", meaning="a key", example="x")
    )
    assert secret.reveal() == "hidden-value"


def test_an_unreadable_secret_file_is_named(tmp_path):
    """A missing file is an error that names the variable, not a default."""
    with pytest.raises(
        SettingsError, match=r"KEY_FILE can't be read(?s:.)*for example KEY_FILE=/run/secrets/key\n"
    ):
        read(
            {"KEY_FILE": str(tmp_path / "none")},
            lambda reader: reader.secret("KEY", meaning="a key", example="x", default=None),
        )


def one_key(environ):
    return read(environ, lambda reader: reader.secret("KEY", meaning="a key", example="x"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "KEY_FILE names an empty file"),
        (b"\xff", "KEY_FILE can't be read: it is not text"),
    ],
)
def test_a_file_without_a_value_is_named(tmp_path, content, told):
    """An empty file, or one that is no text, is told as the file's fault, with a file as the example."""
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        one_key({"KEY_FILE": str(tmp_path / "key")})
    assert told in str(caught.value)
    assert "KEY_FILE=/run/secrets/key" in str(caught.value)


def test_a_name_that_is_no_path_is_named():
    """A NUL in the file's name is a message like any other."""
    with pytest.raises(SettingsError, match="KEY_FILE can't be read"):
        one_key({"KEY_FILE": "\x00"})


def test_a_setting_and_its_file_exclude_each_other(tmp_path):
    """Which of two values is the stale one nobody can know: neither is taken. A blank one counts as not set."""
    (tmp_path / "key").write_text("from-the-file")
    given = {"KEY_FILE": str(tmp_path / "key")}
    with pytest.raises(SettingsError, match="KEY and KEY_FILE are both set") as caught:
        one_key({**given, "KEY": "from-the-variable"})
    assert str(caught.value).count("KEY and") == 1
    assert "from-the-" not in str(caught.value)
    assert one_key({**given, "KEY": " "}).reveal() == "from-the-file"


def test_what_is_wrong_in_a_file_is_told_of_the_file(tmp_path):
    """Who fixes it must know where the value came from."""
    (tmp_path / "uri").write_text("http://wrong")
    with pytest.raises(SettingsError, match=r"AMQP_URI \(in the file of AMQP_URI_FILE\)"):
        read({"AMQP_URI_FILE": str(tmp_path / "uri")}, Reader.amqp_uri)


@pytest.mark.parametrize("service", ["portal", "billing", "notifier"])
def test_the_example_database_is_the_services_own(service):
    """Whoever copies the example of each service gets three databases."""
    with pytest.raises(
        SettingsError, match=f"=postgresql://{service}:password@postgres:5432/{service}"
    ):
        read({}, lambda reader: reader.database_url(service))


@pytest.mark.parametrize(
    ("given", "level"), [("debug", "DEBUG"), ("Warning", "WARNING"), ("", "INFO")]
)
def test_log_levels(given, level):
    """In small letters or capitals; INFO when it is not set."""
    assert read({"LOG_LEVEL": given}, Reader.log_level) == level


def test_an_unknown_log_level_is_told_with_the_known_ones():
    """One message, with all that it may be."""
    with pytest.raises(SettingsError, match="LOG_LEVEL is 'loud', it must be one of DEBUG, INFO,"):
        read({"LOG_LEVEL": "loud"}, Reader.log_level)


def test_secrets_never_show():
    """Neither repr, str nor formatting shows a secret, alone or inside something."""
    secret = Secret("hidden-value")
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}", f"{(secret,)!r}"):
        assert "hidden" not in text


def test_wrong_secrets_are_not_repeated():
    """The message about a short or foreign secret tells its length or prefix, never the value."""
    with pytest.raises(SettingsError) as caught:
        read({"KEYS": "short-secret"}, lambda reader: secrets(reader, min_length=32))
    assert "short-secret" not in str(caught.value)
    assert "too short (12 of at least 32 characters)" in str(caught.value)
    with pytest.raises(SettingsError) as caught:
        read({"KEYS": "value-one,value-two"}, lambda reader: secrets(reader, prefix="whsec_"))
    assert "value-" not in str(caught.value)


def test_several_secrets_newest_first():
    """A list of keys keeps its order; spaces and empty parts don't count."""
    keys = read({"KEYS": " new , old ,"}, secrets)
    assert [key.reveal() for key in keys] == ["new", "old"]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h/d"),
        ("postgres://u:p@h/d", "postgresql+psycopg2://u:p@h/d"),
        ("sqlite:///x.db", "sqlite:///x.db"),
        (
            "postgresql://u:p@one:5432,two/d?target_session_attrs=read-write",
            "postgresql+psycopg2://u:p@/d?host=one:5432&host=two&target_session_attrs=read-write",
        ),
    ],
)
def test_database_urls(given, used):
    """The usual spellings of a PostgreSQL URL all mean the one driver that works under green threads."""
    url = read({"D_DATABASE_URL": given}, lambda reader: reader.database_url("d"))
    assert url.reveal() == used


def test_other_databases_are_refused():
    """A URL of a database that we don't run on is refused without repeating its password."""
    with pytest.raises(SettingsError) as caught:
        read({"D_DATABASE_URL": "mysql://u:hunter2@h/d"}, lambda reader: reader.database_url("d"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@h:port/d", "sqlite://u@h:x/d"])
def test_a_database_url_that_nobody_could_connect_with_is_refused(url):
    """At the start, in words, and not by a traceback when the first connection is made."""
    with pytest.raises(SettingsError, match="can't be read as a URL") as caught:
        read({"D_DATABASE_URL": url}, lambda reader: reader.database_url("d"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["yes", "TRUE", "1", "on"])
def test_true_in_many_words(text):
    """Booleans take the words that people write."""
    assert read({"B": text}, lambda reader: reader.boolean("B", meaning="m", default=False))


def test_blank_is_unset():
    """An empty variable counts as not set (compose files and charts leave such behind)."""
    assert read({"N": "  "}, lambda r: r.integer("N", meaning="m", default=7)) == 7


@pytest.mark.parametrize("password", ["[hunter2", "hunter2℀", "hunter2/x"])
def test_a_url_that_can_not_be_read_is_not_quoted(password):
    """What the library says of it has a part of the password in it; ours says how to write one."""
    for name, read_it, url in (
        ("AMQP_URI", Reader.amqp_uri, f"amqp://u:{password}@h/v"),
        (
            "D_DATABASE_URL",
            lambda reader: reader.database_url("d"),
            f"postgresql://u:{password}@h,i/d",
        ),
    ):
        if name == "D_DATABASE_URL" and "/" in password:
            continue  # which SQLAlchemy reads
        with pytest.raises(SettingsError, match="# as %23") as caught:
            read({name: url}, read_it)
        assert "hunter2" not in str(caught.value)
        assert "℀" not in str(caught.value)
