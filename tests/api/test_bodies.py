"""Bodies: read strictly, and refused with the reason."""

import json
import subprocess
import sys

import pytest

from reactor_unit.resources.response_schemas import ErrorAnswer
from reactor_unit.strict_json import MAX_BODY_BYTES

from .fakes import raw_request

RUN = "/unit_api/jobs/run/job_name/stirring"
STOP = "/unit_api/jobs/stop"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "line 1"),
        (b"{}}", "line 1"),
        (b"{'options': {}}", "double quotes"),
        (b'{"options": {"target_rpm": 1, "target_rpm": 2}}', "twice"),
        (b'{"options": {"target_rpm": NaN}}', "NaN"),
        (b'{"options": {"target_rpm": -Infinity}}', "Infinity"),
        (b'{"options": {"target_rpm": 1e999}}', "too large"),
        (b'{"options": {"target_rpm": ' + b"9" * 5000 + b"}}", "digits"),
        (b'{"options": ' + b"[" * 100_000, "deep"),
        (b"[" * 33 + b"]" * 33, "deep"),
        (b'\xef\xbb\xbf{"options": {}}', "not JSON"),
        (b'{"env": {"EXPERIMENT": "\xff"}}', "UTF-8"),
        ('{"env": {"EXPERIMENT": "x"}}'.encode("utf-16"), "UTF-8"),
        (b'{"env": {"EXPERIMENT": "\\ud800"}}', "half"),
        (b'{"env": {"EXPERIMENT": "\\u0000"}}', "control character"),
        (b"null", "null"),
        (b"[]", "a list"),
        (b'"text"', "text"),
        (b"7", "a number"),
        (b"true", "a boolean"),
        (b" ", "not JSON"),
        (b"\x00", "not JSON"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value[:30]),
)
@pytest.mark.parametrize("path", [RUN, STOP])
def test_what_is_not_a_json_object_is_refused_with_the_reason(client, gateway, refused, path, body, word):
    text = refused(client.simulate_post(path, body=body), 400)
    if path == RUN or word != "control character":
        assert word in text
    assert gateway.submitted == []


def test_escapes_of_whole_characters_are_read(client, gateway):
    body = b'{"env": {"EXPERIMENT": "\\u00e9 \\ud83d\\ude00"}}'
    assert client.simulate_post(RUN, body=body).status_code == 202
    assert gateway.submitted[0][1]["env"] == {"EXPERIMENT": "é 😀"}


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/merge-patch+json",
        "application/vnd.lab+json; charset=utf8; version=1",
    ],
)
def test_json_is_read_under_any_of_its_names(client, gateway, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    body = b'{"options": {"target_rpm": 300}}'
    assert client.simulate_post(RUN, body=body, headers=headers).status_code == 202
    assert gateway.submitted[0][1]["options"] == {"target_rpm": 300.0}


OTHER_TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "application/json; charset=latin-1",
    "text/json+json",
    "application/jsonx",
    "rubbish",
    ";",
]


@pytest.mark.parametrize("content_type", OTHER_TYPES)
def test_a_body_of_another_type_is_refused(client, gateway, refused, content_type):
    response = client.simulate_post(RUN, body=b"{}", headers={"Content-Type": content_type})
    assert "application/json" in refused(response, 415)
    assert gateway.submitted == []


@pytest.mark.parametrize("content_type", OTHER_TYPES)
def test_the_type_of_no_body_does_not_matter(client, content_type):
    assert client.simulate_post(RUN, headers={"Content-Type": content_type}).status_code == 202


def padded(size):
    body = json.dumps({"options": {"target_rpm": 300}}).encode()
    return body + b" " * (size - len(body))


def test_a_body_of_exactly_the_limit_is_read(client):
    assert client.simulate_post(RUN, body=padded(MAX_BODY_BYTES)).status_code == 202


def test_a_larger_body_is_refused(client, gateway, refused):
    text = refused(client.simulate_post(RUN, body=padded(MAX_BODY_BYTES + 1)), 413)
    assert str(MAX_BODY_BYTES) in text
    assert gateway.submitted == []


@pytest.mark.parametrize(
    ("length", "status"),
    [("5000000", 413), ("abc", 400), ("-1", 400), ("1" * 5000, 400)],
    ids=["large", "word", "negative", "endless"],
)
def test_a_false_content_length_is_refused(app, gateway, length, status):
    answered, body, _ = raw_request(app, RUN, method="POST", body=b"{}", CONTENT_LENGTH=length)
    assert answered == status
    assert ErrorAnswer().validate(json.loads(body)) == {}
    assert gateway.submitted == []


def test_the_application_needs_no_web_server():
    program = "import sys, reactor_unit.app; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"waitress", "reactor_unit.web_server"}.isdisjoint(modules)
