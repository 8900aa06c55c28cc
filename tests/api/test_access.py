"""Who may have the unit do what: a page of another site nothing, and only a few run other people's code."""

import itertools
import re

import pytest
from falcon import testing

from reactor_unit.app import create_app
from reactor_unit.network_names import NamedAddress
from reactor_unit.resources.access import RUNS_CODE, WHO_MAY, Access
from reactor_unit.token_file import TokenFile

from .contract_endpoints import ENDPOINTS
from .fakes import CATALOGUE

STOP = "/unit_api/jobs/stop/all"
REBOOT = "/unit_api/system/reboot"
INSTALL = "/unit_api/plugins/install"
LEADER = "192.0.2.1"
ELSEWHERE = "192.0.2.77"
CODE = [path.replace("{target}", "app") for path, who in WHO_MAY.items() if who == RUNS_CODE]
CHANGING = sorted({(method, path) for method, path in ENDPOINTS if method != "GET"})


@pytest.fixture
def token(tmp_path):
    return TokenFile(tmp_path / "secret" / "token")


@pytest.fixture
def client(gateway, answers, library, token):
    access = Access.of(
        "pio01",
        "lab-pi.example.org",
        allowed_hosts="proxy.lab, other.lab:8443",
        leader_address=LEADER,
        token=token,
    )
    app = create_app(
        gateway, answers, unit_name="pio01", version="0.1.0", catalogue=CATALOGUE, library=library, access=access
    )
    return testing.TestClient(app)


def ask(client, path, host="pio01", peer=ELSEWHERE, method="POST", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.simulate_request(method, path, host=host, headers=named, remote_addr=peer)


def at(client, path, host_header, **more):
    """Ask with this Host header as it is."""
    return ask(client, path, Host=host_header, **more)


# Host


@pytest.mark.parametrize(
    "host",
    [
        *("pio01", "PIO01", "pio01.local", "pio01.local.", "lab-pi", "lab-pi.local", "lab-pi.example.org"),
        *("localhost", "localhost:4999", "pio01:1", "127.0.0.1", "127.0.0.1:4999", "[::1]", "[::1]:4999"),
        *("proxy.lab", "proxy.lab:8080", "other.lab:8443"),
    ],
)
@pytest.mark.parametrize("path", [STOP, REBOOT])
def test_requests_to_the_units_own_places_are_taken(client, path, host):
    assert at(client, path, host).status_code == 202


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "pio01.evil.example", "localhost.evil.example", "pio02", "pio01.local.evil", "xpio01"),
        *("192.0.2.5", "192.0.2.5:4999", "0.0.0.0", "[::]", "[2001:db8::5]", "127.0.0.1.evil.example", "127.1"),
        *("", "pio01,evil.example", "pio01 evil", "evil.example:80@pio01", "[::1", "other.lab", "other.lab:80"),
    ],
)
@pytest.mark.parametrize("path", [STOP, REBOOT, INSTALL])
def test_requests_to_another_host_are_refused_and_nothing_is_done(client, gateway, refused, path, host):
    assert "allowed_hosts" in refused(at(client, path, host, peer="127.0.0.1"), 403)
    assert gateway.submitted == []


def test_a_request_that_names_no_host_is_refused(client, gateway, refused):
    response = client.simulate_post(STOP, http_version="1.0", remote_addr="127.0.0.1")
    refused(response, 403)
    assert gateway.submitted == []


# Origin and Sec-Fetch-Site


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("pio01", "http://pio01"),
        ("pio01:4999", "http://pio01:4999"),
        ("pio01", "http://pio01:80"),
        ("PIO01", "http://pio01"),
        ("127.0.0.1:4999", "http://127.0.0.1:4999"),
        ("[::1]:4999", "http://[::1]:4999"),
        ("proxy.lab", "https://proxy.lab"),
        ("127.0.0.1:4999", "https://proxy.lab"),  # a proxy that rewrites Host
        ("pio01", "https://other.lab:8443"),
    ],
)
def test_pages_of_the_unit_itself_are_taken(client, host, origin):
    assert at(client, STOP, host, Origin=origin).status_code == 202


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "https://evil.example", "null", "", "http://", "pio01", "http://pio01.evil.example"),
        *("http://pio01:8080", "http://localhost", "http://127.0.0.1", "file://", "chrome-extension://pio01"),
        *("http://pio01@evil.example", "http://evil.example/pio01", "http://other.lab", "http://pio01 http://pio01"),
    ],
)
@pytest.mark.parametrize("path", [STOP, REBOOT, INSTALL])
def test_pages_of_others_are_refused_even_from_this_machine(client, gateway, refused, path, origin):
    refused(ask(client, path, peer="127.0.0.1", Origin=origin), 403)
    assert gateway.submitted == []


@pytest.mark.parametrize(
    ("site", "status"),
    [("none", 202), ("same-origin", 202), ("Same-Origin", 202), ("same-site", 403), ("cross-site", 403), ("", 403)],
)
@pytest.mark.parametrize("path", [STOP, REBOOT])
def test_what_the_browser_says_of_the_site_counts(client, path, site, status):
    assert ask(client, path, Sec_Fetch_Site=site).status_code == status


@pytest.mark.parametrize(("method", "template"), CHANGING)
def test_every_endpoint_that_changes_something_is_held_to_it(client, gateway, refused, method, template):
    path = re.sub(r"{\w+}", "x", template)
    refused(ask(client, path, method=method, peer="127.0.0.1", Origin="http://evil.example"), 403)
    refused(at(client, path, "evil.example", method=method, peer="127.0.0.1"), 403)
    assert gateway.submitted == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_is_free(client, method):
    response = at(client, "/unit_api/health", "evil.example", method=method, Origin="http://evil.example")
    assert response.status_code in (200, 204)


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type"),
    [
        ("POST", "/unit_api/nothing/here", b"", None),  # else 404
        ("PUT", REBOOT, b"", None),  # else 405
        ("DELETE", "/unit_api/jobs/running", b"", None),
        ("POST", "/unit_api/jobs/stop", b"a=b", "application/x-www-form-urlencoded"),  # else 415
        ("POST", "/unit_api/jobs/stop", b"{", "application/json"),  # else 400
        ("POST", INSTALL, b"{}", None),  # else 400
    ],
)
def test_who_asks_is_looked_at_before_anything_else(client, refused, method, path, body, content_type):
    headers = {"Origin": "http://evil.example"} | ({"Content-Type": content_type} if content_type else {})
    response = client.simulate_request(method, path, body=body, headers=headers, host="pio01", remote_addr="127.0.0.1")
    refused(response, 403)


def test_a_refusal_is_no_answer_to_keep(client, answers):
    ask(client, STOP, Origin="http://evil.example", Idempotency_Key="k")
    assert answers.kept == {}
    assert answers.begun == {}


# Whoever has the unit run other people's code


def allowed(response):
    return response.status_code != 403


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", path) for path in CODE] + [("PATCH", path) for path in CODE if "/import_" not in path],
)
def test_code_is_run_for_loopback_leader_and_token_and_nobody_else(client, token, refused, path, method):
    secret = token.create()
    for peer in ("127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1", LEADER, f"::ffff:{LEADER}"):
        assert allowed(ask(client, path, peer=peer, method=method)), peer
    assert allowed(ask(client, path, method=method, Authorization=f"Bearer {secret}"))
    said = refused(ask(client, path, method=method), 403)
    for way in ("own machine", LEADER, "Authorization: Bearer", "reactor-unit token create", ELSEWHERE):
        assert way in said


@pytest.mark.parametrize(
    "header",
    [
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Anything",
        "X-Real-IP",
    ],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", LEADER])
def test_what_a_proxy_forwarded_comes_from_who_knows_where(client, token, refused, header, peer):
    assert "proxy" in refused(ask(client, INSTALL, peer=peer, **{header: "for=127.0.0.1"}), 403)
    secret = token.create()
    assert allowed(ask(client, INSTALL, peer=peer, **{header: "x", "Authorization": f"Bearer {secret}"}))


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {}x", "Bearer x{}", "Token {}"])
def test_what_is_not_the_token_does_not_do(client, token, refused, header):
    refused(ask(client, INSTALL, Authorization=header.format(token.create())), 403)


def test_a_token_is_worth_something_as_long_as_its_file_is_there_and_private(client, token, refused, caplog):
    refused(ask(client, INSTALL, Authorization="Bearer anything"), 403)
    secret = token.create()
    bearer = f"bearer  {secret}"
    assert allowed(ask(client, INSTALL, Authorization=bearer))
    token.path.chmod(0o644)
    assert "0644" in refused(ask(client, INSTALL, Authorization=bearer), 403)
    assert secret not in caplog.text
    token.path.chmod(0o600)
    assert allowed(ask(client, INSTALL, Authorization=bearer))
    token.revoke()
    refused(ask(client, INSTALL, Authorization=bearer), 403)


def test_a_token_opens_nothing_to_a_page_of_another_site(client, token, refused):
    bearer = f"Bearer {token.create()}"
    refused(ask(client, INSTALL, Authorization=bearer, Origin="http://evil.example"), 403)
    refused(ask(client, INSTALL, Authorization=bearer, Sec_Fetch_Site="cross-site"), 403)


def test_without_a_peers_address_nobody_is_trusted(client, refused):
    refused(client.simulate_post(INSTALL, host="pio01"), 403)


def test_a_unit_without_leader_and_token_says_so(gateway, answers, library, refused):
    app = create_app(gateway, answers, unit_name="pio01", version="0.1.0", catalogue=CATALOGUE, library=library)
    said = refused(ask(testing.TestClient(app), INSTALL, Authorization="Bearer x"), 403)
    assert "leader_address" in said
    assert "no place for tokens" in said


def test_the_table_names_routes_that_there_are(client):
    shapes = {re.sub(r"{.*?}", "{}", path) for _, path in ENDPOINTS}
    assert {re.sub(r"{.*?}", "{}", path) for path in WHO_MAY} <= shapes


def test_everything_that_runs_code_is_in_the_table():
    words = ("update", "plugins/install", "plugins/uninstall", "import_zipped")
    meant = {path for method, path in ENDPOINTS if method == "POST" and any(word in path for word in words)}
    assert {path for path, who in WHO_MAY.items() if who == RUNS_CODE} == meant


def test_a_route_is_found_in_the_table_however_it_writes_its_parameters(client, refused):
    for path, method in itertools.product(
        ("/unit_api/system/update/app", "/unit_api/system/update/x"), ("POST", "PATCH")
    ):
        refused(ask(client, path, method=method), 403)


def test_the_leader_is_asked_for_by_name_only_when_nothing_else_does(gateway, answers, library, token):
    asked = []
    leader = NamedAddress("leader.local", lambda name: asked.append(name) or [LEADER])
    access = Access({"pio01"}, leader=leader, token=token)
    app = create_app(
        gateway, answers, unit_name="pio01", version="0.1.0", catalogue=CATALOGUE, library=library, access=access
    )
    client = testing.TestClient(app)
    assert allowed(ask(client, INSTALL, peer="127.0.0.1"))
    assert allowed(ask(client, INSTALL, Authorization=f"Bearer {token.create()}"))
    assert ask(client, STOP).status_code == 202
    assert asked == []
    assert allowed(ask(client, INSTALL, peer=LEADER))
