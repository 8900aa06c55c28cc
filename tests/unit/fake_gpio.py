"""A hand-written `RPi.GPIO` that records what it is told, for the tests of single devices."""


class FakeGPIO:
    BCM, IN, OUT, LOW, HIGH = 11, 1, 0, 0, 1
    PUD_OFF, PUD_DOWN, PUD_UP = 20, 21, 22
    RISING, FALLING, BOTH = 31, 32, 33

    def __init__(self, *, edge_detection=True, fail_on=()):
        self.calls = []
        self.callback = None
        self.read_level = lambda: 1
        self._edge_detection = edge_detection
        self.fail_on = set(fail_on)  # names, or (name, pin)

    def _record(self, name, *args):
        self.calls.append((name, *args))
        if name in self.fail_on or (name, args[0]) in self.fail_on:
            raise RuntimeError(f"{name} refused")

    def setup(self, channel, direction, pull_up_down=PUD_OFF, initial=-1):
        self._record("setup", channel, direction, pull_up_down, initial)

    def output(self, channel, value):
        self._record("output", channel, value)

    def input(self, channel):
        if "input" in self.fail_on:
            raise RuntimeError("input refused")
        return self.read_level()

    def PWM(self, channel, frequency):  # noqa: N802
        self._record("PWM", channel, frequency)
        return FakePWM(self, channel)

    def add_event_detect(self, channel, edge, callback=None, bouncetime=None):
        self._record("add_event_detect", channel, edge)
        if not self._edge_detection:
            raise RuntimeError("Failed to add edge detection")
        self.callback = callback

    def remove_event_detect(self, channel):
        self._record("remove_event_detect", channel)

    def cleanup(self, channel):
        self._record("cleanup", channel)
        self.callback = None


class FakePWM:
    def __init__(self, gpio, channel):
        self._gpio = gpio
        self._channel = channel

    def start(self, duty_cycle):
        self._gpio._record("start", self._channel, duty_cycle)

    def ChangeDutyCycle(self, duty_cycle):  # noqa: N802
        self._gpio._record("ChangeDutyCycle", self._channel, duty_cycle)

    def stop(self):
        self._gpio._record("stop", self._channel)

    def __del__(self):
        self._gpio.calls.append(("dropped", self._channel))
