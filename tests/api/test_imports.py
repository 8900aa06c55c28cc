"""An import as a request: refused with everything as it was, or handed on."""

import json

import pytest
from archives import archive, uploaded

from reactor_unit.errors import Unavailable
from reactor_unit.gateway_protocol import IMPORT_LOCK, LockHeld
from reactor_unit.network_names import NamedAddress
from reactor_unit.resources.access import Access, AccessMiddleware
from reactor_unit.resources.imports import ImportGate
from reactor_unit.served_files import FLAG, ServedFiles
from reactor_unit.uploads import UPLOAD

PATH = "/unit_api/import_zipped_dot_pioreactor"


@pytest.fixture
def post(client, tmp_path):
    def post_(content, body=None):
        upload = uploaded(tmp_path, content, body)
        try:
            return client.simulate_post(PATH, extras={UPLOAD: upload}), upload
        finally:
            upload.close()

    return post_


def test_a_good_archive_is_handed_on_where_it_lies(post, gateway):
    content = archive("pio01")
    response, upload = post(content)
    assert response.status_code == 202
    assert set(response.json) == {"unit", "task_id", "result_url_path"}
    ((name, args, _),) = gateway.submitted
    assert name == "import_archive"
    assert args["path"] == str(upload.path)
    assert upload.path.read_bytes()[args["start"] :][: args["length"]] == content
    assert gateway.locks == [IMPORT_LOCK]


@pytest.mark.parametrize("content", [archive("pio02"), b"no archive", archive("pio01")[:-5], b""])
def test_a_bad_one_is_400_and_goes(post, gateway, refused, content):
    response, upload = post(content)
    refused(response, 400)
    assert gateway.submitted == []
    assert not upload.path.exists()


@pytest.mark.parametrize(("content", "status"), [(archive("pio01"), 202), (b"no archive", 400)])
def test_the_place_for_the_next_one_is_free_before_the_answer(client, tmp_path, content, status):
    released = []
    upload = uploaded(tmp_path, content, release=lambda: released.append(True))
    assert client.simulate_post(PATH, extras={UPLOAD: upload}).status_code == status
    is_free = bool(released)
    upload.close()
    assert is_free


def test_a_form_without_the_field_is_400(post, refused):
    response, _ = post(b"", b'--xyz\r\nContent-Disposition: form-data; name="other"; filename="x"\r\n\r\n\r\n--xyz--')
    assert "archive" in refused(response, 400)


def test_a_request_without_a_body_is_400(client):
    assert "curl -F" in client.simulate_post(PATH).json["error_info"]["remediation"]


def test_the_lock_is_told_and_the_upload_goes(post, gateway):
    gateway.outcome = LockHeld(IMPORT_LOCK)
    response, upload = post(archive("pio01"))
    assert response.status_code == 202
    assert response.json == {"status": "in_progress", "lock": IMPORT_LOCK}
    assert not upload.path.exists()


def test_a_refusal_of_the_supervisor_leaves_nothing(post, gateway, refused):
    gateway.outcome = Unavailable("ending")
    response, upload = post(archive("pio01"))
    refused(response, 503)
    assert not upload.path.exists()


def test_it_takes_post_only(client):
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        assert client.simulate_request(method, PATH).status_code == 405


# The gate, which knows the headers alone

OURS = {"HTTP_HOST": "pio01", "REMOTE_ADDR": "127.0.0.1", "REQUEST_METHOD": "POST", "PATH_INFO": PATH}


@pytest.fixture
def gate(gateway, tmp_path):
    access = Access.of("pio01")
    assert isinstance(access.leader, NamedAddress)
    return ImportGate(AccessMiddleware(access), gateway, ServedFiles(tmp_path))


def test_this_machine_may_send_its_body(gate):
    assert gate.look(OURS) is None


@pytest.mark.parametrize(
    "more",
    [
        {"REMOTE_ADDR": "10.1.2.3"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_HOST": "evil.example"},
        {"HTTP_HOST": ""},
        {"HTTP_ORIGIN": "http://evil.example"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"REMOTE_ADDR": "10.1.2.3", "HTTP_AUTHORIZATION": "Bearer wrong"},
    ],
)
def test_nobody_else_may(gate, more):
    answer = gate.look({**OURS, **more})
    assert answer.status.startswith("403 ")
    assert json.loads(answer.body)["error_info"]["status"] == 403


def test_the_owners_flag_keeps_imports_out(gate, tmp_path):
    (tmp_path / FLAG).write_text("")
    assert gate.look(OURS).status.startswith("403 ")


def test_an_import_under_way_is_told_before_the_body(gate, gateway):
    gateway.under_way.add("import_archive")
    answer = gate.look(OURS)
    assert answer.status.startswith("202 ")
    assert json.loads(answer.body) == {"status": "in_progress", "lock": IMPORT_LOCK}
