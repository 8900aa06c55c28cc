"""The history of readings over HTTP: parameters, JSON, CSV."""

import contextlib
import csv
import io

import pytest

from reactor_unit.errors import StorageFault
from reactor_unit.resources.readings import LARGE
from reactor_unit.resources.response_schemas import ReadingsAnswer
from reactor_unit.series import Reading

PATH = "/unit_api/readings"
NOON = 1769860800.25
FOUND = [Reading(NOON, "od.90.2", 0.1), Reading(NOON + 5, 'odd, "name"', 500.0)]


def test_readings_as_json(client, gateway):
    gateway.found = FOUND
    response = client.simulate_get(PATH)
    assert response.headers["content-type"] == "application/json"
    assert ReadingsAnswer().validate(response.json) == {}
    assert response.json["readings"] == [
        {"timestamp": "2026-01-31T12:00:00.250Z", "name": "od.90.2", "value": 0.1},
        {"timestamp": "2026-01-31T12:00:05.250Z", "name": 'odd, "name"', "value": 500.0},
    ]


@pytest.mark.parametrize(
    ("query", "headers"),
    [("?format=csv", {}), ("", {"Accept": "text/csv"}), ("", {"Accept": "application/json;q=0.5, text/csv"})],
    ids=["format", "Accept", "preferred"],
)
def test_readings_as_csv(client, gateway, query, headers):
    gateway.found = FOUND
    response = client.simulate_get(PATH + query, headers=headers)
    assert response.headers["content-type"].startswith("text/csv")
    assert response.headers["vary"] == "Accept"
    assert list(csv.reader(io.StringIO(response.text))) == [
        ["timestamp", "name", "value"],
        ["2026-01-31T12:00:00.250Z", "od.90.2", "0.1"],
        ["2026-01-31T12:00:05.250Z", 'odd, "name"', "500.0"],
    ]


@pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}, {"Accept": "text/html"}], ids=str)
def test_json_is_what_everybody_else_gets(client, headers):
    assert client.simulate_get(PATH, headers=headers).json == {"readings": []}
    assert client.simulate_get(f"{PATH}?format=json", headers={"Accept": "text/csv"}).json == {"readings": []}


@pytest.mark.parametrize("count", [499, 500, 501, 1501])
def test_many_readings_come_in_chunks_and_whole(client, gateway, count):
    gateway.found = [Reading(NOON + number, "od", float(number)) for number in range(count)]
    values = [one["value"] for one in client.simulate_get(PATH).json["readings"]]
    assert values == [float(number) for number in range(count)]
    assert len(client.simulate_get(f"{PATH}?format=csv").text.splitlines()) == count + 1


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", ([], None, None, 1000)),
        ("?limit=100000", ([], None, None, 100_000)),
        ("?names=od.*,stirring.measured_rpm", (["od.*", "stirring.measured_rpm"], None, None, 1000)),
        ("?names=od.*&names=rpm", (["od.*", "rpm"], None, None, 1000)),
        ("?names=od.%2A%2Crpm", (["od.*", "rpm"], None, None, 1000)),
        ("?names=", ([], None, None, 1000)),
        ("?since=1769860800.25&until=1769860801", ([], NOON, 1769860801.0, 1000)),
        ("?since=2026-01-31T12:00:00.250Z", ([], NOON, None, 1000)),
        ("?since=2026-01-31T13:00:00.250+01:00", ([], NOON, None, 1000)),
        ("?since=2026-01-31", ([], 1769817600.0, None, 1000)),
    ],
)
def test_what_is_asked_for(client, gateway, query, asked):
    assert client.simulate_get(PATH + query).status_code == 200
    assert gateway.readings_asked == [asked]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?limit=0", "limit"),
        ("?limit=100001", "limit"),
        ("?limit=many", "limit"),
        ("?since=yesterday", "since 'yesterday' is not a time"),
        ("?until=nan", "is not a time"),
        ("?since=1e300", "is not a time"),
        ("?since=2026-13-01", "is not a time"),
        ("?since=20&until=10", "since is later than until"),
        ("?names=*.2", "* before its end"),
        ("?names=" + ",".join(["a"] * 101), "more than 100"),
        ("?format=xml", "format=json or format=csv"),
    ],
)
def test_a_wrong_question_is_refused(client, gateway, refused, query, said):
    assert said in refused(client.simulate_get(PATH + query), 400)
    assert gateway.readings_asked == []


def test_a_history_that_cannot_be_read_is_an_error_and_not_half_an_answer(client, gateway, refused):
    gateway.found = [StorageFault("The history of readings cannot be used.")]
    assert "cannot be used" in refused(client.simulate_get(PATH), 503)


def test_head_has_the_type_and_no_body(client, gateway):
    gateway.found = FOUND
    response = client.simulate_head(f"{PATH}?format=csv")
    assert (response.status_code, response.text) == (200, "")
    assert response.headers["content-type"].startswith("text/csv")


def test_the_names_of_all_series(client, gateway):
    gateway.found = FOUND
    assert client.simulate_get(f"{PATH}/names").json == {"names": ["od.90.2", 'odd, "name"']}


@pytest.mark.parametrize("at_once", [LARGE, LARGE + 1])
def test_one_large_answer_at_a_time(client, gateway, at_once):
    second = []
    asked = f"{PATH}?limit={at_once}"

    class Slow(list):
        def __iter__(self):
            gateway.found = FOUND
            second.append(client.simulate_get(asked))
            second.append(client.simulate_get(PATH))
            return iter(FOUND)

    gateway.found = Slow()
    assert client.simulate_get(asked).status_code == 200
    assert [response.status_code for response in second] == [200 if at_once == LARGE else 503, 200]
    assert client.simulate_get(asked).status_code == 200  # it has been sent


@pytest.mark.parametrize("found", [[StorageFault("It is broken.")], [*FOUND, StorageFault("It is broken.")]], ids=len)
def test_a_large_answer_that_breaks_off_keeps_nobody_out(client, gateway, found):
    gateway.found = found
    with contextlib.suppress(StorageFault):
        client.simulate_get(f"{PATH}?limit={LARGE + 1}")
    gateway.found = FOUND
    assert client.simulate_get(f"{PATH}?limit={LARGE + 1}").status_code == 200
