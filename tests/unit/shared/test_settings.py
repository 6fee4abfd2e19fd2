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


def test_secret_from_a_file(tmp_path):
    """NAME_FILE names a file that holds the secret; a line end at its end is not part of it."""
    file = tmp_path / "key"
    file.write_text("hidden-value\n")
    secret = read(
        {"KEY_FILE": str(file)}, lambda reader: reader.secret("KEY", meaning="a key", example="x")
    )
    assert secret.reveal() == "hidden-value"


def test_an_unreadable_secret_file_is_named(tmp_path):
    """A missing file is an error that names the variable, not a default."""
    with pytest.raises(SettingsError, match="KEY_FILE can't be read"):
        read(
            {"KEY_FILE": str(tmp_path / "none")},
            lambda reader: reader.secret("KEY", meaning="a key", example="x", default=None),
        )


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
    assert "12 characters" in str(caught.value)
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
    url = read({"D": given}, lambda reader: reader.database_url("D"))
    assert url.reveal() == used


def test_other_databases_are_refused():
    """A URL of a database that we don't run on is refused without repeating its password."""
    with pytest.raises(SettingsError) as caught:
        read({"D": "mysql://u:hunter2@h/d"}, lambda reader: reader.database_url("D"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["yes", "TRUE", "1", "on"])
def test_true_in_many_words(text):
    """Booleans take the words that people write."""
    assert read({"B": text}, lambda reader: reader.boolean("B", meaning="m", default=False))


def test_blank_is_unset():
    """An empty variable counts as not set (compose files and charts leave such behind)."""
    assert read({"N": "  "}, lambda r: r.integer("N", meaning="m", default=7)) == 7
