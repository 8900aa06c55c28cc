"""A script that plays the person in a calibration session on a simulated reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import Answer, RunningUnit

from reactor_unit.drivers.simulation.state import SharedPlant

Inputs = dict[str, Any]
Deed = Callable[["Person", dict[str, Any]], Inputs]
SESSIONS = "/calibrations/sessions"


class Person:
    """Answers each step as `deeds` says, by step id: inputs, or what to do before them; `{}` for all others."""

    def __init__(self, unit: RunningUnit, device: str, protocol: str, deeds: dict[str, Inputs | Deed]) -> None:
        self.unit = unit
        self.plant: SharedPlant = unit.plant()
        self.deeds = deeds
        self.seen: list[str] = []
        begun = unit.post(SESSIONS, {"target_device": device, "protocol_name": protocol})
        assert begun.status == 201, begun
        self.session: dict[str, Any] = begun.json["session"]
        self.step: dict[str, Any] = begun.json["step"]

    @property
    def path(self) -> str:
        return f"{SESSIONS}/{self.session['session_id']}"

    def send(self, inputs: Inputs, **more: Any) -> Answer:
        return self.unit.ask("POST", f"{self.path}/inputs", {"inputs": inputs, **more}, timeout_s=120)

    def answer(self) -> None:
        """Answer one step."""
        step_id = self.step["step_id"]
        self.seen.append(step_id)
        deed = self.deeds.get(step_id, {})
        inputs = deed(self, self.step) if callable(deed) else deed
        answer = self.send(inputs, revision=self.session["revision"])
        assert answer.status == 200, (step_id, inputs, answer)
        self.session, self.step = answer.json["session"], answer.json["step"]

    def go_to(self, step_id: str) -> dict[str, Any]:
        """Answer steps until the one of this id, which may be `complete`; return it."""
        for _ in range(200):
            if self.step["step_id"] == step_id:
                return self.step
            self.answer()
        raise AssertionError(f"{step_id} was not reached: {self.seen}")


def pump_deeds(pump: str, targets_ml: list[float]) -> dict[str, Inputs | Deed]:
    def tubing(person: Person, _step: dict[str, Any]) -> Inputs:
        person.plant.tube_into_beaker(pump)
        return {}

    def empty(person: Person, _step: dict[str, Any]) -> Inputs:
        person.plant.tube_into_beaker(pump)
        return {}

    def read(person: Person, _step: dict[str, Any]) -> Inputs:
        return {"volume_ml": round(person.plant.volume_expelled_ml(pump), 3)}

    return {
        "name_input": {"calibration_name": f"{pump}-1"},
        "volume_targets": {"mls_to_calibrate_for": targets_ml},
        "pwm_settings": {"hz": 250, "dc": 100},
        "tubing_into_water": tubing,
        "prime_pump_duration": {"prime_duration_s": 15},
        "tracer_run": empty,
        "tracer_volume": read,
        "test_run": empty,
        "test_volume": read,
    }


def od_deeds(ods: list[float], name: str = "od-1") -> dict[str, Inputs | Deed]:
    def place(person: Person, _step: dict[str, Any]) -> Inputs:
        person.plant.put_standard(ods[len(person.session["data"]["standards"])])
        return {}

    def place_blank(person: Person, _step: dict[str, Any]) -> Inputs:
        person.plant.put_blank()
        return {}

    def measure(person: Person, _step: dict[str, Any]) -> Inputs:
        return {"od600_value": ods[len(person.session["data"]["standards"])]}

    def another(person: Person, _step: dict[str, Any]) -> Inputs:
        more = len(person.session["data"]["standards"]) < len(ods)
        return {"next_action": "record another standard" if more else "continue to blank (media only)"}

    return {
        "name_input": {"calibration_name": name},
        "rpm_input": {"rpm": 500},
        "place_standard": place,
        "measure_standard": measure,
        "another_standard": another,
        "place_blank": place_blank,
        "measure_blank": {"od600_blank": 0},
    }


def fused_deeds(ods: list[float], name: str = "fused-1") -> dict[str, Inputs | Deed]:
    def place(person: Person, _step: dict[str, Any]) -> Inputs:
        person.plant.put_standard(ods[len(person.session["data"]["standards"])])
        return {}

    def value(person: Person, _step: dict[str, Any]) -> Inputs:
        return {"od_value": ods[len(person.session["data"]["standards"])]}

    def standard(person: Person, _step: dict[str, Any]) -> Inputs:
        return {"standard_od": ods[len(person.session["data"]["standards"])]}

    def another(person: Person, _step: dict[str, Any]) -> Inputs:
        return {"another": len(person.session["data"]["standards"]) < len(ods)}

    return {
        "name": {"estimator_name": name},
        "rpm": {"rpm": 500},
        "place_standard": place,
        "measure_standard": value,
        "standard_od": standard,
        "another_standard": another,
    }
