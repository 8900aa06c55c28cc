"""Checks of what everything else stands on: GPIO library, wall clock, I2C bus, PWM outputs and their supply."""

from pathlib import Path

from ..board import HEATER_ROLE
from ..claims import OutputClaimed
from ..errors import HardwareFault
from ..hall_sensor import HallSensor
from ..hardware import PI
from ..heater import FREQUENCY_HZ as HEATER_HZ
from ..photodiodes import open_aux_voltage
from ..pump import DEFAULT_FREQUENCY_HZ as PUMP_HZ
from ..sysfs_pwm import CHANNELS
from .bench import FAIL, OK, SKIPPED, Bench, Finding
from .enabled import BOOT_CONFIG, STRICT_LINE

PERSISTS = Path("/sys/module/pinctrl_bcm2835/parameters/persist_gpio_outputs")
LARGEST_JUMP_S = 5.0
"""s. More than a slewing time service moves a clock in a while, less than anybody wants in a record."""
LOWEST_SUPPLY_V, HIGHEST_SUPPLY_V = 4.80, 18.0
"""V. Below, a Raspberry Pi is short of power; above, nothing on the HAT is made for it."""
PI_SUPPLY_V = 5.5  # V. Up to here it is the Raspberry Pi's own
# Some EEPROMs take an empty write for a command, so nobody writes to where they are, as with i2cdetect.
_SCANNED = tuple(address for address in range(0x08, 0x78) if address not in range(0x30, 0x38) and address >> 4 != 0x5)
_GROUP = "Put this user into the group gpio and log in again; end whatever else uses the pin."


def check_gpio(bench: Bench) -> Finding:
    """Name the GPIO library, and see whether it gives access to a pin and detects edges."""
    library = _library(bench)
    try:
        with HallSensor(bench.hardware.gpio, bench.board.hall_sensor_pin, clock=bench.clock) as hall:
            hall.measure_rpm(0.0, bench.wait)
            polls = hall.polls
    except OutputClaimed:
        raise
    except HardwareFault as ex:
        return Finding("gpio", FAIL, f"{library} gives no access: {ex} {ex.cause}", _GROUP)
    edges = "finds no edges, so the hall sensor is polled every millisecond" if polls else "detects edges"
    return Finding("gpio", OK, f"{library} gives access to the pins and {edges}.")


def check_persistence(bench: Bench, parameter: Path = PERSISTS) -> Finding:
    """See whether the kernel leaves the outputs of a dead process on."""
    name = "dead_process"
    if bench.hardware.kind != PI:
        return Finding(name, SKIPPED, "Whether a dead process leaves its outputs on is up to a Raspberry Pi's kernel.")
    try:
        persists = parameter.read_text(encoding="ascii").strip()
    except OSError as ex:
        return Finding(name, SKIPPED, f"{parameter} cannot be read: {ex.strerror}.")
    if persists in ("N", "0"):
        return Finding(name, OK, "The kernel turns the outputs of a dead process off.")
    return Finding(
        name,
        FAIL,
        f"The kernel leaves the outputs of a dead process on (persist_gpio_outputs is {persists}).",
        f"Add {STRICT_LINE} to {BOOT_CONFIG} and restart the Pi; hardware PWM stays as it is.",
    )


def check_wall_clock(bench: Bench) -> Finding:
    """Compare how far the wall clock came since the unit's start with how much time passed."""
    jump_s = bench.clock_jump_s()
    if jump_s is None:
        return Finding("wall_clock", SKIPPED, "No unit serves, so there is no start to compare the wall clock with.")
    if abs(jump_s) <= LARGEST_JUMP_S:
        return Finding("wall_clock", OK, f"The wall clock kept time within {LARGEST_JUMP_S:g} s since the start.")
    way = "ahead" if jump_s > 0 else "back"
    return Finding(
        "wall_clock",
        FAIL,
        f"The wall clock has jumped {way} by {abs(jump_s):.0f} s ({abs(jump_s) / 86400:.1f} days) since the start.",
        "Check date and time service (`timedatectl`); records from before and after the jump do not compare. "
        "Intervals and running jobs are not affected; restart the unit when the time is right.",
    )


def check_i2c(bench: Bench) -> Finding:
    """Compare the addresses that answer with those that HAT and model need."""
    try:
        bus = bench.hardware.i2c
        found = set(bus.scan(_SCANNED))
        needed = bench.needs.settle_adc(lambda address: address in found or bus.answers(address))
        missing = [address for address in needed.i2c_addresses if address not in found and not bus.answers(address)]
    except HardwareFault as ex:
        return Finding("i2c", FAIL, f"{ex} {ex.cause}", ex.remediation)
    others = sorted(found - set(needed.i2c_addresses))
    beside = f"; {_listed(others)} not needed by this model" if others else ""
    if missing:
        chips = ", ".join(f"0x{address:02x} ({'/'.join(sorted(needed.drivers_at(address)))})" for address in missing)
        remedy = "Check the cables and plugs of what is missing, and that the configured model is the one attached."
        verb = "does" if len(missing) == 1 else "do"
        return Finding("i2c", FAIL, f"On {bus.name}, {chips} {verb} not answer{beside}.", remedy)
    return Finding("i2c", OK, f"On {bus.name}, {_listed(needed.i2c_addresses)}, as HAT and model need{beside}.")


def _listed(addresses: tuple[int, ...] | list[int]) -> str:
    return f"{', '.join(f'0x{address:02x}' for address in addresses)} {'answers' if len(addresses) == 1 else 'answer'}"


def check_pwm(bench: Bench) -> Finding:
    """Open each PWM output, off, and see that it is off afterwards."""
    held, faults = [], []
    roles = _roles(bench)
    for pin, role in roles.items():
        try:
            frequency_hz = {HEATER_ROLE: HEATER_HZ, "stirring": bench.stirring_hz}.get(role, PUMP_HZ)
            bench.hardware.open_pwm(pin, frequency_hz).close()
            if _is_on(bench, pin):
                faults.append(f"GPIO {pin} ({role}) stays on.")
        except OutputClaimed as ex:
            held.append(f"GPIO {pin} ({role}): {ex}")
        except HardwareFault as ex:
            faults.append(f"GPIO {pin} ({role}): {ex} {ex.cause}")
    if faults:
        return Finding("pwm", FAIL, " ".join(faults), f"Enable what docs/hardware.md says. {_GROUP}")
    if held:
        return Finding("pwm", SKIPPED, " ".join(held), "Stop the jobs, then check again.")
    has_hardware = CHANNELS if bench.hardware.pwm_root is not None else {}
    kinds = {
        "hardware PWM": [f"{pin} ({role})" for pin, role in roles.items() if pin in has_hardware],
        "software PWM": [f"{pin} ({role})" for pin, role in roles.items() if pin not in has_hardware],
    }
    which = "; ".join(f"{kind} on GPIO {', '.join(pins)}" for kind, pins in kinds.items() if pins)
    return Finding("pwm", OK, f"{which[:1].upper()}{which[1:]}; each opens and is off.")


def _roles(bench: Bench) -> dict[int, str]:
    """Return what each PWM pin drives, without those that drive nothing."""
    board = bench.board
    roles = {pin: bench.assignment.get(channel, "") for channel, pin in board.pwm_to_pin.items()}
    roles[board.pwm_to_pin[board.heater_pwm_channel]] = HEATER_ROLE
    return {pin: role for pin, role in roles.items() if role}


def _is_on(bench: Bench, pin: int) -> bool:
    root = bench.hardware.pwm_root
    try:
        if root is not None and pin in CHANNELS:
            return root.read(f"pwm{CHANNELS[pin]}/duty_cycle") != "0"
        return bool(bench.hardware.gpio.input(pin))
    except (OSError, RuntimeError, ValueError) as ex:
        raise HardwareFault(f"GPIO {pin} cannot be read back.", cause=str(ex)) from ex


def check_supply(bench: Bench) -> Finding:
    """Measure the supply of the PWM outputs."""
    if "aux" not in bench.board.adc:
        return Finding("supply", SKIPPED, f"HAT {bench.board.hat_version} does not measure the outputs' supply.")
    voltage_v = open_aux_voltage(bench.hardware.i2c, bench.board).read_voltage_v(0.05)
    said = f"The PWM outputs are supplied with {voltage_v:.2f} V"
    if voltage_v <= LOWEST_SUPPLY_V:
        remedy = "Use the Raspberry Pi's own power supply and a short cable; unplug other loads."
        return Finding("supply", FAIL, f"{said}, too little: it has to be above {LOWEST_SUPPLY_V:.2f} V.", remedy)
    if voltage_v > HIGHEST_SUPPLY_V:
        remedy = "Unplug the auxiliary supply now: it is not the 12 V one that belongs to the reactor."
        return Finding("supply", FAIL, f"{said}, too much: the limit is {HIGHEST_SUPPLY_V:.1f} V.", remedy)
    source = "the Raspberry Pi's" if voltage_v <= PI_SUPPLY_V else "the auxiliary supply's"
    return Finding("supply", OK, f"{said}, {source}.")


def _library(bench: Bench) -> str:
    if bench.hardware.kind != PI:
        return "The simulated GPIO library"
    from importlib import metadata  # 0.7 MB that a serving process does without

    for name in ("rpi-lgpio", "RPi.GPIO"):
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return f"RPi.GPIO {getattr(bench.hardware.gpio, 'VERSION', 'of unknown version')}"
