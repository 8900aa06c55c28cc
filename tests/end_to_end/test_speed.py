"""A unit whose simulated reactor runs faster than the clock, with a seed, a model and a start of its own."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path

import pytest
from harness import RunningUnit, running_unit, wait_for

from reactor_unit.drivers.simulation import motion, optics, person
from reactor_unit.drivers.simulation.constants import WALL_CLOCK_JUMP_S

SPEED = 60.0
SETTLED_WITHIN_S = 600.0  # of the plant, 10 s of the machine; a job at real speed measures every 23 s of those


def measured(unit: RunningUnit) -> tuple[float, datetime] | None:
    answer = unit.get("/jobs/settings/job_name/stirring/setting/measured_rpm")
    if answer.status != 200:
        return None
    value = json.loads(answer.json["measured_rpm"])
    return value["measured_rpm"], datetime.fromisoformat(value["timestamp"])


def next_measured(unit: RunningUnit, after: datetime | None = None) -> tuple[float, datetime]:
    def newer() -> tuple[float, datetime] | None:
        value = measured(unit)
        return value if value is not None and (after is None or value[1] > after) else None

    found: tuple[float, datetime] = wait_for(newer, "a new measurement")
    return found


def test_a_fast_unit_stirs_as_one_at_real_speed_does_and_its_timestamps_say_so(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60") as unit:
        assert "60 times as fast" in unit.first_line
        plant = unit.plant()
        assert plant.speed == SPEED
        began_s = plant.plant_time_s()
        unit.run_stirring(target_rpm=400)
        _, at = next_measured(unit)
        wait_for(lambda: abs((measured(unit) or (0.0,))[0] - 400) <= 12, "a measured speed within 3 % of 400 rpm")
        assert plant.plant_time_s() - began_s <= SETTLED_WITHIN_S
        assert plant.true_rpm() == pytest.approx(400.0, rel=0.05)

        _, first_at = next_measured(unit, at)
        real_s, last_at = time.monotonic(), first_at
        for _ in range(6):  # settled by now: one measurement in 23 s of the plant's time
            rpm, last_at = next_measured(unit, last_at)
            assert rpm == pytest.approx(plant.true_rpm(), rel=0.02)
        gone_s = (last_at - first_at).total_seconds()
        # At real speed it would be a 60th.
        assert SPEED / 4 <= gone_s / (time.monotonic() - real_s) <= SPEED * 4


def test_a_seed_says_what_the_noise_is(tmp_path: Path) -> None:
    def noise(name: str, seed: str) -> tuple[object, ...]:
        folder = tmp_path / name
        folder.mkdir()
        with running_unit(folder, "--seed", seed) as unit:
            state = person.put_standard(unit.plant().look(), 1.0)
        moments = [state._replace(time_s=float(second), leds=(80.0, 0.0, 0.0, 0.0), turns=0.5) for second in range(5)]
        voltages_v = tuple(optics.photodiode_voltage_v(at, channel) for at in moments for channel in ("1", "2"))
        return voltages_v, tuple(motion.edge_turns(state.seed, turn, False) for turn in range(5))

    seven = noise("one", "7")
    assert noise("another", "7") == seven
    assert noise("third", "8") != seven


def test_a_jump_of_the_clock_moves_the_timestamps_and_neither_intervals_nor_expiry(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60") as unit:
        row = unit.run_stirring()
        task = unit.accepted("/jobs/stop", {"job_name": "stirring", "job_source": "nobody"})
        unit.ended(task)
        _, before = next_measured(unit)
        plant = unit.plant()
        plant.inject("clock_jump")
        jumped_at = wait_for(
            lambda: (found := measured(unit)) and (found[1] - before).total_seconds() > WALL_CLOCK_JUMP_S and found[1],
            "a timestamp a year later",
        )
        began_s, at = plant.plant_time_s(), jumped_at
        for _ in range(4):
            _, at = next_measured(unit, at)
        assert (at - jumped_at).total_seconds() == pytest.approx(plant.plant_time_s() - began_s, abs=600.0)
        assert unit.task(task)["status"] == "complete"
        assert [running["job_id"] for running in unit.get("/jobs/running").json] == [row["job_id"]]


def test_a_unit_finds_the_reactor_as_it_was_with_the_vial_of_its_model(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60", "--seed", "7") as unit:
        plant = unit.plant()
        assert plant.look().pipework.capacity_ml == 20.0
        plant.put_standard(2.0)
        plant.update(lambda state: person.fill_vial(state, 9.0))
        assert unit.end() == 0
    (tmp_path / "dot" / "unit_config.ini").write_text(
        "[bioreactor]\nmax_working_volume_ml=30\n[leds]\nA=\nB=IR\n[od_config.photodiode_channel]\n1=90\n2=REF\n"
    )
    model = {"MODEL_NAME": "pioreactor_40ml", "MODEL_VERSION": "1.5"}
    with running_unit(tmp_path, environ=model) as unit:
        plant = unit.plant()
        state = plant.look()
        assert (plant.speed, state.seed) == (1.0, 7)
        assert (state.pipework.capacity_ml, state.pipework.waste_tube_ml) == (40.0, 30.0)
        assert (state.culture.biomass_od, state.vessels.vial_ml) == (2.0, 9.0)
        expected = person.plug_ir_led(person.point_photodiodes(state, {"1": "90", "2": "REF"}), "B")
        assert state.light == expected.light
        unit.run_stirring(target_rpm=0)  # another process opens the plant, and puts nothing back
        plant.update(lambda now: person.plug_ir_led(now, "D"))
        unit.ended(unit.accepted("/jobs/stop", {"job_name": "stirring"}))
        assert plant.look().light.ir_led == 3
