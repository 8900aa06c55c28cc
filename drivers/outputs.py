"""Make outputs safe whose owner is gone."""

from collections.abc import Collection, Iterable

from .errors import HardwareFault
from .gpio_api import GPIO
from .leases import ALL_LEDS, ALL_PINS, PINS, LeaseTable, led_output, pin_output
from .leds import LED_CHANNELS, LEDs
from .sysfs_pwm import CHANNELS, PWMRoot, silence


def drive_low(gpio: GPIO, pins: Iterable[int], pwm_root: PWMRoot | None = None) -> None:
    """Make each pin (BCM number) an output at low level, whatever it was. Idempotent.

    For pins that no living process drives: the end of a process leaves its outputs as they were. Every pin is
    tried; then HardwareFault names those that failed.

    With `pwm_root`, the pins of the hardware PWM are turned off there and stay connected to it. Only if that fails
    are they taken from it, which makes them low now and costs the hardware PWM until the next boot.
    """
    failed: dict[int, Exception] = {}
    for pin in pins:
        try:
            if not _silenced(pwm_root, pin):
                # `initial` is written before the direction changes, so a pin that was an input never shows an old high
                # level. The second write is for libraries that take `initial` only for a line they newly claim.
                gpio.setup(pin, gpio.OUT, initial=gpio.LOW)
                gpio.output(pin, gpio.LOW)
        except Exception as ex:  # whatever one pin does, the others are still to be made safe
            failed[pin] = ex
    if failed:
        raise HardwareFault(
            f"GPIO {', '.join(map(str, failed))} could not be driven low.",
            cause="; ".join(f"GPIO {pin}: {ex}" for pin, ex in failed.items()),
            remediation="Cut the power of what these pins drive, then check which process holds them.",
        ) from next(iter(failed.values()))


def pins_of(outputs: Collection[str], of_board: Collection[int]) -> list[int]:
    """Return the pins (BCM numbers) that are among outputs; all of the board's for `ALL_PINS`.

    A pin that is named need not be the board's: the map may have changed since its owner opened it.
    """
    return [pin for pin in PINS if pin_output(pin) in outputs or (ALL_PINS in outputs and pin in of_board)]


def leds_of(outputs: Collection[str]) -> list[str]:
    """Return the LED channels that are among outputs."""
    return [channel for channel in LED_CHANNELS if ALL_LEDS in outputs or led_output(channel) in outputs]


def turn_leds_off(leds: LEDs, channels: Iterable[str], leases: LeaseTable) -> None:
    """Turn channels off that no living process has, and relight those that a dead one kept dark.

    Raises HardwareFault.
    """
    for channel in channels:
        leases.set_level(led_output(channel), 0.0)  # before the light: who relights finds that nobody wants it
    leds.relight()


def _silenced(pwm_root: PWMRoot | None, pin: int) -> bool:
    if pwm_root is None or pin not in CHANNELS:
        return False
    try:
        silence(pwm_root, pin)
    except OSError:
        return False
    return True
