"""`reactor-unit simulate`, on the plant of a data folder that no unit serves."""

import json
from contextlib import closing

import pytest
from click.testing import CliRunner

from reactor_unit.cli import cli
from reactor_unit.drivers.simulation.fault_set import PLAIN_FAULTS
from reactor_unit.drivers.simulation.state import SharedPlant
from reactor_unit.home import DataFolder, run_directory


@pytest.fixture
def environ(tmp_path):
    (tmp_path / "dot").mkdir()
    (tmp_path / "run").mkdir()
    return {"RUNTIME_DIRECTORY": str(tmp_path / "run"), "DOT_PIOREACTOR": str(tmp_path / "dot")}


@pytest.fixture
def simulate(environ):
    def call(*words, **more):
        return CliRunner().invoke(cli, ["simulate", *words], env={**environ, **more}, prog_name="reactor-unit")

    return call


@pytest.fixture
def plant(tmp_path, environ):
    with closing(SharedPlant(run_directory(tmp_path / "dot", environ) / "plant.bin")) as opened:
        yield opened


def said(result):
    assert result.exit_code == 0, result.output
    return result.stdout


def test_faults_are_injected_listed_and_cleared(simulate, plant):
    assert said(simulate("faults")) == "No fault is in force.\n"
    assert said(simulate("inject", "sensor_unplugged:0x4F")) == "sensor_unplugged:0x4F is in force.\n"
    assert plant.faults() == {"sensor_unplugged:0x4f"}
    simulate("inject", "bus_stuck")
    assert said(simulate("faults")) == "bus_stuck\nsensor_unplugged:0x4f\n"
    assert json.loads(said(simulate("faults", "--json"))) == ["bus_stuck", "sensor_unplugged:0x4f"]
    said(simulate("clear", "sensor_unplugged:0x4f"))
    assert plant.faults() == {"bus_stuck"}
    assert said(simulate("clear")) == "All faults are mended.\n"
    assert plant.faults() == frozenset()


def test_a_fault_that_there_is_not_is_refused_with_those_that_there_are(simulate, plant):
    refused = simulate("inject", "gremlins")
    assert refused.exit_code == 2
    assert "hall_silent" in refused.stderr
    assert plant.faults() == frozenset()


def test_the_help_names_every_fault(simulate):
    shown = said(simulate("--help"))
    assert all(name in shown for name in (*PLAIN_FAULTS, "pump_blocked", "sensor_unplugged"))


def test_a_data_folder_that_is_not_there_is_refused_and_none_is_made(simulate, tmp_path):
    refused = simulate("--dot", str(tmp_path / "nowhere"), "faults")
    assert refused.exit_code == 1
    assert f"There is no data folder {tmp_path / 'nowhere'}" in refused.stderr
    assert not (tmp_path / "nowhere").exists()
    assert not list((tmp_path / "run").iterdir())


def test_a_run_directory_that_is_not_the_units_is_refused_and_no_reactor_made(simulate, tmp_path):
    (tmp_path / "other").mkdir()
    lock = DataFolder(tmp_path / "dot").lock()
    lock.acquire()  # as a unit that serves does
    refused = simulate("inject", "hall_silent", RUNTIME_DIRECTORY=str(tmp_path / "other"))
    lock.release()
    assert refused.exit_code == 1
    assert "RUNTIME_DIRECTORY" in refused.stderr
    assert not list(tmp_path.rglob("plant.bin"))
    said(simulate("inject", "hall_silent", RUNTIME_DIRECTORY=str(tmp_path / "other")))


def test_a_person_changes_vials(simulate, plant):
    said(simulate("person", "put-standard", "2.5"))
    assert plant.look().culture.biomass_od == 2.5
    said(simulate("person", "put-blank"))
    assert plant.look().culture.biomass_od == 0.0
    said(simulate("person", "inoculate", "0.25"))
    assert plant.look().culture.biomass_od == pytest.approx(0.25, rel=1e-3)
    assert simulate("person", "inoculate", "nan").exit_code == 2


def test_a_person_reads_beakers(simulate, plant):
    said(simulate("person", "tube-into-beaker", "media"))
    plant.update(lambda state: state._replace(vessels=state.vessels._replace(media_beaker_ml=1.25)))
    assert said(simulate("person", "expelled", "media")) == "1.250\n"
    assert plant.look().pipework.beakers == 1
    said(simulate("person", "tube-into-vial", "media"))
    assert plant.look().pipework.beakers == 0
    assert simulate("person", "expelled", "gin").exit_code == 2


def test_a_person_refills_and_empties(simulate, plant):
    plant.update(lambda state: state._replace(vessels=state.vessels._replace(media_ml=3.0, waste_ml=9.0, bench_ml=1.0)))
    said(simulate("person", "refill"))
    assert plant.look().vessels.media_ml == 500.0
    said(simulate("person", "empty-waste"))
    assert (plant.look().vessels.waste_ml, plant.look().vessels.bench_ml) == (0.0, 0.0)


def test_the_truth_is_shown(simulate, plant):
    plant.put_standard(2.5)
    plant.inject("hall_silent")
    truths = json.loads(said(simulate("show", "--json")))
    assert truths["od"] == 2.5
    assert truths["faults"] == ["hall_silent"]
    assert truths["leds_percent"] == {"A": 0.0, "B": 0.0, "C": 0.0, "D": 0.0}
    assert truths["vial_ml"] == 14.0
    lines = dict(line.split("  ", 1) for line in said(simulate("show")).splitlines())
    assert lines["od"].strip() == "2.5"
    assert lines["duty_cycles_percent"].strip() == "none"
