"""Latched faults over HTTP."""

import pytest

from reactor_unit.errors import FaultLatched
from reactor_unit.faults import Fault
from reactor_unit.resources.response_schemas import ClearedFault, FaultsAnswer


@pytest.fixture
def latched(gateway):
    gateway.latched = [
        Fault(
            number,
            "heater_stuck_on",
            "The heater is stuck on.",
            "It is.",
            "Switch the power off.",
            ("temperature_automation",),
            "monitor",
            "$experiment",
            "2026-01-31T12:45:00.000Z",
        )
        for number in ("3", "4")
    ]
    return gateway.latched


def test_latched_faults_are_listed(client, latched):
    response = client.simulate_get("/unit_api/faults")
    assert response.status_code == 200
    assert FaultsAnswer().validate(response.json) == {}
    assert [fault["id"] for fault in response.json["faults"]] == ["3", "4"]
    assert response.json["faults"][0]["jobs"] == ["temperature_automation"]


def test_without_a_fault_the_list_is_empty(client):
    assert client.simulate_get("/unit_api/faults").json == {"faults": []}


def test_a_fault_is_cleared_by_its_number(client, latched):
    response = client.simulate_delete("/unit_api/faults/3")
    assert response.status_code == 200
    assert ClearedFault().validate(response.json) == {}
    assert response.json["cleared"]["id"] == "3"
    assert [fault.id for fault in latched] == ["4"]


def test_a_fault_that_there_is_not_is_404(client, latched, refused):
    assert "'7'" in refused(client.simulate_delete("/unit_api/faults/7"), 404)
    assert len(latched) == 2


def test_a_start_that_a_fault_keeps_back_is_409_and_says_how_to_clear_it(client, gateway, refused):
    gateway.outcome = FaultLatched("It does not start.", remediation="Clear it: `reactor-unit faults clear 3`.")
    said = refused(client.simulate_post("/unit_api/jobs/run/job_name/stirring", json={}), 409)
    assert "faults clear 3" in said
