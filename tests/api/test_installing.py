"""What may be asked to be installed, and what of that reaches the unit."""

import json

import pytest

from reactor_unit.gateway_protocol import LockHeld
from reactor_unit.resources.response_schemas import AcceptedAnswer, LockHeldAnswer

INSTALL, UNINSTALL = "/unit_api/plugins/install", "/unit_api/plugins/uninstall"
UPDATES = ("/unit_api/system/update", "/unit_api/system/update/app")
ANY = {"versions": "", "source": ""}


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "a_b-1.0-py3-none-any.whl"
    path.write_bytes(b"")
    return str(path)


@pytest.fixture
def plugins(folder):
    folder.plugins.mkdir()
    return folder.plugins


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("path", "body", "task", "args", "lock"),
    [
        (INSTALL, {"args": ["A_b"]}, "install_plugin", {"name": "a-b", **ANY}, "plugins-lock"),
        (
            INSTALL,
            {"args": ["a.b"], "options": {}, "env": {}},
            "install_plugin",
            {"name": "a-b", **ANY},
            "plugins-lock",
        ),
        (
            INSTALL,
            {"args": ["ab >= 1.2"]},
            "install_plugin",
            {"name": "ab", **ANY, "versions": ">=1.2"},
            "plugins-lock",
        ),
        (UNINSTALL, {"args": ["my_file"]}, "uninstall_plugin", {"name": "my_file"}, "plugins-lock"),
        *[(path, {}, "update", {"name": "reactor-unit", **ANY}, "update-lock") for path in UPDATES],
        (
            UPDATES[0],
            {"options": {"version": "v1.2.3"}},
            "update",
            {"name": "reactor-unit", "versions": "==1.2.3", "source": ""},
            "update-lock",
        ),
    ],
)
def test_each_is_a_task_under_its_lock(client, gateway, method, path, body, task, args, lock):
    response = client.simulate_request(method, path, json=body)
    assert response.status_code == 202, response.text
    assert AcceptedAnswer().validate(response.json) == {}
    assert [(name, given) for name, given, _ in gateway.submitted] == [(task, args)]
    assert gateway.locks == [lock]


@pytest.mark.parametrize("path", [INSTALL, UNINSTALL, *UPDATES])
def test_a_second_request_is_told_the_lock(client, gateway, path):
    gateway.outcome = LockHeld("a-lock")
    response = client.simulate_post(path, json={} if path in UPDATES else {"args": ["ab"]})
    assert response.status_code == 202
    assert LockHeldAnswer().validate(response.json) == {}


def test_a_file_on_the_unit_and_an_https_url_are_sources(client, gateway, wheel):
    for source in (wheel, "https://example.org/wheels/a_b-1.0-py3-none-any.whl#sha256=00ff"):
        assert client.simulate_post(INSTALL, json={"args": ["a-b"], "options": {"source": source}}).status_code == 202
        assert gateway.submitted[-1][1] == {"name": "a-b", "versions": "", "source": source}
    assert client.simulate_post(UPDATES[0], json={"options": {"source": wheel}}).status_code == 202
    assert gateway.submitted[-1][1] == {"name": "reactor-unit", "versions": "", "source": wheel}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-r",
        "--index-url=https://evil.example",
        "-e .",
        "ab --pre",
        "ab; rm -rf /",
        "ab @ https://evil.example/x.whl",
        "git+https://evil.example/x",
        "./ab",
        "../ab.whl",
        "/tmp/ab.whl",
        "ab[extra]",
        "ab==",
        "ab==1.0,<2",
        "ab==-1",
        "ab\n--pre",
        "äb",
        "ab" * 100,
        "reactor-unit",
        "Reactor_Unit==9",
    ],
)
def test_what_is_not_the_name_of_a_plugin_is_refused(client, gateway, refused, name):
    refused(client.simulate_post(INSTALL, json={"args": [name]}), 400)
    refused(client.simulate_post(UNINSTALL, json={"args": [name]}), 400)
    assert gateway.submitted == []


@pytest.mark.parametrize(
    "source",
    [
        "",
        7,
        None,
        "x.whl",
        "../x.whl",
        "/no/such/file.whl",
        "/etc/passwd",
        "/etc/../etc/x.whl",
        "-r/tmp/x.whl",
        "http://example.org/x.whl",
        "https://example.org/x",
        "https://example.org/x.whl --pre",
        "https://user:word@example.org/x.whl",
        "git+https://example.org/x.zip",
        "file:///tmp/x.whl",
        "https://example.org/" + "x" * 3000 + ".whl",
    ],
    ids=lambda source: str(source)[:40],
)
def test_what_is_no_source_is_refused(client, gateway, refused, source):
    if source is not None:
        refused(client.simulate_post(INSTALL, json={"args": ["ab"], "options": {"source": source}}), 400)
        refused(client.simulate_post(UPDATES[1], json={"options": {"source": source}}), 400)
    assert gateway.submitted == []


def test_an_update_is_not_taken_from_a_url(client, refused):
    body = {"options": {"source": "https://example.org/x.whl"}}
    assert "absolute path" in refused(client.simulate_post(UPDATES[0], json=body), 400)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"options": {"branch": "master"}}, "branch"),
        ({"options": {"version": "1", "source": "/x.whl"}}, "Leave one"),
        ({"options": {"version": "--pre"}}, "version"),
        ({"options": {"version": 1.2}}, "version"),
        ({"args": ["app"]}, "empty"),
        ({"options": []}, "object"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_an_update_takes_a_source_or_a_version_and_nothing_else(client, gateway, refused, body, said):
    assert said in refused(client.simulate_post(UPDATES[1], json=body), 400)
    assert gateway.submitted == []


@pytest.mark.parametrize("body", [{}, {"args": []}, {"args": ["a", "b"]}, {"args": "ab"}, {"args": [1]}, []])
@pytest.mark.parametrize("path", [INSTALL, UNINSTALL])
def test_exactly_one_plugin_is_named(client, gateway, refused, path, body):
    refused(client.simulate_post(path, json=body), 400)
    assert gateway.submitted == []


@pytest.mark.parametrize("path", [INSTALL, UNINSTALL, *UPDATES])
def test_without_a_body_nothing_is_done(client, gateway, refused, path):
    refused(client.simulate_post(path), 400)
    assert gateway.submitted == []


def test_there_is_one_target_of_updates(client, refused):
    assert "'firmware'" in refused(client.simulate_post("/unit_api/system/update/firmware", json={}), 404)


def test_the_flag_forbids_installations_and_updates_and_not_the_removal_of_a_plugin(client, folder, refused, plugins):
    (folder.path / "DISALLOW_UI_INSTALLS").touch()
    for path, body in ((INSTALL, {"args": ["ab"]}), *[(path, {}) for path in UPDATES]):
        assert "DISALLOW_UI_INSTALLS" in refused(client.simulate_post(path, json=body), 403)
    assert client.simulate_post(UNINSTALL, json={"args": ["ab"]}).status_code == 202


def test_a_list_allows_what_it_names(client, refused, plugins):
    names = [{"name": "Good_One>=1", "author": "a"}, {"name": " other[extra] "}]
    (plugins / "api_plugins_allowlist.json").write_text(json.dumps(names))
    for name in ("good-one", "GOOD.one==2", "other"):
        assert client.simulate_post(INSTALL, json={"args": [name]}).status_code == 202
    refused(client.simulate_post(INSTALL, json={"args": ["bad-one"]}), 403)
    assert client.simulate_post(UPDATES[0], json={}).status_code == 202, "the list is about plugins"


@pytest.mark.parametrize("text", ["", "{", '["ab"]', '[{"nome": "ab"}]', "null"])
def test_a_list_that_cannot_be_read_allows_nothing(client, refused, plugins, text):
    (plugins / "api_plugins_allowlist.json").write_text(text)
    refused(client.simulate_post(INSTALL, json={"args": ["ab"]}), 403)
