"""Temperature: the liquid's is estimated from the heater board's, and held by a thermostat, or only written down."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from reactor_unit.config import Config
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.heater import Heater, open_thermometer
from reactor_unit.drivers.tmp1075 import TMP1075
from reactor_unit.errors import Conflict, InvalidRequest
from reactor_unit.job_spec import Automation, JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.job_desk import READY
from reactor_unit.workers.jobs.heat_watch import HeatWatch, limits_of
from reactor_unit.workers.laws.heat_interlock import HeatDanger, HeatFault, stale_fault
from reactor_unit.workers.laws.pid import PID, PIDState
from reactor_unit.workers.laws.temperature import (
    SAMPLE_INTERVAL_S,
    STEADY_CYCLE,
    HeatExchange,
    LiquidThermometer,
    TemperatureState,
    Thermostat,
)

log = logging.getLogger(__name__)

THERMOSTAT, ONLY_RECORD = "thermostat", "only_record_temperature"
NAME = "temperature_automation"
DEGREE = "\u2103"  # the sign that the API has for degC
DEFAULT_TARGET_C = 30.0
HIGHEST_TARGET_C = 78.0  # of any model; each model's first limit is the one that counts
MAX_CORRECTION = 25.0  # % duty cycle at once, by the PID
READS, READ_PAUSE_S = 6, 0.05  # a reading is the mean of so many, so far apart
STALE_AFTER_S = 12.0  # two readings did not come
KNOWN_SD_C = 2.0  # degC; from here on the estimate is good enough to heat by: about 5 s after the first reading
REMEDIES = {
    HeatDanger.HOT: "Feel the heater board: is it in place, with liquid above it? Let it cool down.",
    HeatDanger.TOO_HOT: "Switch the reactor's power off and let it cool down; replace the heater board if it heats by "
    "itself.",
    HeatDanger.STALE_READING: "Check the flat cable between the HAT and the heater board, at both ends.",
    HeatDanger.STUCK_SENSOR: "Switch the reactor's power off and on; replace the heater board if its thermometer stays "
    "stuck.",
    HeatDanger.STUCK_HEATER: "Switch the reactor's power off: the heater may still be on. Replace HAT or heater board.",
    HeatDanger.NO_RISE: "Check that the heater board is plugged in and its thermometer sits on it; check the supply.",
}


class TemperatureAutomation(Job):
    """Hold the liquid at `target_temperature`, or keep the heater off and only say how warm it is.

    A danger turns the heater off at once and latches a fault. The job then goes on without heat, so that the
    temperature is still known; its setting `fault` says why.
    """

    spec = JobSpec(
        name=NAME,
        help="Hold the temperature of the liquid, or only record it.",
        options=(
            Option("skip_first_run", "integer", "Without effect here.", minimum=0, maximum=1),
            Option("duration", "float", "Without effect here.", unit="min"),
        ),
        settings=(
            Setting("automation_name", "string"),
            Setting("latest_event", "AutomationEvent"),
            Setting("temperature", "Temperature", DEGREE, series=Series("temperature", value="temperature")),
            Setting("heater_duty_cycle", "float", "%", series=Series("temperature_automation.heater_duty_cycle")),
            Setting("fault", "string"),
        ),
        automations=(
            Automation(
                THERMOSTAT,
                "Hold the liquid at `target_temperature`.",
                options=(
                    Option(
                        "target_temperature",
                        "float",
                        "What it holds.",
                        default=DEFAULT_TARGET_C,
                        minimum=0.0,
                        maximum=HIGHEST_TARGET_C,
                        unit=DEGREE,
                    ),
                ),
                settings=(
                    Setting(
                        "target_temperature",
                        "float",
                        DEGREE,
                        settable=True,
                        minimum=0.0,
                        maximum=HIGHEST_TARGET_C,
                        series=Series("temperature_automation.target_temperature"),
                    ),
                ),
            ),
            Automation(ONLY_RECORD, "Keep the heater off, and say how warm the liquid is."),
        ),
        interlocks=(
            "Above the model's first limit for the heater board it is heated less; above the second the heater is off "
            f"and {HeatDanger.HOT} is latched; above the third it is {HeatDanger.TOO_HOT}, and the computer is to shut "
            "down.",
            "The heater is off, and the fault latched, when the thermometer gives nothing for "
            f"{STALE_AFTER_S:g} s ({HeatDanger.STALE_READING}) or the same over a switch of the heater "
            f"({HeatDanger.STUCK_SENSOR}), when the board rises more than the heater could make it "
            f"({HeatDanger.STUCK_HEATER}), and when it does not rise although it is heated ({HeatDanger.NO_RISE}).",
            "A reading that fails turns the heater off until the next one.",
        ),
        subscribes=(("stirring", "$state"),),
    )

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._automation = options["automation_name"]
        section = "temperature_automation.thermostat"
        kp, ki, kd = (config.get_float(section, gain) for gain in ("Kp", "Ki", "Kd"))
        self._thermostat = Thermostat(PID(kp, ki, kd, output_limit=MAX_CORRECTION), STEADY_CYCLE)
        self._pid = PIDState()
        volume_ml = config.get_float("bioreactor", "initial_volume_ml")
        if volume_ml <= 0:
            raise InvalidRequest(f"[bioreactor] initial_volume_ml {volume_ml:g} has to be above 0.")
        self._law = LiquidThermometer(HeatExchange().for_volume(volume_ml))
        self._watch = HeatWatch(limits_of(hardware.model), self._law.exchange)
        target_c = options.get("target_temperature")
        self._target_c = self._checked_target(DEFAULT_TARGET_C if target_c is None else target_c)
        self._duty_cycle = 0.0  # in the heating part of a cycle
        self._estimate: TemperatureState | None = None  # None before the first reading
        self._read_at = 0.0
        self._is_first_cycle = True
        self._cycle_began: float | None = None  # None while the liquid is not known well enough to heat
        self._is_faulted = False
        self._is_believed = True  # the estimate: not with a thermometer or heater that does other things than it says
        self._is_stirred = False
        self._is_warned = False
        self._thermometer: TMP1075 | None = None
        self._heater: Heater | None = None

    @property
    def interval_s(self) -> float:
        """Seconds from one reading of the heater board to the next."""
        return SAMPLE_INTERVAL_S

    def start(self) -> float:
        """Open the heater, off, and its thermometer; heating begins when the liquid's temperature is known."""
        self._thermometer = open_thermometer(self.hardware.i2c, self.hardware.board)
        self._heater = self.hardware.open_heater()
        self._read_at = self.runtime.clock()
        self.runtime.publish({"automation_name": self._automation, "heater_duty_cycle": 0.0})
        if self._automation == THERMOSTAT:
            self.runtime.publish({"target_temperature": self._target_c})
        return 0.0

    def tick(self) -> None:
        """Read the heater board, look for dangers, and at the end of a cycle say how warm it is and correct."""
        if self._thermometer is None:
            raise RuntimeError("the thermometer has not been opened")
        board_c = self._thermometer.mean_temperature_c(READS, READ_PAUSE_S, self.runtime.wait)
        estimate = self._take(board_c)
        if self._cycle_began is None:
            is_due = estimate.liquid_sd_c <= KNOWN_SD_C
        else:
            is_due = self._position_s() >= STEADY_CYCLE.period_s
            if is_due:
                self._answer(self._watch.cycle_fault(self._duty_cycle))
        if is_due:
            self._begin_cycle(estimate)
        self._heat(self._wanted_duty_cycle())

    def _take(self, board_c: float) -> TemperatureState:
        """Carry the estimate on with a reading, and answer what the interlocks say about it."""
        self._read_at = now = self.runtime.clock()
        duty_cycle = 0.0 if self._heater is None else self._heater.duty_cycle
        if self._estimate is None:
            self._estimate = self._law.begin(board_c, at_s=now)
        else:
            self._estimate = self._law.next(self._estimate, board_c, duty_cycle=duty_cycle, at_s=now)
        self._answer(self._watch.fault(board_c, self._estimate, duty_cycle))
        return self._estimate

    def _position_s(self) -> float:
        """Return the seconds since the cycle's beginning, to the nearest reading: readings are late by milliseconds."""
        began = self.runtime.clock() if self._cycle_began is None else self._cycle_began
        return SAMPLE_INTERVAL_S * round((self.runtime.clock() - began) / SAMPLE_INTERVAL_S)

    def _begin_cycle(self, estimate: TemperatureState) -> None:
        self._cycle_began, liquid_c = self._read_at, estimate.liquid_c
        if self._is_believed:
            self.runtime.publish(
                {"temperature": {"temperature": round(liquid_c, 2), "timestamp": self.runtime.utc_timestamp()}}
            )
        if self._is_faulted:
            return
        if self._automation == ONLY_RECORD:
            self._publish_event("NoEvent", None, {})
            return
        self._warn_unless_stirred()
        if self._is_first_cycle:
            self._set_duty_cycle(self._holding_duty_cycle(estimate))
            self._is_first_cycle = False
        before = self._duty_cycle
        after, self._pid = self._thermostat.next_duty_cycle(
            before, self._pid, target_c=self._target_c, liquid_c=liquid_c
        )
        self._set_duty_cycle(after)
        told = {
            "current_dc": before,
            "delta_dc": round(after - before, 2),
            "target_temperature": self._target_c,
            "latest_temperature": round(liquid_c, 2),
        }
        self._publish_event("UpdatedHeaterDC", f"Heater from {before:g} % to {after:g} %.", told)

    def _holding_duty_cycle(self, estimate: TemperatureState) -> float:
        """Return what keeps the liquid as it is: a thermostat that is started again must not let it cool first."""
        return round(
            self._law.exchange.holding_duty_cycle(estimate.liquid_c, estimate.room_c, estimate.power_c_per_s), 2
        )

    def _warn_unless_stirred(self) -> None:
        if not self._is_stirred and not self._is_warned:
            log.warning("The liquid is not stirred: it is heated from below, and its temperature is not even.")
            self._is_warned = True

    def _publish_event(self, name: str, message: str | None, data: Mapping[str, Any]) -> None:
        self.runtime.publish({"latest_event": {"event_name": name, "message": message, "data": dict(data)}})

    # The heater

    def _set_duty_cycle(self, duty_cycle: float) -> None:
        if duty_cycle != self._duty_cycle:
            self._duty_cycle = duty_cycle
            self.runtime.publish({"heater_duty_cycle": duty_cycle})

    def _wanted_duty_cycle(self) -> float:
        """Return what the heater is to be at now: it rests at the end of each cycle."""
        is_heating = self._cycle_began is not None and STEADY_CYCLE.is_heating(self._position_s())
        return self._duty_cycle if is_heating and not self._is_faulted else 0.0

    def _heat(self, duty_cycle: float) -> None:
        """Be at a duty cycle from now on; the estimate takes note of the moment."""
        if self._heater is None or duty_cycle == self._heater.duty_cycle:
            return
        before = self._heater.duty_cycle
        self._heater.set_duty_cycle(duty_cycle)
        if self._estimate is not None:
            self._estimate = self._law.elapsed(self._estimate, duty_cycle=before, at_s=self.runtime.clock())

    # Dangers

    def _answer(self, fault: HeatFault | None) -> None:
        """Do what a fault says; all but the mildest put an end to heating."""
        if fault is None:
            return
        if fault.duty_cycle_factor > 0:
            if self._duty_cycle > 0:
                log.warning("%s", fault.message)
            self._set_duty_cycle(round(fault.duty_cycle_factor * self._duty_cycle, 2))
            return
        self._heat(0.0)
        if self._is_faulted:
            return
        self._is_faulted = True
        self._set_duty_cycle(0.0)
        if fault.danger not in (HeatDanger.HOT, HeatDanger.TOO_HOT):
            self._is_believed = False
            self.runtime.publish({"temperature": None})
        log.error("The heater is off: %s", fault.message)
        self.runtime.latch_fault(fault.danger, fault.message, REMEDIES[fault.danger], jobs=[NAME])
        self._publish_event("ErrorOccurred", fault.message, {"fault": fault.danger})
        if fault.shut_down:
            self.runtime.system.shut_down(fault.message)

    def on_trouble(self, error: HardwareFault) -> None:
        """Turn the heater off: nobody knows how warm it is. A reading that stays away is a fault."""
        self._heat(0.0)
        self._watch.forget()
        self._answer(stale_fault(self.runtime.clock() - self._read_at, STALE_AFTER_S))

    # What comes from outside

    def hear(self, job_name: str, setting: str, value: Any) -> None:
        """Take note whether the liquid is stirred."""
        self._is_stirred = value == READY
        self._is_warned = self._is_warned and not self._is_stirred

    def set_target_temperature(self, target_c: float) -> None:
        """Hold another temperature from the end of this cycle on. Raises Conflict when nothing is held."""
        if self._automation != THERMOSTAT:
            raise Conflict(
                f"{self._automation} holds no temperature.", remediation="Start the thermostat in its place."
            )
        self._target_c = self._checked_target(target_c)
        self.runtime.publish({"target_temperature": self._target_c})

    def _checked_target(self, target_c: float) -> float:
        highest_c = self._watch.limits.reduce_c
        if not 0 <= target_c <= highest_c:
            raise InvalidRequest(
                f"target_temperature {target_c:g} is above the limit of {highest_c:g} degC, where this reactor's model "
                "begins to heat less."
            )
        return float(target_c)

    def sleep(self) -> None:
        """Turn the heater off until `wake`; `monitor` goes on watching the heater board."""
        self._heat(0.0)
        self._watch.forget()
        self.runtime.publish({"heater_duty_cycle": 0.0})

    def wake(self) -> None:
        """Begin a new cycle with the next reading."""
        self._cycle_began = None
        self._pid = PIDState()
        self._read_at = self.runtime.clock()
        self.runtime.publish({"heater_duty_cycle": self._duty_cycle})

    def close(self) -> None:
        """Leave the heater off."""
        heater, self._heater = self._heater, None
        if heater is not None:
            heater.close()
