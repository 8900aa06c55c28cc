import pytest

from reactor_unit.app import create_app
from reactor_unit.gateway_protocol import LockHeld

from .fakes import CATALOGUE, LocalClient

PATH = "/unit_api/hardware/check"
V15 = {"model_name": "pioreactor_20ml", "model_version": "1.5"}


@pytest.fixture
def client(gateway, answers, library):
    models = {("pioreactor_20ml", "1.5"): None}.keys()
    return LocalClient(
        create_app(
            gateway, answers, unit_name="pio01", version="0.1.0", catalogue=CATALOGUE, library=library, models=models
        )
    )


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("body", [{}, V15, {"pumps": True}, {**V15, "pumps": False}], ids=str)
def test_a_check_is_handed_on_as_it_was_asked_for(client, gateway, method, body):
    response = client.simulate_request(method, PATH, json=body)
    assert response.status_code == 202
    assert response.json["result_url_path"] == f"/unit_api/task_results/{response.json['task_id']}"
    assert gateway.submitted == [("hardware_check", body, None)]


def test_a_request_without_a_body_checks_the_units_own_model(client, gateway):
    assert client.simulate_post(PATH).status_code == 202
    assert gateway.submitted == [("hardware_check", {}, None)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model_name": "pioreactor_20ml"}, "belong together"),
        ({"model_name": "pioreactor_20ml", "model_version": ""}, "belong together"),
        ({"model_name": "teapot", "model_version": "1.5"}, "The models are: pioreactor_20ml 1.5."),
        ({"model_name": 20, "model_version": "1.5"}, "must be text"),
        ({"pumps": "yes"}, "must be true or false"),
        ({"pump": True}, "Did you mean"),
        ([], "not an object"),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused_and_nothing_is_driven(client, gateway, refused, body, words):
    assert words in refused(client.simulate_post(PATH, json=body), 400)
    assert gateway.submitted == []


def test_a_second_check_is_told_that_one_runs(client, gateway):
    gateway.outcome = LockHeld("hardware_check")
    response = client.simulate_post(PATH, json={})
    assert (response.status_code, response.json) == (202, {"status": "in_progress", "lock": "hardware_check"})
