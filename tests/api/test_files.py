"""The data folder over HTTP: what is shown, how, and that a refusal changes nothing."""

import io
import os
import stat
import zipfile

import pytest
from falcon import testing

from reactor_unit.transfers import MAX_ARCHIVES, MAX_DOWNLOADS, PIECE_BYTES

from .fakes import raw_request

PATH = "/unit_api/system/path"
REMOVE = "/unit_api/system/remove_file"
ARCHIVE = "/unit_api/zipped_dot_pioreactor"
FLAG = "DISALLOW_UI_FILE_SYSTEM"
TEXT = "0123456789"


@pytest.fixture
def dot(folder):
    """The data folder, with a file that is old enough for its time to tell its version."""
    dot = folder.path
    (dot / "storage").mkdir()
    (dot / "logs").mkdir()
    (dot / "config.ini").write_text("")
    (dot / "logs" / "a.log").write_text(TEXT)
    (dot.parent / "outside").write_text("outside")
    return dot


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Let all files be old enough for strong entity tags."""
    monkeypatch.setattr("reactor_unit.resources.conditional.FRESH_S", -1e9)


def get(client, path="logs/a.log", **headers):
    return client.simulate_get(
        f"{PATH}/{path}", headers={key.replace("_", "-"): value for key, value in headers.items()}
    )


# Listings


@pytest.mark.parametrize("path", [PATH, f"{PATH}/"])
def test_the_root_is_listed(client, dot, path):
    answer = client.simulate_get(path)
    assert answer.json == {"current": str(dot), "dirs": ["logs", "storage"], "files": ["config.ini"]}
    assert answer.headers["content-type"] == "application/json"


def test_a_folder_is_listed(client, dot):
    assert get(client, "logs").json == {"current": str(dot / "logs"), "dirs": [], "files": ["a.log"]}


# Contents


def test_a_file_is_shown_as_text_that_no_browser_runs(client, dot):
    (dot / "page.html").write_text("<script>alert(1)</script>")
    answer = get(client, "page.html")
    assert (answer.status_code, answer.text) == (200, "<script>alert(1)</script>")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["content-disposition"] == 'inline; filename="page.html"'
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-length"] == "25"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "text/plain; charset=utf-8"),
        ("größe".encode(), "text/plain; charset=utf-8"),
        (b"a" * 4095 + "ß".encode() + b"a", "text/plain; charset=utf-8"),
        ("größe".encode("latin-1"), "application/octet-stream"),
        (b"GIF89a\0", "application/octet-stream"),
        (b"\xff\xfe<\0s\0", "application/octet-stream"),
        (b"abc\xc3", "application/octet-stream"),
    ],
    ids=["empty", "utf-8", "cut character", "latin-1", "nul", "utf-16", "half a character at the end"],
)
def test_what_is_no_text_is_bytes(client, dot, content, kind):
    (dot / "x.svg").write_bytes(content)
    answer = get(client, "x.svg")
    assert answer.headers["content-type"] == kind
    assert answer.content == content


def test_a_name_of_any_letters_is_safe_in_the_headers(client, dot):
    (dot / 'a";ö.txt').write_text("x")
    answer = get(client, "a%22%3B%C3%B6.txt")
    assert answer.status_code == 200
    assert "filename*=UTF-8''a%22%3B%C3%B6.txt" in answer.headers["content-disposition"]


def test_a_name_with_a_quotation_mark_stays_one_name_in_the_headers(client, dot):
    (dot / 'a"; filename="b.txt').write_text("x")
    answer = get(client, "a%22%3B filename=%22b.txt")
    assert answer.headers["content-disposition"] == 'inline; filename="a\\"; filename=\\"b.txt"'


def test_head_tells_what_get_would_and_sends_nothing(client, dot):
    (dot / "large").write_bytes(bytes(5 * PIECE_BYTES))
    for path in ("large", "logs/a.log"):
        shown = get(client, path)
        head = client.simulate_head(f"{PATH}/{path}", headers={"Range": "bytes=0-1"})
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers == shown.headers


def test_nothing_stays_open(client, dot):
    (dot / "large").write_bytes(bytes(5 * PIECE_BYTES))
    before = len(os.listdir("/proc/self/fd"))
    for path, headers in [
        ("large", {}), ("logs/a.log", {}), ("", {}), ("nothing", {}), ("large", {"Range": "bytes=9999999-"}),
        ("large", {"If-Match": '"x"'}), ("large", {"If-None-Match": "*"}), ("config.ini/x", {}), ("../x", {}),
    ]:  # fmt: skip
        client.simulate_get(f"{PATH}/{path}", headers=headers)
        client.simulate_head(f"{PATH}/{path}", headers=headers)
    client.simulate_get(ARCHIVE)
    assert len(os.listdir("/proc/self/fd")) == before


# Ranges


@pytest.mark.parametrize(
    ("wanted", "content", "told"),
    [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-5", "2345", "bytes 2-5/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=7-99999999", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", TEXT, "bytes 0-9/10"),
        ("bytes = 2 - 5", "2345", "bytes 2-5/10"),
    ],
)
@pytest.mark.usefixtures("dot")
def test_a_range_is_sent(client, wanted, content, told):
    answer = get(client, Range=wanted)
    assert (answer.status_code, answer.text) == (206, content)
    assert answer.headers["content-range"] == told
    assert answer.headers["content-length"] == str(len(content))


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999999999999999999-"])
@pytest.mark.usefixtures("dot")
def test_a_range_behind_the_end_cannot_be_had(client, refused, wanted):
    answer = get(client, Range=wanted)
    refused(answer, 416)
    assert answer.headers["content-range"] == "bytes */10"


def test_an_empty_file_has_no_range(client, dot, refused):
    (dot / "empty").touch()
    refused(get(client, "empty", Range="bytes=0-"), 416)
    assert get(client, "empty").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-1,3-4", "lines=1-2", "bytes=5-2", "bytes=", "bytes=-", "0-1", "bytes=a-b", "bytes=-1-2", "x" * 5000,
     "bytes=" + "9" * 5000 + "-"],
    ids=lambda text: text[:12],
)  # fmt: skip
@pytest.mark.usefixtures("dot")
def test_what_is_no_single_range_of_bytes_gets_the_whole(client, wanted):
    answer = get(client, Range=wanted)
    assert (answer.status_code, answer.text) == (200, TEXT)


def test_a_range_of_a_large_file_is_exact(client, dot):
    content = os.urandom(7 * PIECE_BYTES)
    (dot / "large").write_bytes(content)
    answer = get(client, "large", Range=f"bytes=1-{6 * PIECE_BYTES}")
    assert answer.content == content[1 : 6 * PIECE_BYTES + 1]


# Conditions


@pytest.mark.usefixtures("dot")
def test_a_file_that_is_known_is_not_sent_again(client):
    first = get(client)
    for header in ({"If_None_Match": first.headers["etag"]}, {"If_None_Match": f'"x", W/{first.headers["etag"]}'},
                   {"If_None_Match": "*"}, {"If_Modified_Since": first.headers["last-modified"]}):  # fmt: skip
        answer = get(client, **header)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == first.headers["etag"]


def test_a_file_that_changed_is_sent(client, dot):
    first = get(client)
    (dot / "logs" / "a.log").write_text("9876543210")  # as long as before
    os.utime(dot / "logs" / "a.log", ns=(0, 10**18))
    second = get(client, If_None_Match=first.headers["etag"])
    assert (second.status_code, second.text) == (200, "9876543210")
    assert second.headers["etag"] != first.headers["etag"]
    # Which of two conditions counts: the entity tag.
    both = get(client, If_None_Match=first.headers["etag"], If_Modified_Since=second.headers["last-modified"])
    assert both.status_code == 200


def test_a_change_that_keeps_size_and_time_is_seen(client, dot):
    status = (dot / "logs" / "a.log").stat()
    first = get(client)
    (dot / "logs" / "a.log").write_text("9876543210")
    os.utime(dot / "logs" / "a.log", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert get(client, If_None_Match=first.headers["etag"]).text == "9876543210"


@pytest.mark.usefixtures("dot")
def test_a_download_goes_on_only_with_the_same_version(client):
    first = get(client)
    for condition in (first.headers["etag"], first.headers["last-modified"]):
        assert get(client, Range="bytes=5-", If_Range=condition).text == "56789"
    for condition in ('"x"', f"W/{first.headers['etag']}", "Tue, 01 Jan 2030 00:00:00 GMT", "nonsense"):
        answer = get(client, Range="bytes=5-", If_Range=condition)
        assert (answer.status_code, answer.text) == (200, TEXT)


@pytest.mark.usefixtures("dot")
def test_a_file_of_this_moment_has_a_weak_tag_and_is_not_put_together(client, monkeypatch):
    """It could change again without a sign."""
    monkeypatch.setattr("reactor_unit.resources.conditional.FRESH_S", 1e9)
    first = get(client)
    assert first.headers["etag"].startswith('W/"')
    assert get(client, Range="bytes=5-", If_Range=first.headers["etag"]).status_code == 200
    assert get(client, Range="bytes=5-", If_Range=first.headers["last-modified"]).status_code == 200
    assert get(client, If_None_Match=first.headers["etag"]).status_code == 304


@pytest.mark.usefixtures("dot")
def test_what_was_known_of_a_file_of_this_moment_is_sent_again_when_it_has_settled(client, monkeypatch):
    """It may have changed once more, as large as before and within one tick of the clock that files are dated by."""
    with monkeypatch.context() as patch:
        patch.setattr("reactor_unit.resources.conditional.FRESH_S", 1e9)
        known = get(client).headers["etag"]
    settled = get(client, If_None_Match=known)
    assert (settled.status_code, settled.text) == (200, TEXT)
    assert get(client, If_None_Match=f"W/{settled.headers['etag']}").status_code == 304


@pytest.mark.usefixtures("dot")
def test_a_condition_that_fails_sends_nothing(client, refused):
    first = get(client)
    refused(get(client, If_Match='"x"'), 412)
    refused(get(client, If_Unmodified_Since="Tue, 01 Jan 1980 00:00:00 GMT"), 412)
    assert get(client, If_Match=first.headers["etag"]).status_code == 200
    assert get(client, If_Unmodified_Since=first.headers["last-modified"]).status_code == 200


@pytest.mark.parametrize("header", ["If-Modified-Since", "If-Unmodified-Since", "If-Range", "If-None-Match"])
@pytest.mark.usefixtures("dot")
def test_a_malformed_condition_is_none(client, header):
    assert client.simulate_get(f"{PATH}/logs/a.log", headers={header: "yesterday"}).status_code == 200


# Refusals


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/../outside", 403),
        ("/%2e%2e/outside", 403),
        ("/%2E%2E/outside", 403),
        ("/logs/../../outside", 403),
        ("/..", 403),
        ("/..%2foutside", 404),
        ("/%2e%2e%2foutside", 404),
        ("/%252e%252e/outside", 404),
        ("/%252e%252e%252foutside", 404),
        ("/..%5coutside", 404),
        ("/logs%5ca.log", 404),
        ("/logs/a.log%00", 404),
        ("/%00", 404),
        ("//etc/passwd", 404),
        ("/%2fetc/passwd", 404),
        ("//logs", 404),
        ("/logs//a.log", 404),
        ("/logs/", 404),
        ("/logs/a.log/", 404),
        ("/./logs", 404),
        ("/logs/%c0%ae%c0%ae/x", 404),
        ("/%ef%bc%8e%ef%bc%8e/outside", 404),
        ("/logs/a.log%0d%0aX:y", 404),
        ("/" + "x/" * 2000 + "x", 404),
        ("/nothing", 404),
    ],
)
@pytest.mark.usefixtures("dot")
def test_no_path_leaves_and_none_is_redirected(app, target, status):
    decoded = testing.create_environ(PATH + target)["PATH_INFO"]
    answer, body, headers = raw_request(app, PATH + target, PATH_INFO=decoded)
    assert answer == status
    assert "location" not in {name.lower() for name in headers}
    assert b"error_info" in body
    assert b"outside\n" not in body


def test_databases_secrets_and_ways_out_are_forbidden(client, dot, refused):
    (dot / "storage" / "x.sqlite").write_text("x")
    (dot / "storage" / "id_rsa").write_text("key-of-the-unit")
    (dot / "out").symlink_to("../outside")
    (dot / "in").symlink_to("storage/x.sqlite")
    for path in ("storage/x.sqlite", "storage/X.SQLITE", "storage/x.sqlite-wal", "storage/id_rsa", "out", "in"):
        refused(get(client, path), 403)
    assert get(client, "storage").json["files"] == ["x.sqlite"]


def test_the_flag_forbids_everything_and_nothing_changes(client, dot, gateway, refused):
    (dot / FLAG).touch()
    for answer in (get(client, ""), get(client), get(client, "nothing"), client.simulate_get(ARCHIVE),
                   client.simulate_post(REMOVE, json={"filepath": "logs/a.log"})):  # fmt: skip
        assert FLAG in refused(answer, 403)
    assert gateway.submitted == []
    assert client.simulate_get("/unit_api/zipped_calibrations").status_code == 200


def test_a_data_folder_that_is_gone_is_said(client, folder, refused):
    folder.path.rename(folder.path.with_name("gone"))
    refused(get(client, ""), 404)


def test_no_more_downloads_than_threads_can_bear(app, dot):
    (dot / "large").write_bytes(bytes(2 * PIECE_BYTES))
    (dot / "small").write_bytes(b"x")
    begun = [unread(app, f"{PATH}/large") for _ in range(MAX_DOWNLOADS)]
    status, body, headers = raw_request(app, f"{PATH}/large")
    assert status == 429
    assert b"under way" in body
    assert headers["retry-after"] == "5"
    assert raw_request(app, f"{PATH}/small")[0] == 200
    begun[0].close()
    assert raw_request(app, f"{PATH}/large")[0] == 200
    for answer in begun:
        answer.close()


def unread(app, path):
    """Return the body of an answer as a server has it before it sends it."""
    environ = testing.create_environ(path)
    return app(environ, lambda status, headers: None)


# Removal


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("path", ["logs/a.log", "logs/not_there", "{dot}/logs/a.log"])
@pytest.mark.parametrize("content_type", ["application/json", None])
def test_a_removal_becomes_a_task(client, gateway, dot, method, path, content_type):
    path = path.format(dot=dot)
    headers = {"Content-Type": content_type} if content_type else {}
    body = f'{{"filepath": "{path}"}}'
    answer = client.simulate_request(method, REMOVE, body=body, headers=headers)
    assert answer.status_code == 202
    assert answer.json["result_url_path"] == f"/unit_api/task_results/{answer.json['task_id']}"
    assert gateway.submitted == [("remove_file", {"filepath": path}, None)]
    assert (dot / "logs" / "a.log").exists()  # the task removes it, not the request


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"filepath": ""}', 400),
        (b'{"filepath": null}', 400),
        (b'{"filepath": 3}', 400),
        (b'{"filepath": ["logs/a.log"]}', 400),
        (b'{"filepath": "logs/a.log", "recursive": true}', 400),
        (b'{"filepath": "../outside"}', 403),
        (b'{"filepath": "/etc/passwd"}', 403),
        (b'{"filepath": "~/x"}', 403),
        (b'{"filepath": "config.ini"}', 403),
        (b'{"filepath": "storage/x.sqlite"}', 403),
        (b'{"filepath": "storage/faults.json"}', 403),
        (b'{"filepath": "DISALLOW_UI_INSTALLS"}', 403),
        (b'{"filepath": ".ssh/id_rsa"}', 403),
        (b'{"filepath": "out"}', 403),
        (b'{"filepath": "in"}', 403),
        (b'{"filepath": "logs//a.log"}', 404),
        (b'{"filepath": "logs/a.log\\u0000"}', 404),
        (b'{"filepath": "logs\\\\a.log"}', 404),
        (b'{"filepath": "\\ud800"}', 404),
    ],
)
def test_a_refused_removal_changes_nothing(client, gateway, dot, refused, body, status):
    (dot / "storage" / "x.sqlite").write_text("x")
    (dot / "out").symlink_to("../outside")
    (dot / "in").symlink_to("storage/x.sqlite")
    before = {path: path.lstat().st_mtime_ns for path in dot.parent.rglob("*")}
    answer = client.simulate_post(REMOVE, body=body)
    if body == b'{"filepath": "\\ud800"}' and answer.status_code == 400:
        status = 400  # half a character is refused as JSON already
    refused(answer, status)
    assert gateway.submitted == []
    assert {path: path.lstat().st_mtime_ns for path in dot.parent.rglob("*")} == before


# The archive


def test_the_archive_has_its_name_and_content(client, dot):
    answer = client.simulate_get(ARCHIVE)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="pio01_dot_pioreactor.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.read("logs/a.log") == TEXT.encode()
        assert archive.namelist()[-1] == "pioreactor_export_metadata.json"
        assert stat.S_ISDIR(archive.getinfo("logs/").external_attr >> 16)


def test_head_of_the_archive_makes_none(client, dot):
    for _ in range(MAX_ARCHIVES + 1):
        head = client.simulate_head(ARCHIVE)
        assert (head.status_code, head.content) == (200, b"")
        assert "content-length" not in head.headers  # nobody knows it


def test_one_archive_at_a_time(app, dot):
    first = unread(app, ARCHIVE)
    status, _, headers = raw_request(app, ARCHIVE)
    assert (status, headers["retry-after"]) == (429, "5")
    first.close()
    assert raw_request(app, ARCHIVE)[0] == 200
