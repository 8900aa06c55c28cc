"""Every protocol walked on the simulated reactor by a script that plays the person; what comes out is compared with
what the simulated reactor is made of."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dosing_unit import dose
from harness import DEADLINE_S, RunningUnit, running_unit, wait_for
from session_person import SESSIONS, Person, fused_deeds, od_deeds, pump_deeds

from reactor_unit.calibrations.fused_od import ANGLES, LogcShift, estimate
from reactor_unit.calibrations.models import FusedOdEstimator
from reactor_unit.calibrations.store import CALIBRATIONS, ESTIMATORS
from reactor_unit.drivers.simulation import person as deeds
from reactor_unit.drivers.simulation.constants import FLOW_ML_PER_S
from reactor_unit.drivers.simulation.motion import settled_rpm
from reactor_unit.drivers.simulation.optics import steady_signal_v
from reactor_unit.home import DataFolder

ODS = [2.0, 1.5, 1.0, 0.7, 0.4, 0.2, 0.1, 0.05]
BETWEEN = [0.05 * 40 ** (step / 40) for step in range(41)]  # 0.05 to 2
XR = """\
[bioreactor]
model_name=pioreactor_20ml_XR
model_version=1.5
[od_config.photodiode_channel]
2=45
3=90
4=135
"""
IR_PERCENT = 80.0


def saved(person: Person) -> Any:
    (link,) = person.session["result"]["calibrations"]
    return CALIBRATIONS.load(Path(link["path"]).read_bytes())


def signal_v(person: Person, od: float, angle: str) -> float:
    """Return what the photodiode at an angle sees of an OD at 500 rpm, without noise and room light."""
    state = deeds.put_standard(person.plant.look(), od)
    return steady_signal_v(state._replace(leds=(IR_PERCENT, 0.0, 0.0, 0.0), rpm=500.0), angle)


@pytest.mark.parametrize("pump", ["media", "alt_media", "waste"])
def test_a_pumps_calibration_moves_what_it_says(tmp_path: Path, pump: str) -> None:
    with running_unit(tmp_path, "--speed", "10", "--seed", "3") as unit:  # 2 % of a run are then 10 ms of the machine
        person = Person(unit, f"{pump}_pump", "duration_based", pump_deeds(pump, [0.5, 1.0]))
        person.go_to("complete")
        calibration = saved(person)
        error = calibration.y_at(10.0) / (10.0 * FLOW_ML_PER_S[pump]) - 1.0
        print(f"\n{pump}: {error:+.2%}")
        assert abs(error) <= 0.02
        assert calibration.voltage == pytest.approx(5.1, abs=0.1)
        assert unit.get("/active_calibrations").json[f"{pump}_pump"]["calibration_name"] == f"{pump}-1"
        assert person.plant.pin(person.plant.pins_of(pump)[0]).level == 0
        assert unit.get("/vial").json["current_volume_ml"] == 14.0  # the tube was in a beaker


def test_a_pump_that_was_calibrated_in_a_session_doses_within_two_percent(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "10", "--seed", "3") as unit:
        person = Person(unit, "media_pump", "duration_based", pump_deeds("media", [0.5, 1.0]))
        person.go_to("complete")
        person.plant.tube_into_vial("media")
        before_ml = person.plant.look().vessels.vial_ml
        dose(unit, "add_media", {"ml": 2.0})
        assert person.plant.look().vessels.vial_ml - before_ml == pytest.approx(2.0, rel=0.02)


def test_stirrings_calibration_knows_the_speeds(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "30", "--seed", "3") as unit:
        person = Person(unit, "stirring", "dc_based", {})
        person.go_to("complete")
        calibration = saved(person)
        low, high = calibration.domain
        places = [low + (high - low) * step / 20 for step in range(21)]
        errors = [calibration.y_at(dc) / settled_rpm(dc) - 1.0 for dc in places]
        print(f"\nrpm: {min(errors):+.2%} to {max(errors):+.2%}")
        assert max(map(abs, errors)) <= 0.03
        assert not unit.stirrer_is_driven()


@pytest.mark.timeout(180)
def test_standards_calibrate_od_over_their_range(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "80", "--seed", "3") as unit:
        person = Person(unit, "od90", "standards", od_deeds(ODS))
        person.go_to("complete")
        calibration = saved(person)
        # At the ends of the range an error of 0.1 % lies outside it.
        errors = [calibration.x_at(signal_v(person, od, "90")) / od - 1.0 for od in BETWEEN]
        print(f"\nOD: {min(errors):+.2%} to {max(errors):+.2%}")
        assert max(map(abs, errors)) <= 0.03
        assert person.plant.led("A") == 0.0
        assert not unit.stirrer_is_driven()


@pytest.mark.timeout(240)
def test_fused_od_is_made_from_standards_and_adapted_with_two(tmp_path: Path) -> None:
    (tmp_path / "dot").mkdir()
    (tmp_path / "dot" / "unit_config.ini").write_text(XR)
    with running_unit(tmp_path, "--speed", "40", "--seed", "3") as unit:
        person = Person(unit, "od_fused", "od_fusion_standards", fused_deeds([2.0, 1.0, 0.5, 0.25, 0.1, 0.05]))
        person.go_to("complete")
        estimator: FusedOdEstimator = ESTIMATORS.load(Path(person.session["result"]["path"]).read_bytes())
        assert largest_error(person, estimator) <= 0.03

        shift = LogcShift(1.1, 0.05)  # another unit's, whose estimates are off here
        foreign = replace(
            estimator,
            estimator_name="theirs",
            mu_splines={angle: shift.curve(curve) for angle, curve in estimator.mu_splines.items()},
            sigma_splines_log={angle: shift.curve(curve) for angle, curve in estimator.sigma_splines_log.items()},
            min_logc=shift.logc(estimator.min_logc),
            max_logc=shift.logc(estimator.max_logc),
        )
        DataFolder(unit.dot).storage.joinpath("estimators/od_fused/fused-1.yaml").unlink()
        write_estimator(unit, foreign)
        assert largest_error(person, foreign) > 0.1
        adapting = Person(unit, "od_fused", "od_fusion_offset", fused_deeds([0.1, 1.0], "mine"))
        adapting.go_to("complete")
        mine = ESTIMATORS.load(Path(adapting.session["result"]["path"]).read_bytes())
        assert adapting.session["result"]["scale_logc"] == pytest.approx(1 / 1.1, rel=0.03)
        assert largest_error(person, mine) <= 0.03
        assert unit.get("/active_estimators").json["od_fused"]["estimator_name"] == "mine"


def write_estimator(unit: RunningUnit, estimator: FusedOdEstimator) -> None:
    from reactor_unit import strict_yaml
    from reactor_unit.calibrations.schemas import to_file

    path = unit.dot / "storage" / "estimators" / "od_fused" / f"{estimator.estimator_name}.yaml"
    path.write_bytes(strict_yaml.dumps(to_file(estimator)))


def largest_error(person: Person, estimator: FusedOdEstimator) -> float:
    errors = [
        estimate(estimator, {angle: signal_v(person, od, angle) for angle in ANGLES}) / od - 1.0 for od in BETWEEN
    ]
    print(f"\nfused OD: {min(errors):+.2%} to {max(errors):+.2%}")
    return max(map(abs, errors))


# In the middle of a step


def priming(unit: RunningUnit, seconds: float) -> tuple[Person, threading.Thread, list[Any]]:
    """Have a session run the media pump for so long; return when it turns."""
    person = Person(unit, "media_pump", "duration_based", pump_deeds("media", [1.0]))
    person.go_to("prime_pump_duration")
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(person.send({"prime_duration_s": seconds})))
    thread.start()
    wait_for(lambda: pump_is_on(person), "a pump that turns")
    return person, thread, answers


def pump_is_on(person: Person) -> bool:
    return bool(person.plant.pin(person.plant.pins_of("media")[0]).level)


def test_an_abort_in_the_middle_of_a_step_stops_the_pump_within_a_second(unit: RunningUnit) -> None:
    person, thread, answers = priming(unit, 60)
    began_s = time.monotonic()
    aborted = unit.post(f"{person.path}/abort")
    assert not pump_is_on(person)
    unit.plant().wait_until_off(lambda: pump_is_on(person), began_s, 1.0)
    thread.join()
    assert aborted.json["step"] is None
    assert (answers[0].status, "aborted" in answers[0].json["error"]) == (409, True)
    again = Person(unit, "media_pump", "duration_based", pump_deeds("media", [1.0]))
    again.go_to("prime_pump_duration")
    assert again.send({"prime_duration_s": 5}).status == 200  # nothing is left claimed


def test_polls_and_stops_are_answered_while_steps_wait(unit: RunningUnit) -> None:
    person, thread, _ = priming(unit, 60)
    shown = unit.get(person.path).json
    assert shown["step"]["step_id"] == "prime_pump_duration"
    progress = unit.task(shown["session"]["task_id"])
    assert progress["status"] == "in_progress"
    assert "media pump" in progress["progress"]["message"]
    assert unit.ended(unit.accepted("/jobs/stop/all"))["status"] == "complete"
    second = Person(unit, "media_pump", "duration_based", pump_deeds("media", [1.0]))
    second.go_to("prime_pump_duration")
    refused = second.send({"prime_duration_s": 5})
    assert refused.status == 409
    assert person.session["session_id"] in refused.json["error"]
    unit.post(f"{person.path}/abort")
    thread.join()


def send_in_vain(person: Person) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        person.send({"prime_duration_s": 5})


def test_a_web_process_that_is_killed_in_a_step_loses_neither_session_nor_measurement(unit: RunningUnit) -> None:
    person = Person(unit, "media_pump", "duration_based", pump_deeds("media", [1.0]))
    person.go_to("prime_pump_duration")
    thread = threading.Thread(target=send_in_vain, args=(person,))
    thread.start()
    wait_for(lambda: pump_is_on(person), "a pump that turns")
    killed = unit.web()
    killed.send_signal(signal.SIGKILL)
    thread.join()
    wait_for(lambda: unit.web().pid != killed.pid, "another web process")
    answer = person.send({"prime_duration_s": 5})
    assert answer.json["step"]["step_id"] == "tracer_run"
    # The run that was under way is the one that counts.
    assert person.plant.volume_expelled_ml("media") == pytest.approx(5 * FLOW_ML_PER_S["media"], rel=0.1)


# The command line


def command(unit: RunningUnit, *words: str) -> list[str]:
    return [sys.executable, "-m", "reactor_unit", "--url", f"http://127.0.0.1:{unit.port}", "calibrate", *words]


class Terminal:
    """A person at the command line: answers each prompt, by its label."""

    def __init__(self, unit: RunningUnit, *words: str) -> None:
        self.process = subprocess.Popen(
            command(unit, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.seen = ""

    def until(self, text: str) -> str:
        """Read until the terminal says `text`; return what it said since the last time."""
        assert self.process.stderr is not None
        said = ""
        while not said.endswith(text):
            char = self.process.stderr.read(1)
            assert char, f"{text!r} did not come: {self.seen}{said}"
            said += char
        self.seen += said
        return said

    def type(self, text: str = "") -> None:
        assert self.process.stdin is not None
        self.seen += f"{text}\n"
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()


def test_a_pump_is_calibrated_in_the_terminal(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "20", "--seed", "3") as unit:
        plant = unit.plant()
        terminal = Terminal(unit, "media_pump")
        for _ in range(3):
            terminal.until("Enter to go on: ")
            terminal.type()
        terminal.until("]: ")
        terminal.type("no/name")
        assert "not a name that is accepted" in terminal.until("]: ")
        terminal.type("from-terminal")
        for answer in ("0.5, 1", "", "", ""):  # volumes, frequency, duty cycle, tubing
            terminal.until(": ")
            terminal.type(answer)
        terminal.until("Duration (s) [15.0]: ")
        plant.tube_into_beaker("media")
        terminal.type()
        for number in range(11):
            said = terminal.until("Enter to go on: ")
            assert ("Duration (s)" in said) == (number > 5)  # the chart, once there are two durations
            plant.tube_into_beaker("media")
            terminal.type()
            terminal.until("Volume moved (mL): ")
            terminal.type(f"{plant.volume_expelled_ml('media'):.3f}")
        out, _ = terminal.process.communicate(timeout=DEADLINE_S)
        assert terminal.process.returncode == 0
        assert "from-terminal" in out
        found = unit.get("/active_calibrations").json["media_pump"]
        assert found["curve_data_"]["coefficients"][0] == pytest.approx(FLOW_ML_PER_S["media"], rel=0.05)


def test_stirring_is_calibrated_in_the_terminal(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "60") as unit:
        done = subprocess.run(
            command(unit, "stirring", "--json"), input="\n\n", capture_output=True, text=True, timeout=50
        )
        assert done.returncode == 0, done.stderr
        assert '"status": "complete"' in done.stdout
        unknown = subprocess.run(command(unit, "heater"), capture_output=True, text=True, timeout=DEADLINE_S)
        assert unknown.returncode == 1
        assert "alt_media_pump" in unknown.stderr


def typed(value: Any) -> str:
    """Return what a person types for a value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def walk_in_terminal(person: Person, folder: Path) -> str:
    """Let the command answer a session that `person` began, doing what its steps ask for; return what it said."""
    answering = command(person.unit, "--resume", person.session["session_id"])
    with (
        (folder / "said").open("w+") as said,
        subprocess.Popen(answering, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, text=True) as walking,
    ):
        assert walking.stdin is not None
        while person.session["status"] == "in_progress":
            deed = person.deeds.get(person.step["step_id"], {})
            inputs = deed(person, person.step) if callable(deed) else deed
            for field in person.step["fields"] or [{"name": ""}]:
                walking.stdin.write(typed(inputs.get(field["name"], "")) + "\n")
            walking.stdin.flush()
            before = person.session["revision"]

            def answered(before: int = before) -> bool:
                found = person.unit.get(person.path).json
                person.session, person.step = found["session"], found["step"]
                return bool(person.session["revision"] != before)

            wait_for(answered, f"an answer to {person.step['step_id']}", within_s=60)
        assert walking.wait(DEADLINE_S) == 0
        said.seek(0)
        return said.read()


@pytest.mark.timeout(240)
def test_od_is_calibrated_in_the_terminal(tmp_path: Path) -> None:
    with running_unit(tmp_path, "--speed", "80", "--seed", "3") as unit:
        person = Person(unit, "od90", "standards", od_deeds(ODS))
        assert "od-1" in walk_in_terminal(person, tmp_path)
        assert person.session["status"] == "complete"
        assert unit.get("/active_calibrations").json["od90"]["calibration_name"] == "od-1"


@pytest.mark.timeout(240)
def test_fused_od_is_made_and_adapted_in_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "dot").mkdir()
    (tmp_path / "dot" / "unit_config.ini").write_text(XR)
    with running_unit(tmp_path, "--speed", "40", "--seed", "3") as unit:
        person = Person(unit, "od_fused", "od_fusion_standards", fused_deeds([2.0, 1.0, 0.5, 0.25, 0.1, 0.05]))
        assert "fused-1" in walk_in_terminal(person, tmp_path)
        adapting = Person(unit, "od_fused", "od_fusion_offset", fused_deeds([0.1, 1.0], "mine"))
        assert "mine" in walk_in_terminal(adapting, tmp_path)
        assert unit.get("/active_estimators").json["od_fused"]["estimator_name"] == "mine"


def test_ctrl_c_aborts_and_the_pump_stops(unit: RunningUnit) -> None:
    terminal = Terminal(unit, "media_pump", "duration_based")
    for answer in ("", "", "", "", "", "", "", "", "100"):
        terminal.until(": ")
        terminal.type(answer)
    plant = unit.plant()
    wait_for(lambda: plant.pin(plant.pins_of("media")[0]).level, "a pump that turns")
    terminal.process.send_signal(signal.SIGINT)
    wait_for(lambda: not plant.pin(plant.pins_of("media")[0]).level, "a pump that stands")
    out, err = terminal.process.communicate(timeout=DEADLINE_S)
    assert (terminal.process.returncode, out) == (130, "")
    assert "aborted" in err


def test_a_session_that_was_left_goes_on(unit: RunningUnit) -> None:
    person = Person(unit, "media_pump", "duration_based", {})
    person.go_to("name_input")
    session_id = person.session["session_id"]
    terminal = Terminal(unit, "--resume", session_id)
    terminal.until("Name [")
    terminal.process.send_signal(signal.SIGINT)
    terminal.process.communicate(timeout=DEADLINE_S)
    assert unit.get(f"{SESSIONS}/{session_id}").json["session"]["status"] == "aborted"
