"""The description of the API: as new as the program, whole, true of its own examples, and served as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon import inspect, testing
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from reactor_unit.app import create_app
from reactor_unit.openapi.__main__ import FOLDER, texts
from reactor_unit.openapi.document import document
from reactor_unit.resources.response_schemas import ErrorAnswer
from reactor_unit.resources.routing import UnitRouter
from reactor_unit.transfers import MAX_DOWNLOADS
from reactor_unit.vial import Vial, VialState
from reactor_unit.workers.jobs import JOBS

from .contract_endpoints import ENDPOINTS, general_operations, shape
from .fakes import CATALOGUE, LocalClient, raw_request

DOCS = Path(__file__).parents[2] / "docs"
IMPLICIT = {"HEAD", "OPTIONS"}
inspect.register_router(UnitRouter)(inspect.inspect_compiled_router)


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document()


@pytest.fixture
def app(gateway, answers, library, folder, tmp_path):
    vial = Vial(tmp_path / "vial.account", VialState(14.0, 0.0, 14.0), 38.0)
    yield create_app(gateway, answers, unit_name="u", version="1.0.0", catalogue=CATALOGUE, library=library, vial=vial)
    vial.close()


@pytest.fixture
def client(app):
    return LocalClient(app)


def operations(described) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def resolved(described, one):
    while "$ref" in one:
        _, _, kind, name = one["$ref"].split("/")
        one = described["components"][kind][name]
    return one


def bodies(described) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every content of requests and answers, errors too, and where it is."""
    for method, path, operation in operations(described):
        found = {**operation["responses"]}
        if "requestBody" in operation:
            found["body"] = operation["requestBody"]
        for where, one in found.items():
            for media_type, content in resolved(described, one).get("content", {}).items():
                yield f"{method} {path} {where} {media_type}", content


def examples_of(content) -> list[Any]:
    one = [content["example"]] if "example" in content else []
    return one + [example["value"] for example in content.get("examples", {}).values()]


def problems(described, schema, value) -> list[str]:
    validator = Draft202012Validator({**schema, "components": described["components"]})
    return [error.message for error in validator.iter_errors(value)]


def test_it_is_as_new_as_the_program(described):
    for name, text in texts(described).items():
        kept = (FOLDER / name).read_text(encoding="utf-8")
        assert kept == text, f"{name} is out of date; write it anew: python -m reactor_unit.openapi"
    assert (DOCS / "openapi.json").read_bytes() == (FOLDER / "openapi.json").read_bytes()


def test_it_is_openapi_by_another_program_s_judgement(described):
    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []


def test_every_route_is_described_and_nothing_else(app, described):
    routes = {
        (method.method, shape(route.path))
        for route in inspect.inspect_routes(app)
        for method in route.methods
        if method.method not in IMPLICIT and not method.internal
    }
    assert general_operations(described) == routes
    for method, path, _ in operations(described):
        resource, methods, _, _ = app._router.find(path.replace("{", "").replace("}", ""))
        assert method in methods, (method, path, resource)


def test_the_whole_contract_is_described(described):
    assert {(method, shape(path)) for method, path in ENDPOINTS} <= {
        (method, shape(path)) for method, path, _ in operations(described)
    }


def test_every_job_has_an_operation_of_its_own_with_its_options(described):
    for name, job in JOBS.items():
        path = f"/unit_api/jobs/run/job_name/{name}"
        body = resolved(described, described["paths"][path]["post"]["requestBody"])
        text = str(body["content"]["application/json"]["schema"])
        assert all(repr(option.name) in text for option in (*job.spec.options, *job.spec.steps)), name


def test_operations_have_names_of_their_own(described):
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(names) == len(set(names))


def test_every_operation_names_its_errors_in_the_one_shape(described):
    for method, path, operation in operations(described):
        errors = {status: one for status, one in operation["responses"].items() if status >= "400"}
        assert {"400", "503"} <= set(errors), (method, path)
        assert ("404" in errors) >= ("{" in path), (method, path)
        for status, error in errors.items():
            content = resolved(described, error)["content"]["application/json"]
            example = content["example"]
            assert ErrorAnswer().validate({k: v for k, v in example.items() if k in ErrorAnswer().fields}) == {}
            assert str(example["error_info"]["status"]) == status


def test_every_body_in_json_has_an_example(described):
    assert [where for where, content in bodies(described) if "json" in where and not examples_of(content)] == []


def test_examples_are_what_their_schemas_say(described):
    wrong = {
        where: found
        for where, content in bodies(described)
        for example in examples_of(content)
        if (found := problems(described, content["schema"], example))
    }
    assert wrong == {}


def test_examples_of_parameters_are_what_their_schemas_say(described):
    for method, path, operation in operations(described):
        for parameter in (resolved(described, one) for one in operation.get("parameters", ())):
            if "example" in parameter:
                assert problems(described, parameter["schema"], parameter["example"]) == [], (method, path)
        named = {one["name"] for one in operation.get("parameters", ()) if one.get("in") == "path"}
        assert named == set(re.findall(r"{(\w+)}", path)), (method, path)


def test_a_misspelt_field_is_no_valid_example(described):
    """The check of examples would find one that the unit refuses."""
    content = dict(bodies(described))["POST /unit_api/jobs/run/job_name/stirring body application/json"]
    assert problems(described, content["schema"], {"options": {"target_rpm": "400"}}) == []
    for wrong in ({"options": {"targt_rpm": 400}}, {"options": {"target_rpm": "fast"}}, {"option": {}}):
        assert problems(described, content["schema"], wrong)


@pytest.mark.parametrize(
    ("path", "name", "content_type"),
    [
        ("/unit_api/openapi.json", "openapi.json", "application/json"),
        ("/unit_api/docs", "docs.html", "text/html; charset=utf-8"),
    ],
)
def test_it_is_served_as_it_is_and_once(client, path, name, content_type):
    answer = client.simulate_get(path)
    assert answer.status_code == 200
    assert answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"] == content_type
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    again = client.simulate_get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = client.simulate_head(path)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(answer.content)))


def test_a_description_that_is_not_there_is_an_error_in_the_one_shape(client, refused, monkeypatch):
    monkeypatch.setattr("pathlib.Path.open", lambda *_: (_ for _ in ()).throw(FileNotFoundError(2, "gone")))
    refused(client.simulate_get("/unit_api/openapi.json"), 503)


@pytest.mark.parametrize("path", ["/unit_api/openapi.json", "/unit_api/docs"])
def test_how_the_description_itself_is_refused_is_in_it(app, described, path):
    begun = [app(testing.create_environ(path), lambda *_: None) for _ in range(MAX_DOWNLOADS)]
    status, _, _ = raw_request(app, path)
    for answer in begun:
        answer.close()
    assert status == 429
    assert str(status) in described["paths"][path]["get"]["responses"]


def test_a_data_folder_that_is_gone_is_a_described_answer(client, described, folder):
    folder.path.rename(folder.path.with_name("gone"))
    status = client.simulate_get("/unit_api/system/path").status_code
    assert str(status) in described["paths"]["/unit_api/system/path"]["get"]["responses"]


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(described):
    page = texts(described)["docs.html"]
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b|@import|url\(|\son\w+=", page)
    links = set(re.findall(r'(?:href|src)="([^"]*)"', page))
    assert {link for link in links if not link.startswith("#")} == {"openapi.json"}
    ids = re.findall(r'id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_every_operation_is_on_the_page(described):
    page = texts(described)["docs.html"]
    for method, path, operation in operations(described):
        if not (method == "PATCH" and "post" in described["paths"][path]):
            assert f'id="{operation["operationId"]}"' in page
