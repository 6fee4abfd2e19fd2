"""The mailbox over HTTP: SendGrid's API, the inbox people read, the JSON tests read."""

import json

import pytest

from sandbox import mail
from tests.unit.sandbox_mail.conftest import application

REQUEST = {
    "personalizations": [{"to": [{"email": "ana@example.com", "name": "Ana"}]}],
    "from": {"email": "billing@sunrise.example", "name": "Sunrise"},
    "subject": "Your payment <failed>",
    "content": [
        {"type": "text/plain", "value": "Hello\nhttp://portal.test/me/abc"},
        {
            "type": "text/html",
            "value": "<html><head></head><body><script>alert(1)</script>"
            '<a href="http://portal.test/me/abc" target="_blank">Update</a></body></html>',
        },
    ],
}


@pytest.fixture
def mailbox():
    return mail.Mailbox("http://mail.test")


@pytest.fixture
def client(mailbox):
    app = application()
    app.register_blueprint(mail.blueprint(mailbox))
    return app.test_client()


def send(client, **changes):
    return client.post(
        "/v3/mail/send", json={**REQUEST, **changes}, headers={"Authorization": "Bearer SG.test"}
    )


def test_accepts_with_an_empty_202(client):
    """A good request gets 202, no body, and an X-Message-Id."""
    answer = send(client)
    assert (answer.status_code, answer.data) == (202, b"")
    assert answer.headers["X-Message-Id"]


def test_refuses_without_a_key(client):
    """No key: 401 with SendGrid's error list."""
    answer = client.post("/v3/mail/send", json=REQUEST)
    assert answer.status_code == 401
    assert answer.json["errors"][0]["field"] is None


def test_refuses_another_content_type(client):
    """Anything but JSON is a 415."""
    answer = client.post(
        "/v3/mail/send", data={"to": "x"}, headers={"Authorization": "Bearer SG.test"}
    )
    assert answer.status_code == 415


def test_refuses_a_declared_giant(client):
    """A declared length over 30 MB is refused before the body is read."""
    answer = client.post(
        "/v3/mail/send",
        data=b"{}",
        content_type="application/json",
        headers={"Authorization": "Bearer SG.test"},
        environ_overrides={"CONTENT_LENGTH": str(31 * 1024 * 1024)},
    )
    assert answer.status_code == 413


def test_json_listing_filters_limits_and_empties(client):
    """`/inbox.json` takes `to`, `limit` and `bodies`, tells the exact total, and DELETE empties it."""
    for number in range(3):
        send(client, subject=f"number {number}")
    listed = client.get("/inbox.json?to=ana@example.com&limit=2")
    assert [one["subject"] for one in listed.json] == ["number 2", "number 1"]
    assert listed.headers["X-Total-Count"] == "3"
    assert "html" not in client.get("/inbox.json?bodies=0").json[0]
    assert client.get("/inbox.json?to=ben@example.com").json == []
    assert client.delete("/inbox.json").json == {"deleted": 3}
    assert client.get("/inbox.json").json == []


def test_the_listing_is_legible_without_a_program(client):
    """For people with curl: no escapes. Half a surrogate pair, which can't be sent, does not break off the answer."""
    send(client, subject="didn’t go through \ud800")
    assert "didn’t go through ?" in client.get("/inbox.json").get_data(as_text=True)


def test_the_page_escapes_what_a_mail_says(client):
    """Subjects are text, not markup, in list and reading view."""
    send(client)
    page = client.get("/inbox").text
    assert "Your payment &lt;failed&gt;" in page
    assert "<failed>" not in page


def test_the_letter_cannot_run_scripts_and_opens_links_on_top(client):
    """The mail's HTML is served sandboxed without scripts, and its links leave the frame."""
    send(client)
    (listed,) = client.get("/inbox.json").json
    answer = client.get(f"/inbox/{listed['id']}/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy
    assert '<head><base target="_top">' in answer.text
    assert '<a href="http://portal.test/me/abc" target="_top">' in answer.text
    assert listed["html"] == REQUEST["content"][1]["value"]


@pytest.mark.parametrize("view", ["html", "text", "details", "nonsense"])
def test_every_view_of_a_mail_is_readable(client, view):
    """HTML, text and details views answer, and carry the headers against framing and caching."""
    send(client)
    (listed,) = client.get("/inbox.json").json
    answer = client.get(f"/inbox/{listed['id']}?view={view}")
    assert answer.status_code == 200
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_mail_that_is_gone_leads_back_to_the_list(client):
    """A stale link to a mail leads to the inbox instead of an error."""
    assert client.get("/inbox/0123").headers["Location"] == "/inbox"
    assert client.get("/inbox/0123/html").status_code == 404


def test_the_empty_button_empties(client):
    """The page's own button throws the mails away and returns to the list."""
    send(client)
    assert client.post("/inbox/empty").headers["Location"] == "/inbox"
    assert client.get("/inbox.json").json == []


def test_public_key_and_counts_are_told(client, mailbox):
    """The verification key and exact counts can be read over HTTP."""
    assert client.get("/sandbox/sendgrid-public-key").text.strip() == mailbox.public_key
    send(client)
    assert client.get("/sandbox/mail").json["accepted"] == 1


def test_events_can_be_added_and_are_listed(client):
    """An event asked for is reported about the newest mail, and changes what the inbox says."""
    send(client)
    answer = client.post("/sandbox/mail/events", json={"event": "bounce"})
    assert answer.status_code == 202
    assert client.get("/sandbox/mail/events").json[0]["event"]["event"] == "bounce"
    assert client.get("/inbox.json").json[0]["status"] == "bounce"


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ("x", 400),
        ({"duplicate": "2"}, 400),
        ({"duplicate": -1}, 400),
        ({"event": 5}, 400),
        ({"mail_id": "0123"}, 404),
    ],
)
def test_bad_event_orders_are_refused(client, order, status):
    """An order that makes no sense is refused with a sentence that says why."""
    send(client)
    answer = client.post(
        "/sandbox/mail/events", data=json.dumps(order), content_type="application/json"
    )
    assert answer.status_code == status
    assert answer.json["error"]
