"""Every error leaves in the contract's shape, with the right status."""

import logging

import falcon
import pytest
from marshmallow import ValidationError

from reactor_unit import errors
from reactor_unit.app import create_app

from .fakes import CATALOGUE, LocalClient

READ = "/unit_api/jobs/running"

STATUS = {
    "UnitError": 500,
    "InvalidRequest": 400,
    "UnsupportedContentType": 415,
    "BodyTooLarge": 413,
    "IdempotencyKeyReused": 422,
    "NotSettable": 403,
    "Forbidden": 403,
    "PreconditionFailed": 412,
    "RangeNotSatisfiable": 416,
    "ForeignRequest": 403,
    "NotAdministrator": 403,
    "NotTheLeader": 403,
    "NotFound": 404,
    "NoSuchTask": 404,
    "NoSuchJob": 404,
    "NoSuchSetting": 404,
    "Conflict": 409,
    "JobAlreadyRunning": 409,
    "RequestInFlight": 409,
    "RateLimited": 429,
    "Unavailable": 503,
    "QueueFull": 503,
    "HardwareFault": 503,
    "NoRoom": 507,
    "StorageFault": 503,
    "InternalError": 500,
    "TaskFailed": 500,
}


def unit_errors(base=errors.UnitError):
    yield base
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from unit_errors(child)


@pytest.mark.parametrize("kind", list(unit_errors()), ids=lambda kind: kind.__name__)
def test_every_error_of_the_unit_has_its_status_and_shape(client, gateway, refused, kind):
    gateway.failure = kind("What.", cause="Why.", remediation="What to do.")
    known = next(STATUS[parent.__name__] for parent in kind.__mro__ if parent.__name__ in STATUS)
    assert refused(client.simulate_get(READ), known) == "What. Why. What to do."


@pytest.mark.parametrize("kind", list(unit_errors()), ids=lambda kind: kind.__name__)
def test_an_error_with_nothing_but_a_message_is_whole(client, gateway, refused, kind):
    gateway.failure = kind("What.")
    response = client.simulate_get(READ)
    assert refused(response, response.status_code).startswith("What. What. ")


@pytest.mark.parametrize(("wait_s", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2"), (90, "90")])
def test_retry_after_is_whole_seconds_rounded_up(client, gateway, wait_s, header):
    gateway.failure = errors.Unavailable("Not now.", retry_after_s=wait_s)
    assert client.simulate_get(READ).headers["retry-after"] == header


@pytest.mark.parametrize("text", ["°C Ω", "\udcff in a file name", "x" * 100_000], ids=["unicode", "surrogate", "long"])
def test_any_text_can_be_told(client, gateway, refused, text):
    gateway.failure = errors.StorageFault(text)
    response = client.simulate_get(READ)
    refused(response, 503)
    assert len(response.content) < 20_000


@pytest.mark.parametrize("crash", [KeyError("secret"), OSError(28, "secret"), RecursionError("secret"), MemoryError()])
def test_a_crash_is_told_to_the_log_and_not_to_the_client(client, gateway, refused, caplog, crash):
    gateway.failure = crash
    with caplog.at_level(logging.ERROR):
        text = refused(client.simulate_get(READ), 500)
    assert "secret" not in text
    assert type(crash).__name__ in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("messages", ["odd", ["odd"], {"field": ["is odd"]}], ids=["text", "list", "object"])
def test_a_stray_validation_error_is_a_bad_request(client, gateway, refused, messages):
    gateway.failure = ValidationError(messages)
    assert "odd" in refused(client.simulate_get(READ), 400)


FALCON_ERRORS = [
    kind
    for kind in vars(falcon).values()
    if isinstance(kind, type)
    and issubclass(kind, falcon.HTTPError)
    and kind not in (falcon.HTTPError, falcon.HTTPPayloadTooLarge)
]


@pytest.mark.parametrize("kind", FALCON_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_falcon_has_the_same_shape(client, gateway, refused, kind):
    given = {
        falcon.HTTPMethodNotAllowed: (["GET"],),
        falcon.HTTPInvalidHeader: ("msg", "Name"),
        falcon.HTTPMissingHeader: ("Name",),
        falcon.HTTPInvalidParam: ("msg", "name"),
        falcon.HTTPMissingParam: ("name",),
        falcon.HTTPRangeNotSatisfiable: (10,),
        falcon.MediaNotFoundError: ("json",),
        falcon.MediaMalformedError: ("json",),
    }
    keywords = {"headers": {}} if kind in (falcon.HTTPUnauthorized,) else {}
    gateway.failure = kind(*given.get(kind, ()), **keywords)
    response = client.simulate_get(READ, headers={"Accept": "application/xml"})
    refused(response, gateway.failure.status_code)


def test_an_error_raised_while_answering_has_the_same_shape(gateway, answers, library, refused):

    def extend(app):
        def give_up(req, resp, ex, params):
            raise falcon.HTTPNotFound

        app.add_error_handler(ZeroDivisionError, give_up)

    app = create_app(
        gateway, answers, unit_name="pio01", version="0.1.0", catalogue=CATALOGUE, library=library, extend=extend
    )
    gateway.failure = ZeroDivisionError()
    refused(LocalClient(app).simulate_get(READ), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/unit_api/health", "GET, HEAD, OPTIONS"),
        ("DELETE", "/unit_api/jobs/running", "GET, HEAD, OPTIONS"),
        ("GET", "/unit_api/jobs/stop", "OPTIONS, PATCH, POST"),
        ("HEAD", "/unit_api/jobs/run/job_name/stirring", "OPTIONS, PATCH, POST"),
        ("POST", "/unit_api/jobs/settings/job_name/stirring", "GET, HEAD, OPTIONS, PATCH"),
        ("PATCH", "/unit_api/calibrations/od", "GET, HEAD, OPTIONS, POST"),
        ("TRACE", "/unit_api/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client, refused, method, path, allowed):
    response = client.simulate_request(method, path)
    assert response.headers["allow"] == allowed
    assert response.status_code == 405
    if method != "HEAD":
        assert allowed in refused(response, 405)


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
@pytest.mark.parametrize("method", ["FOO", "WEBSOCKET"])
def test_a_method_that_does_not_exist_is_a_bad_request(client, refused, method):
    refused(client.simulate_request(method, "/unit_api/health"), 400)


@pytest.mark.parametrize("path", ["/unit_api/health", READ, "/unit_api/versions/app", "/unit_api/jobs"])
def test_head_answers_as_get_does_but_for_the_body(client, path):
    get, head = client.simulate_get(path), client.simulate_head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) == dict(get.headers)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/unit_api/health", "GET, HEAD, OPTIONS"), ("/unit_api/jobs/stop", "OPTIONS, PATCH, POST")],
)
def test_options_tells_the_methods(client, path, allowed):
    response = client.simulate_options(path)
    assert (response.status_code, response.content, response.headers["allow"]) == (204, b"", allowed)


def test_the_leaders_prefix_is_explained(client, refused):
    for path in ("/api", "/api/workers", "/api/units/$broadcast/jobs"):
        assert "leader" in refused(client.simulate_get(path), 404)
    for path in ("/apiary", "/unit_api/nothing", "/"):
        assert "leader" not in refused(client.simulate_get(path), 404)
