"""What is measured as a voltage: the photodiodes, and the supply of the PWM outputs."""

from collections.abc import Callable, Iterable, Mapping

from .adc import ADC, ADS1114, ADS1115, Gain, Sample, gain_for
from .board import ADCInput, Board
from .errors import HardwareFault
from .i2c import Chip, I2CBus
from .pico import Pico

AUX_DIVIDER = 0.134  # V at the ADC for each V of the supply, from the HAT's schematic
_HAT = "Check that the HAT sits on all pins of the Raspberry Pi; if it does, restart the Pi, which loads its firmware."
_PHOTODIODE_BOARD = "Check the photodiode's cable, and that the configured model is the one that is attached."


class Saturated(HardwareFault):
    """An input is at or beyond the end of its ADC's range: how far is not known."""


class Photodiodes:
    """Read the photodiodes, each through the ADC it is wired to.

    `inputs` says for each channel, "1".., which ADC and which of its inputs. Each channel keeps the range (gain) it
    is given. There is nothing to close.
    """

    def __init__(self, inputs: Mapping[str, tuple[ADC, int]]) -> None:
        self._inputs = dict(inputs)
        self._gains = dict.fromkeys(self._inputs, Gain.ONE)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that can be read."""
        return tuple(self._inputs)

    def sample(self, pd_channel: str) -> Sample:
        """Convert a channel once, in its range; a saturated sample is returned as such. Raises HardwareFault."""
        adc, channel = self._input(pd_channel)
        return adc.read(channel, self._gains[pd_channel])

    def read_voltage_v(self, pd_channel: str) -> float:
        """Return a channel's voltage in V, one conversion.

        A range that is too fine is left for the one of 4.096 V. Raises Saturated when that is too fine as well.
        """
        sample = self.sample(pd_channel)
        if sample.saturated and self.gain(pd_channel).full_scale_v < Gain.ONE.full_scale_v:
            self.set_gain(pd_channel, Gain.ONE)
            sample = self.sample(pd_channel)
        if sample.saturated:
            adc, _ = self._input(pd_channel)
            raise Saturated(
                f"Photodiode {pd_channel} is beyond the range of its ADC: {sample.voltage_v:.3f} V or more.",
                cause=f"{adc.chip.where} gives its last code, {sample.raw}.",
                remediation="Lower the LED's intensity, or keep ambient light away from the vial.",
            )
        return sample.voltage_v

    def gain(self, pd_channel: str) -> Gain:
        """Return the range of a channel."""
        self._input(pd_channel)
        return self._gains[pd_channel]

    def set_gain(self, pd_channel: str, gain: Gain) -> None:
        """Read a channel in this range from now on; an ADC with a single range stays in that."""
        adc, _ = self._input(pd_channel)
        self._gains[pd_channel] = gain if gain in adc.gains else adc.gains[0]

    def fit_gain(self, pd_channel: str, voltage_v: float) -> Gain:
        """Take the finest range that holds this voltage with 15 % to spare, and return it."""
        self.set_gain(pd_channel, gain_for(voltage_v))
        return self._gains[pd_channel]

    def _input(self, pd_channel: str) -> tuple[ADC, int]:
        if pd_channel not in self._inputs:
            raise HardwareFault(
                f"There is no photodiode channel {pd_channel!r}.",
                cause=f"This reactor has the channels {', '.join(self._inputs)}.",
                remediation="Correct [od_config.photodiode_channel], or the reactor's model.",
            )
        return self._inputs[pd_channel]


class AuxVoltage:
    """Read the supply of the PWM outputs: 5 V from the Raspberry Pi, or the auxiliary supply."""

    def __init__(self, adc: ADC, channel: int) -> None:
        self._adc = adc
        self._channel = channel

    def read_voltage_v(self, precision_v: float = 0.1) -> float:
        """Return the supply's voltage in V, rounded to a multiple of `precision_v`."""
        sample = self._adc.read(self._channel)
        if sample.saturated:
            raise Saturated(
                f"The outputs' supply is above {sample.voltage_v / AUX_DIVIDER:.1f} V, the range of its ADC.",
                remediation="Unplug the auxiliary supply: it is not the 12 V one that belongs to the reactor.",
            )
        voltage_v = sample.voltage_v / AUX_DIVIDER
        return round(round(voltage_v / precision_v) * precision_v, 10)


def open_photodiodes(
    bus: I2CBus,
    board: Board,
    channels: Iterable[str] | None = None,
    claim_chip: Callable[[int], object] = lambda _address: None,
) -> Photodiodes:
    """Open the ADCs of some photodiode channels, or of all; raises HardwareFault for one that does not answer.

    Where a model is built in several ways, the way whose chips answer is taken. `claim_chip(address)` is called before
    an ADC is opened that keeps the range it was set to last, so that only one process sets it.
    """
    if board.other_adc:
        board = board.settle_adc(bus.answers)
    adcs: dict[int, ADC] = {}
    inputs: dict[str, tuple[ADC, int]] = {}
    for channel in board.photodiode_channels if channels is None else channels:
        entry = board.adc.get(f"pd{channel}")
        if entry is None:
            raise HardwareFault(
                f"There is no photodiode channel {channel!r}.",
                cause=f"This reactor has the channels {', '.join(board.photodiode_channels)}.",
                remediation="Correct [od_config.photodiode_channel], or the reactor's model.",
            )
        _check_alone(board, channel, entry)
        if entry.address not in adcs:
            if entry.driver == "ads1114":
                claim_chip(entry.address)
            of = f" of photodiode {channel}" if entry.driver == "ads1114" else ""
            adcs[entry.address] = open_adc(bus, entry, of)
        inputs[channel] = adcs[entry.address], entry.channel
    return Photodiodes(inputs)


def _check_alone(board: Board, channel: str, entry: ADCInput) -> None:
    """Raise HardwareFault where another kind of chip has the address: what is written would go to that one too.

    With HAT 1.0 and the optics of the 1.5 models, the configuration of an ADC would light LEDs.
    """
    drivers = board.drivers_at(entry.address)
    if len(drivers) > 1:
        raise HardwareFault(
            f"Photodiode {channel} cannot be read: two chips have the address 0x{entry.address:02x}.",
            cause=f"HAT {board.hat_version} and the reactor's model put {' and '.join(sorted(drivers))} there.",
            remediation="Choose the model that is attached; HAT 1.0 does not work with the optics of the 1.5 models.",
        )


def open_aux_voltage(bus: I2CBus, board: Board) -> AuxVoltage:
    """Open the ADC of the outputs' supply; raises HardwareFault unless it is there."""
    if "aux" not in board.adc:
        raise HardwareFault(f"HAT {board.hat_version} does not measure the outputs' supply.")
    entry = board.adc["aux"]
    return AuxVoltage(open_adc(bus, entry), entry.channel)


def open_adc(bus: I2CBus, entry: ADCInput, of: str = "") -> ADC:
    """Open the ADC behind an entry of the board; raises HardwareFault unless it is there."""
    if entry.driver == "ads1114":
        return ADS1114(Chip(bus, entry.address, f"The ADC{of} (ADS1114)", _PHOTODIODE_BOARD))
    if entry.driver == "ads1115":
        return ADS1115(Chip(bus, entry.address, f"The ADC{of} (ADS1115)", _HAT))
    return Pico(Chip(bus, entry.address, f"The ADC{of} (RP2040)", _HAT))
