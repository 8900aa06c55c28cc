"""Monitor: the job that every unit runs for itself. It looks after the heater board a second time, and the computer."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Mapping
from typing import Any

from reactor_unit import __version__
from reactor_unit.config import Config
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.heater import open_thermometer
from reactor_unit.drivers.leases import pin_output
from reactor_unit.drivers.panel import PCBLED, Button
from reactor_unit.drivers.photodiodes import open_adc, open_aux_voltage
from reactor_unit.drivers.pico import Pico
from reactor_unit.job_spec import UNIT_EXPERIMENT, JobSpec, Setting
from reactor_unit.workers.computer import Computer
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.job_desk import DISCONNECTED, LOST
from reactor_unit.workers.jobs.heat_watch import limits_of

log = logging.getLogger(__name__)

HEATING_JOB = "temperature_automation"
LOOK_S = 1.0  # real seconds between two looks at the button; a person presses until the LED lights
CHECK_S = 10.0  # between two looks at the heater board
FIRST_SELF_CHECK_S, SELF_CHECK_S = 5.0, 12 * 3600.0
UNHEATED_LIMIT_C = 65.0  # for a board that nothing should heat
COOLING_S = 180.0  # after the heating job ended a board that was at 78 degC may be above that
CONFIRMING_READS, READ_PAUSE_S = 3, 0.05
HOT_BOARD = "heater_board_too_hot"
LOWEST_RAIL_V = 4.80
MOST_DISK_PERCENT, MOST_CPU_C = 80.0, 80.0
# Error codes of the blue LED, by number of blinks.
NO_NETWORK, DISK_FULL, STIRRING_TROUBLE, ADC_TROUBLE, TOO_WARM, LOW_VOLTAGE = 1, 3, 4, 5, 6, 7
CODE_OF_FAULT = {"stirring": STIRRING_TROUBLE, "od_reading": ADC_TROUBLE, HEATING_JOB: TOO_WARM}
MAX_CODES = 4  # that wait to be shown


class Monitor(Job):
    """Check the heater board independently of the heating job, watch the computer, and show trouble on the LED.

    Parts that do not answer are logged and left out: it goes on with what there is.
    """

    spec = JobSpec(
        name="monitor",
        help="Watch over the heater board and the computer; the unit starts it itself.",
        settings=(
            Setting("computer_statistics", "json"),
            Setting("button_down", "boolean"),
            Setting("versions", "json", settable=True),
            Setting("voltage_on_pwm_rail", "Voltage"),
            Setting("ipv4", "string"),
            Setting("wlan_mac_address", "string"),
            Setting("eth_mac_address", "string"),
            Setting("fault", "string"),
        ),
        is_long_running=True,
        experiment=UNIT_EXPERIMENT,
        subscribes=tuple((name, "fault") for name in CODE_OF_FAULT),
        interlocks=(
            f"A heater board at the model's limit for a shutdown, or at {UNHEATED_LIMIT_C:g} degC while {HEATING_JOB} "
            f"does not run, is latched as {HOT_BOARD}: the heater is off, and the computer is to shut down.",
        ),
    )

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._computer = Computer()
        self._limits = limits_of(hardware.model)
        self._heating_ended_at: float | None = None  # None while the heating job runs
        self._was_hot = False
        self._is_thermometer_missed = False
        self._check_at = self._self_check_at = 0.0
        self._codes: deque[int] = deque(maxlen=MAX_CODES)
        self._was_down = False
        self._led: PCBLED | None = None
        self._button: Button | None = None

    @property
    def interval_s(self) -> float:
        """Seconds between two looks at the button; where the reactor is faster than real, no more than CHECK_S."""
        return min(CHECK_S, LOOK_S * self.runtime.unit_clock.speed)

    def start(self) -> float:
        """Open LED and button; the first check of the heater board comes at once."""
        now = self.runtime.clock()
        self._heating_ended_at = now - COOLING_S
        self._check_at, self._self_check_at = now, now + FIRST_SELF_CHECK_S
        with self._logged():
            self._led = PCBLED(self.hardware.gpio, self.hardware.board.pcb_led_pin)
            self._button = Button(self.hardware.gpio, self.hardware.board.button_pin)
        self.runtime.publish({"button_down": False, "versions": self._versions()})
        return 0.0

    def tick(self) -> None:
        """Do what is due."""
        now = self.runtime.clock()
        if now >= self._check_at:
            self._check_at = now + CHECK_S
            self._check_heater_board()
        if now >= self._self_check_at:
            self._self_check_at = now + SELF_CHECK_S
            self._check_computer()
        self._look_at_button()
        self._show_next_code()

    # The heater board

    def _check_heater_board(self) -> None:
        """Latch a fault when the board is hotter than it may be; as long as it is, at each check."""
        try:
            board_c = self._board_c()
        except HardwareFault as ex:
            if not self._is_thermometer_missed:
                log.warning("The heater board cannot be watched: %s", ex)
            self._is_thermometer_missed = True
            return
        self._is_thermometer_missed = False
        limit_c = self._limit_c()
        if board_c < limit_c:
            if self._was_hot:
                self.runtime.publish({"fault": None})
            self._was_hot = False
            return
        heating = "runs" if self._heating_ended_at is None else "does not run"
        message = (
            f"The heater board is at {board_c:.1f} degC while {HEATING_JOB} {heating}; {limit_c:g} degC is the limit."
        )
        heater = pin_output(self.hardware.board.pwm_to_pin[self.hardware.board.heater_pwm_channel])
        remedy = (
            "Switch the reactor's power off and let it cool down; replace what heats by itself: HAT or heater board."
        )
        self.runtime.latch_fault(HOT_BOARD, message, remedy, jobs=[HEATING_JOB], outputs=[heater])
        if not self._was_hot:
            log.critical("%s", message)
            self.runtime.system.shut_down(message)
            self._codes.append(TOO_WARM)
        self._was_hot = True

    def _board_c(self) -> float:
        """Return the heater board's temperature; a high one is read again, since a single one may be a disturbance."""
        thermometer = open_thermometer(self.hardware.i2c, self.hardware.board)
        board_c = thermometer.read_temperature_c()
        if board_c < min(UNHEATED_LIMIT_C, self._limits.shutdown_c):
            return board_c
        return thermometer.mean_temperature_c(CONFIRMING_READS, READ_PAUSE_S, self.runtime.wait)

    def _limit_c(self) -> float:
        ended_at = self._heating_ended_at
        is_unheated = ended_at is not None and self.runtime.clock() - ended_at >= COOLING_S
        return min(UNHEATED_LIMIT_C, self._limits.shutdown_c) if is_unheated else self._limits.shutdown_c

    def hear(self, job_name: str, setting: str, value: Any) -> None:
        """Take note whether the heating job runs, and of what other jobs found wrong."""
        if setting == "fault" and value is not None:
            self._codes.append(CODE_OF_FAULT[job_name])
        elif (job_name, setting) == (HEATING_JOB, "$state"):
            if value not in (DISCONNECTED, LOST):
                self._heating_ended_at = None
            elif self._heating_ended_at is None:
                self._heating_ended_at = self.runtime.clock()

    # The computer

    def _check_computer(self) -> None:
        """Publish how the computer is, and remember what is wrong with it."""
        now, computer = self.runtime.utc_timestamp(), self._computer
        disk_percent = computer.disk_usage_percent(self.runtime.data_folder)
        cpu_c = computer.cpu_temperature_c()
        ipv4 = computer.ipv4()
        statistics = {"disk_usage_percent": disk_percent, "cpu_temperature_celcius": cpu_c, "timestamp": now}
        self.runtime.publish(
            {
                "computer_statistics": statistics,
                "ipv4": ipv4,
                "wlan_mac_address": computer.mac_address("wlan"),
                "eth_mac_address": computer.mac_address("eth"),
            }
        )
        self._note(disk_percent > MOST_DISK_PERCENT, DISK_FULL, f"The disk is {disk_percent:g} % full.")
        self._note(cpu_c is not None and cpu_c > MOST_CPU_C, TOO_WARM, f"The processor is at {cpu_c} degC.")
        self._note(ipv4 is None, NO_NETWORK, "There is no network.")
        self._check_rail(now)

    def _check_rail(self, now: str) -> None:
        with self._logged():
            voltage_v = open_aux_voltage(self.hardware.i2c, self.hardware.board).read_voltage_v(0.05)
            self.runtime.publish({"voltage_on_pwm_rail": {"voltage": voltage_v, "timestamp": now}})
            is_low = voltage_v <= LOWEST_RAIL_V and self._computer.is_undervolted() in (True, None)
            self._note(is_low, LOW_VOLTAGE, f"The supply of the outputs is low: {voltage_v:g} V.")

    def _note(self, is_wrong: bool, code: int, message: str) -> None:
        if is_wrong:
            log.warning("%s", message)
            self._codes.append(code)

    def _versions(self) -> dict[str, Any]:
        firmware = None
        with self._logged():
            entry = self.hardware.board.adc.get("aux")
            adc = None if entry is None else open_adc(self.hardware.i2c, entry)
            firmware = ".".join(map(str, adc.firmware_version)) if isinstance(adc, Pico) else None
        return {
            "app": __version__,
            "hat": self.hardware.board.hat_version,
            "firmware": firmware,
            "hat_serial": self._computer.hat_serial(),
            "rpi_machine": self._computer.machine() or os.uname().machine,
            "timestamp": self.runtime.utc_timestamp(),
        }

    def set_versions(self, versions: Any) -> None:
        """Add versions that others know of, such as those of a user interface, to the published ones."""
        known = self.runtime.published["versions"]
        self.runtime.publish({"versions": {**known, **versions} if isinstance(versions, dict) else known})

    # The panel

    def _look_at_button(self) -> None:
        """Light the LED while the button is down, so that a person finds this unit among others."""
        if self._button is None or self._led is None:
            return
        is_down = self._button.pressed
        if is_down != self._was_down:
            self._was_down = is_down
            self._led.set_on(is_down)
            self.runtime.publish({"button_down": is_down})

    def _show_next_code(self) -> None:
        """Blink one error code: two seconds on, then as many blinks as its number."""
        if not self._codes or self._led is None:
            return
        code = self._codes.popleft()
        try:
            self._led.set_on(True)
            self.runtime.wait(2.0)
            self._led.set_on(False)
            self.runtime.wait(0.25)
            for _ in range(code):
                self._led.set_on(True)
                self.runtime.wait(0.25)
                self._led.set_on(False)
                self.runtime.wait(0.25)
        finally:
            self._led.set_on(False)

    @staticmethod
    @contextlib.contextmanager
    def _logged() -> Any:
        """Go on without a part that does not answer, and say so."""
        try:
            yield
        except HardwareFault as ex:
            log.warning("%s", ex)

    def on_trouble(self, error: HardwareFault) -> None:
        """Do without the panel, which is what a tick can fail of, rather than end."""
        self._led, self._button = None, None

    def close(self) -> None:
        """Leave the LED off."""
        for part in (self._led, self._button):
            if part is not None:
                part.close()
        self._led = self._button = None
