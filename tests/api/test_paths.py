"""Paths match exactly or not at all; nothing in a path makes the unit fail."""

import pytest

from .fakes import raw_request


@pytest.mark.parametrize(
    ("target", "decoded"),
    [
        ("/unit_api/health", "/unit_api/health"),
        ("/unit_api/health?x=//&y=%2F", "/unit_api/health"),
        ("/unit%5Fapi/health", "/unit_api/health"),
        ("http://pio01.local:4999/unit_api/health", "/unit_api/health"),
        ("/unit_api/jobs/running/a:b", "/unit_api/jobs/running/a:b"),
        ("/unit_api/jobs/running/%24broadcast", "/unit_api/jobs/running/$broadcast"),
        ("/unit_api/jobs/running/http:", "/unit_api/jobs/running/http:"),
    ],
)
def test_a_plain_path_is_found_however_it_is_written(app, target, decoded):
    assert raw_request(app, target, PATH_INFO=decoded)[0] == 200


@pytest.mark.parametrize(
    ("target", "decoded"),
    [
        ("//unit_api/health", "/unit_api/health"),  # waitress takes leading slashes together
        ("//unit_api/health", "//unit_api/health"),  # other servers do not
        ("///unit_api/health", "/unit_api/health"),
        ("/unit_api//health", "/unit_api//health"),
        ("/unit_api/health/", "/unit_api/health/"),
        ("/unit_api/health//", "/unit_api/health//"),
        ("/unit_api%2Fhealth", "/unit_api/health"),
        ("/unit_api%2fhealth", "/unit_api/health"),
        ("/%2Funit_api/health", "/unit_api/health"),
        ("http://pio01.local//unit_api/health", "/unit_api/health"),
        ("/unit_api/jobs/running/experiments%2FExp001", "/unit_api/jobs/running/experiments/Exp001"),
        ("/unit_api/jobs/running/a%2F..%2Fb", "/unit_api/jobs/running/a/../b"),
        ("/unit_api/jobs/running//", "/unit_api/jobs/running//"),
        ("/UNIT_API/health", "/UNIT_API/health"),
        ("*", "*"),
        ("/unit_api/../unit_api/health", "/unit_api/../unit_api/health"),
    ],
)
def test_a_path_with_other_slashes_is_not_found(app, target, decoded):
    assert raw_request(app, target, PATH_INFO=decoded)[0] == 404


NAMED = [
    "/unit_api/task_results/{}",
    "/unit_api/jobs/running/{}",
    "/unit_api/jobs/running/experiments/{}",
    "/unit_api/jobs/settings/job_name/{}",
    "/unit_api/jobs/settings/job_name/stirring/setting/{}",
]


@pytest.mark.parametrize("template", NAMED)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("%00", id="nul"),
        pytest.param("a%00b", id="inner-nul"),
        pytest.param("%ff", id="bad-byte"),
        pytest.param("%c3%28", id="bad-utf8"),
        pytest.param("%ed%a0%80", id="surrogate"),
        pytest.param("%0a", id="newline"),
        pytest.param("%0d%0aSet-Cookie:x", id="header"),
        pytest.param("%7f", id="del"),
        pytest.param("%1b[31m", id="escape"),
        pytest.param("%e2%80%ae", id="override"),
        pytest.param("a%2fb", id="slash"),
        pytest.param("x" * 256, id="long"),
    ],
)
def test_what_cannot_be_a_name_is_not_found(client, gateway, refused, template, name):
    gateway.published["stirring"] = {"target_rpm": 1.0}
    refused(client.simulate_get(template.format(name)), 404)


@pytest.mark.parametrize("template", NAMED)
@pytest.mark.parametrize(
    "name",
    ["x" * 255, "%20", "..", ".", "%", "%zz", "%25", "$broadcast", "{}", "{0}", "%22%5C", "'--", "%F0%9F%98%80"],
)
def test_odd_names_are_only_names(client, gateway, template, name):
    gateway.published["stirring"] = {"target_rpm": 1.0}
    response = client.simulate_get(template.format(name))
    assert response.status_code in (200, 404, 501)


@pytest.mark.parametrize("name", ["%00", "%0d%0a", "x" * 5000, "%ff", "stirring%2Fx", "", "STIRRING", "stirring%20"])
def test_only_a_job_by_its_exact_name_is_run(client, gateway, refused, name):
    refused(client.simulate_post(f"/unit_api/jobs/run/job_name/{name}", json={}), 404)
    assert gateway.submitted == []


@pytest.mark.parametrize("query", ["%00=%ff", "&&&", "=", "typed", "typed=%ff", "limit=1&limit=2", "a" * 10_000, "%"])
@pytest.mark.parametrize("path", ["/unit_api/health", "/unit_api/jobs", "/unit_api/jobs/settings/job_name/stirring"])
def test_odd_queries_never_crash(client, gateway, path, query):
    gateway.published["stirring"] = {"target_rpm": 1.0}
    assert client.simulate_get(path, query_string=query).status_code in (200, 400)
