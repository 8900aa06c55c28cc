"""The simulated reactor on a virtual clock with the real drivers in front of it, in this process."""

import contextlib

from reactor_unit.drivers import board
from reactor_unit.drivers.claims import Claims
from reactor_unit.drivers.hall_sensor import HallSensor
from reactor_unit.drivers.hardware import SIMULATED, Hardware
from reactor_unit.drivers.heater import open_thermometer
from reactor_unit.drivers.i2c import I2CBus
from reactor_unit.drivers.leases import LeaseTable
from reactor_unit.drivers.simulation.clock import VirtualClock
from reactor_unit.drivers.simulation.gpio import SimulatedGPIO
from reactor_unit.drivers.simulation.smbus import SimulatedSMBus
from reactor_unit.drivers.stirrer import Stirrer


class PlantWithDrivers:
    """A plant, its clock, and drivers that are opened when they are first asked for."""

    def __init__(self, tmp_path, seed=1):
        self.clock = VirtualClock(1000.0)
        self._open = contextlib.ExitStack()
        self.gpio = SimulatedGPIO(tmp_path / "plant.bin", clock=self.clock, seed=seed)
        self._open.callback(self.gpio.close)
        self.gpio.setmode(self.gpio.BCM)
        self.plant = self.gpio.plant
        self.board = board.load(board.DEFAULT_HAT_VERSION)
        smbus = SimulatedSMBus(self.plant, self.board, clock=self.clock)
        self.bus = I2CBus(smbus, wait=self.clock.sleep, clock=self.clock)
        claims = Claims(tmp_path / "claims", "this test", LeaseTable(self.clock))
        self._open.callback(claims.close)
        self.hardware = Hardware(SIMULATED, self.gpio, self.board, claims, self.gpio, _i2c=self.bus)

    def stirrer(self):
        pwm = self.hardware.open_pwm(17, 200.0)
        return self._open.enter_context(Stirrer(pwm, HallSensor(self.gpio, 21, clock=self.clock)))

    def heater(self):
        return self._open.enter_context(self.hardware.open_heater())

    def thermometer(self):
        return open_thermometer(self.bus, self.board)

    def photodiodes(self):
        return self.hardware.open_photodiodes()

    def leds(self):
        return self._open.enter_context(self.hardware.open_leds({"A": "IR"}))

    def close(self):
        self._open.close()
