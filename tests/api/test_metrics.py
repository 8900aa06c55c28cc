"""The page for Prometheus: read by its own client library's parser, which refuses what OpenMetrics forbids."""

import dataclasses

import pytest
from falcon import testing
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from reactor_unit.app import create_app
from reactor_unit.job_spec import Setting
from reactor_unit.metrics import Durations, Page, UnitCounts
from reactor_unit.series import Series

from .fakes import CATALOGUE, STIRRING, raw_request, row

ODD_NAME = 'pio "é"\\\n1'
SPEED = Setting("measured_rpm", "MeasuredRPM", "RPM", series=Series("stirring.measured_rpm", value="measured_rpm"))


@pytest.fixture
def counts():
    return UnitCounts()


@pytest.fixture
def client(gateway, answers, library, counts):
    catalogue = {**CATALOGUE, "stirring": dataclasses.replace(STIRRING, settings=(SPEED,))}
    app = create_app(
        gateway,
        answers,
        unit_name='pio "é"\\\n1',
        version="v0.1.0",
        catalogue=catalogue,
        library=library,
        counts=counts,
    )
    return testing.TestClient(app)


def scraped(client):
    """Return the value of each sample by its name and labels."""
    response = client.simulate_get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_the_unit_names_itself(client):
    found = scraped(client)
    assert found["reactor_unit_build_info", ("unit", ODD_NAME), ("version", "0.1.0")] == 1.0


def test_jobs_their_numbers_and_readings_are_there(client, gateway):
    gateway.rows = [row("stirring"), row("a_plugins_job")]
    gateway.published = {
        "stirring": {
            "target_rpm": 400.0,
            "use_rpm": True,
            "name": "x",
            "measured_rpm": {"measured_rpm": 396.2, "timestamp": "2026-01-31T12:45:00.000Z"},
            "$state": "ready",
        },
        "a_plugins_job": {"$state": "sleeping", "level": 3},
    }
    found = scraped(client)
    assert found["reactor_unit_job_up", ("experiment", "Exp001"), ("job_name", "stirring")] == 1.0
    assert found["reactor_unit_job_up", ("experiment", "Exp001"), ("job_name", "a_plugins_job")] == 0.0
    settings = {key: value for key, value in found.items() if key[0] == "reactor_unit_setting"}
    assert sorted(settings.values()) == [1.0, 3.0, 400.0]
    assert found["reactor_unit_reading", ("name", "stirring.measured_rpm")] == 396.2
    assert found["reactor_unit_latched_faults",] == 0.0


def test_requests_are_counted_by_route_whatever_clients_ask_for(client):
    for path in ("/unit_api/jobs/running/a", "/unit_api/jobs/running/b", "/nowhere", "/somewhere"):
        client.simulate_get(path)
    raw_request(client.app, "/unit_api/health", method="BREW")
    found = scraped(client)
    requests = {key[1:]: value for key, value in found.items() if key[0] == "reactor_unit_requests_total"}
    route = "/unit_api/jobs/running/{job_name}"
    assert requests[("method", "GET"), ("route", route), ("status", "200")] == 2.0
    assert requests[("method", "GET"), ("route", "(no such path)"), ("status", "404")] == 2.0
    assert "BREW" not in str(found)
    count = found["reactor_unit_request_duration_seconds_count", ("route", route)]
    assert count == found["reactor_unit_request_duration_seconds_bucket", ("le", "+Inf"), ("route", route)] == 2.0
    assert 0.0 < found["reactor_unit_request_duration_seconds_sum", ("route", route)] < 1.0


def test_tasks_are_counted_by_how_they_ended(client, counts):
    for status in ("complete", "complete", "failed"):
        counts.tasks.add((("name", "run_job"), ("status", status)))
    found = scraped(client)
    assert found["reactor_unit_tasks_total", ("name", "run_job"), ("status", "complete")] == 2.0
    assert found["reactor_unit_tasks_total", ("name", "run_job"), ("status", "failed")] == 1.0


def test_memory_is_that_of_each_process(client):
    found = scraped(client)
    assert found["reactor_unit_resident_memory_bytes", ("process", "web")] > 1e6
    assert ("reactor_unit_resident_memory_bytes", ("process", "supervisor")) in found


def test_durations_are_in_every_bucket_that_holds_them():
    durations = Durations((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        durations.add((), seconds)
    assert list(durations.samples()) == [
        ("_bucket", (("le", "0.1"),), 2),
        ("_bucket", (("le", "1.0"),), 3),
        ("_bucket", (("le", "+Inf"),), 4),
        ("_sum", (), 7.65),
        ("_count", (), 4),
    ]


def test_numbers_that_are_none_are_written_as_the_format_has_them():
    page = Page()
    page.gauge("a", "Odd.", {(("of", "x"),): float("nan"), (("of", "y"),): float("inf"), (("of", "z"),): -float("inf")})
    values = [
        sample.value for family in text_string_to_metric_families(page.render().decode()) for sample in family.samples
    ]
    assert str(values) == "[nan, inf, -inf]"
