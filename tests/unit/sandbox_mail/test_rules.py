"""What the stand-in for SendGrid accepts and how it refuses."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.mail.rules import MAX_REQUEST_BYTES, SendGridError, authorize, parse
from tests.unit.any_text import any_text


def a_request(**changes):
    request = {
        "personalizations": [{"to": [{"email": "ana@example.com", "name": "Ana"}]}],
        "from": {"email": "billing@sunrise.example", "name": "Sunrise"},
        "subject": "Your payment",
        "content": [
            {"type": "text/plain", "value": "Hello"},
            {"type": "text/html", "value": "<p>Hello</p>"},
        ],
    }
    request.update(changes)
    return json.dumps({name: value for name, value in request.items() if value is not None})


def refusal(body):
    with pytest.raises(SendGridError) as caught:
        parse(body if isinstance(body, bytes) else body.encode())
    return caught.value


def test_reads_a_complete_mail():
    """A valid request becomes one envelope with its bodies, sender and settings."""
    submission = parse(
        a_request(
            reply_to={"email": "hello@sunrise.example"},
            custom_args={"notification_id": "n1"},
            tracking_settings={"click_tracking": {"enable": False}},
        ).encode()
    )
    (envelope,) = submission.envelopes
    assert envelope.to[0].email == "ana@example.com"
    assert envelope.custom_args == {"notification_id": "n1"}
    assert (submission.text, submission.html) == ("Hello", "<p>Hello</p>")
    assert submission.reply_to is not None
    assert submission.reply_to.email == "hello@sunrise.example"
    assert submission.tracking_settings == {"click_tracking": {"enable": False}}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"personalizations": None}, "personalizations"),
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": [{"to": []}]}, "personalizations.0.to"),
        ({"personalizations": [{"to": [{"email": "nobody"}]}]}, None),
        ({"personalizations": [{"to": [{"email": "a@b.c"}, {"email": "A@b.c"}]}]}, None),
        ({"from": None}, "from.email"),
        ({"from": {"email": "not an address"}}, "from.email"),
        ({"reply_to": {"email": ""}}, "reply_to.email"),
        ({"subject": None}, "subject"),
        ({"subject": ""}, "subject"),
        ({"content": None}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        ({"content": [{"value": "x"}]}, "content.0.type"),
        ({"custom_args": {"n": 1}}, "custom_args"),
        ({"custom_args": {"n": "x" * 10_001}}, "custom_args"),
        ({"headers": {"Subject": "x"}}, "headers"),
        ({"categories": ["a"] * 2}, "categories"),
        ({"template_id": "d-1"}, "template_id"),
        ({"personalizations": [{"to": [{"email": "a@b.c"}], "bcc": []}]}, "personalizations.0.bcc"),
    ],
)
def test_names_the_wrong_field(changes, field):
    """Each wrong or missing field is refused with 400 and named in SendGrid's error object."""
    refused = refusal(a_request(**changes))
    assert refused.status == 400
    assert set(refused.errors[0]) == {"message", "field", "help"}
    if field:
        assert refused.errors[0]["field"] == field
    else:
        assert refused.errors[0]["field"].startswith("personalizations.0")


def test_html_may_not_come_before_text():
    """text/html before text/plain is refused, as SendGrid insists on the order."""
    blocks = [{"type": "text/html", "value": "<p>"}, {"type": "text/plain", "value": "x"}]
    refused = refusal(a_request(content=blocks))
    assert "text/plain must be first" in refused.errors[0]["message"]


def test_a_subject_in_every_personalization_is_enough():
    """The top-level subject may be missing when each personalization brings its own."""
    groups = [{"to": [{"email": "ana@example.com"}], "subject": "Own"}]
    submission = parse(a_request(subject=None, personalizations=groups).encode())
    assert submission.envelopes[0].subject == "Own"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe"])
def test_what_is_not_an_object_is_a_bad_request(body):
    """A body that is no JSON object gets 400 without a field."""
    refused = refusal(body)
    assert (refused.status, refused.errors[0]["field"]) == (400, None)


def test_too_large_a_request_is_refused():
    """More than 30 MB is refused with 413 before it is read as JSON."""
    assert refusal(b"x" * (MAX_REQUEST_BYTES + 1)).status == 413


def test_an_unverified_sender_is_forbidden():
    """A sender that stands for an unverified identity gets SendGrid's 403."""
    for address in ("unverified@x.example", "billing@not-yet.example"):
        assert refusal(a_request(**{"from": {"email": address}})).status == 403


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer sk_test_1", "Basic SG.x", "SG.x"])
def test_refuses_what_is_no_sendgrid_key(header):
    """Only `Bearer SG.…` is let in; anything else is a 401."""
    with pytest.raises(SendGridError) as caught:
        authorize(header)
    assert caught.value.status == 401
    authorize("Bearer SG.sandbox")


def taken_or_refused(body):
    try:
        return parse(body)
    except SendGridError as refused:
        return refused.errors


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["email", "type", "value", "enable", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
FIELDS = [
    "personalizations",
    "from",
    "reply_to",
    "subject",
    "content",
    "custom_args",
    "headers",
    "categories",
    "tracking_settings",
]


@given(field=st.sampled_from(FIELDS), value=JSON)
def test_no_value_of_any_field_is_a_crash(field, value):
    """Whatever stands in a field, the request is either taken or refused with its errors."""
    request = json.loads(a_request())
    request[field] = value
    body = json.dumps(request).encode()
    assert taken_or_refused(body)


@given(field=st.sampled_from(["to", "subject", "headers", "custom_args"]), value=JSON)
def test_no_value_in_a_personalization_is_a_crash(field, value):
    """The same for the fields of a personalization."""
    request = json.loads(a_request())
    request["personalizations"][0][field] = value
    assert taken_or_refused(json.dumps(request).encode())
