"""Hand-written stand-ins on the I2C side: a bus that records bytes, a plant that is told what to be, and a clock."""

import errno
import os


class FakeSMBus:
    """Registers by address and number; `transfers` is what went over the wire, failed ones included.

    `errors` are raised by the next transfers, in order; None lets one pass.
    """

    def __init__(self, **chips):
        self.chips = {int(name.removeprefix("x"), 16): dict(registers) for name, registers in chips.items()}
        self.transfers = []
        self.errors = []
        self.closed = 0
        self.on_write = lambda address, register, data: None

    def _begin(self, address, *transfer):
        self.transfers.append((hex(address), *transfer))
        error = self.errors.pop(0) if self.errors else None
        if error is None and address not in self.chips:
            error = errno.EREMOTEIO
        if error is not None:
            raise OSError(error, os.strerror(error))

    def write_quick(self, i2c_addr):
        self._begin(i2c_addr, "probe")

    def read_i2c_block_data(self, i2c_addr, register, length):
        self._begin(i2c_addr, "read", register, length)
        value = self.chips[i2c_addr].get(register, b"\xff" * length)
        if isinstance(value, list):  # one after the other, the last one for good
            value = value.pop(0) if len(value) > 1 else value[0]
        return list(value[:length])

    def write_i2c_block_data(self, i2c_addr, register, data):
        self._begin(i2c_addr, "write", register, bytes(data).hex())
        self.chips[i2c_addr][register] = bytes(data)
        self.on_write(i2c_addr, register, bytes(data))

    def close(self):
        self.closed += 1


class FakePlant:
    """What the simulated chips measure and drive, as plain attributes."""

    speed = 1.0

    def __init__(self):
        self.photodiodes_v = {"1": 0.5, "2": 0.25, "3": 1.0, "4": 2.0}
        self.supply_v = 12.0
        self.board_temperature_c = 30.0
        self.leds = dict.fromkeys("ABCD", 0.0)
        self.broken = set()

    def photodiode_voltage_v(self, pd_channel):
        return self.photodiodes_v[pd_channel]

    def aux_voltage_v(self):
        return 0.134 * self.supply_v  # as the ADC sees it

    def heater_board_temperature_c(self):
        return self.board_temperature_c

    def set_led(self, channel, percent):
        self.leds[channel] = percent

    def led(self, channel):
        return self.leds[channel]

    def faults(self):
        return frozenset(self.broken)


class FakeTime:
    """A clock that moves only by waiting; `waits` lists how long each wait was."""

    def __init__(self):
        self.now_s = 100.0
        self.waits = []

    def clock(self):
        return self.now_s

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now_s += seconds
