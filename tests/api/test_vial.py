"""The vial's account over HTTP, on a real account."""

import pytest

from reactor_unit.app import create_app
from reactor_unit.resources.response_schemas import VialAnswer
from reactor_unit.vial import MEDIA, Vial, VialState

from .fakes import CATALOGUE, LocalClient

VIAL = "/unit_api/vial"


@pytest.fixture
def vial(tmp_path):
    made = Vial(tmp_path / "vial.account", VialState(14.0, 0.0, 14.0), 18.0)
    yield made
    made.close()


@pytest.fixture
def client(gateway, answers, library, tmp_path, vial):
    another = Vial(tmp_path / "vial.account", VialState(14.0, 0.0, 14.0), 18.0)  # as in the web process
    app = create_app(
        gateway, answers, unit_name="pio01", version="0.1.0", catalogue=CATALOGUE, library=library, vial=another
    )
    return LocalClient(app)


def test_the_account_is_shown(client, vial):
    vial.put(alt_media_fraction=0.25)
    answer = client.simulate_get(VIAL)
    assert answer.status_code == 200
    assert VialAnswer().validate(answer.json) == {}
    assert answer.json["current_volume_ml"] == 14.0
    assert answer.json["maximum_volume_ml"] == 18.0
    assert answer.json["alt_media_fraction"] == 0.25


def test_what_is_said_is_kept_and_what_is_left_out_stays(client, vial):
    answer = client.simulate_put(VIAL, json={"current_volume_ml": 10, "alt_media_fraction": 0.5})
    assert answer.status_code == 200
    assert VialAnswer().validate(answer.json) == {}
    assert (vial.look().volume_ml, vial.look().working_ml) == (10.0, 14.0)
    client.simulate_put(VIAL, json={"max_working_volume_ml": 12.5})
    assert (vial.look().volume_ml, vial.look().working_ml) == (10.0, 12.5)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"current_volume_ml": -1}',
        b'{"current_volume_ml": "a little"}',
        b'{"current_volume_ml": "nan"}',
        b'{"current_volume_ml": 1e999}',
        b'{"current_volume_ml": null}',
        b'{"current_volume_ml": true}',
        b'{"current_volume": 1}',
        b'{"alt_media_fraction": 1.5}',
        b'{"max_working_volume_ml": 18}',
        b'{"maximum_volume_ml": 40}',
    ],
    ids=bytes.decode,
)
def test_what_cannot_be_is_refused_and_nothing_changes(client, vial, refused, body):
    refused(client.simulate_put(VIAL, body=body, headers={"Content-Type": "application/json"}), 400)
    assert vial.look() == VialState(14.0, 0.0, 14.0)


def test_while_a_pump_runs_it_is_shown_and_nothing_can_be_said(client, vial, refused):
    run = vial.begin(MEDIA, 1.25)
    answer = client.simulate_get(VIAL).json
    assert answer["in_flight"] == [{"pump": "media", "at_most_ml": 1.25}]
    assert answer["current_volume_ml"] == 15.25  # the most that there may be
    assert "media pump runs" in refused(client.simulate_put(VIAL, json={"current_volume_ml": 14}), 409)
    vial.end(run, 1.0)
    assert client.simulate_put(VIAL, json={"current_volume_ml": 14}).status_code == 200


def test_an_account_that_cannot_be_read_says_how_to_mend_it(client, vial, refused, tmp_path):
    (tmp_path / "vial.account").write_bytes(b"?" * 8192)
    assert "reactor-unit vial set" in refused(client.simulate_get(VIAL), 409)
    assert client.simulate_put(VIAL, json={"current_volume_ml": 14}).status_code == 200
    assert client.simulate_get(VIAL).status_code == 200
