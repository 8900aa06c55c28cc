"""Put one misuse after another to a GPIO library, each in a process of its own; print what came of it as JSON.

`python misuse.py real` on a Pi, `python misuse.py simulated FOLDER` anywhere. The library's state belongs to its
process (numbering mode, directions, whether the registers are open), so each case begins with a fresh one.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

BCM = "G.setmode(G.BCM)"
OUT = f"{BCM}; G.setup(17, G.OUT, initial=0)"
IN = f"{BCM}; G.setup(4, G.IN, pull_up_down=G.PUD_UP)"
PWM = f"{OUT}; pwm = G.PWM(17, 200); pwm.start(100)"
SOON = "time.sleep(0.05)"

CASES = (
    "G.setmode('BCM')",
    "G.setmode(None)",
    "G.setmode(5)",
    "G.setmode(mode=G.BCM)",
    f"{BCM}; G.setmode(5)",
    f"{BCM}; G.setmode(G.BOARD)",
    f"{OUT}; G.cleanup(); G.setmode(G.BOARD); look(G.gpio_function(11))",
    "G.setwarnings('no')",
    "G.setwarnings(0); G.cleanup()",
    # clean-up
    "G.cleanup()",
    "G.cleanup(17)",
    "G.cleanup(99)",
    "G.cleanup('17')",
    "G.cleanup(None)",
    f"{BCM}; G.cleanup()",
    f"{BCM}; G.cleanup(99)",
    f"{BCM}; G.cleanup([17, 'x'])",
    f"{BCM}; G.gpio_function(17); G.cleanup()",
    f"{BCM}; G.gpio_function(17); G.cleanup(99)",
    f"{OUT}; G.cleanup(99)",
    f"{OUT}; G.cleanup([17, 'x'])",
    f"{OUT}; G.cleanup(); G.cleanup(17)",
    f"{OUT}; G.cleanup(); G.cleanup()",
    f"{OUT}; G.cleanup(4)",
    f"{OUT}; G.cleanup(channel=(17,)); G.output(17, 1)",
    # setup
    "G.setup(17, G.OUT)",
    "G.setup(17, 7)",
    "G.setup('17', 7)",
    f"{BCM}; G.setup(17)",
    f"{BCM}; G.setup(17, 'out')",
    f"{BCM}; G.setup(17, None)",
    f"{BCM}; G.setup(17.0, G.OUT)",
    f"{BCM}; G.setup(None, G.OUT)",
    f"{BCM}; G.setup({{17}}, G.OUT)",
    f"{BCM}; G.setup([17, '4'], G.OUT, initial=1); look(G.input(17))",
    f"{BCM}; G.setup([17, '4'], G.OUT, initial=1)",
    f"{BCM}; G.setup([17, 99], 7)",
    f"{BCM}; G.setup([], G.OUT)",
    f"{BCM}; G.setup(17, G.OUT, initial=None)",
    f"{BCM}; G.setup(17, G.OUT, initial=7); look(G.input(17))",
    f"{BCM}; G.setup(17, G.OUT, initial=True); look(G.input(17))",
    f"{BCM}; G.setup(17, G.OUT, pull_up_down=G.PUD_UP)",
    f"{BCM}; G.setup(17, G.OUT, pull_up_down=5)",
    f"{BCM}; G.setup(4, G.IN, initial=0)",
    f"{BCM}; G.setup(4, G.IN, initial=-1)",
    f"{BCM}; G.setup(4, G.IN, pull_up_down=None)",
    f"{BCM}; G.setup(4, G.IN, pull_up_down=5)",
    f"{BCM}; G.setup(channel=4, direction=G.IN)",
    f"{BCM}; G.setup(pin=4, direction=G.IN)",
    f"{BCM}; G.setup(2, G.IN, pull_up_down=G.PUD_UP)",
    f"{BCM}; G.setup(3, G.IN)",
    "G.setmode(G.BOARD); G.setup(41, G.IN)",
    "G.setmode(G.BOARD); G.setup(6, G.IN)",
    f"{OUT}; G.setup(17, G.IN); G.output(17, 1)",
    # output and input
    "G.output(17, 1)",
    f"{BCM}; G.output(17, 1)",
    f"{BCM}; G.output(17, 'high')",
    f"{BCM}; G.output('17', 'high')",
    f"{IN}; G.output(4, 1)",
    f"{OUT}; G.output(99, 1)",
    f"{OUT}; G.output(17, None)",
    f"{OUT}; G.output(17, 1.0)",
    f"{OUT}; G.output(17, [1])",
    f"{OUT}; G.output([17], [])",
    f"{OUT}; G.output([17], [1, 0])",
    f"{OUT}; G.output([17], ['x'])",
    f"{OUT}; G.output([99], ['x'])",
    f"{OUT}; G.output([17, '4'], 1)",
    f"{OUT}; G.output(['17'], [1, 0])",
    f"{OUT}; G.output([], [])",
    f"{OUT}; G.output(17, 5); look(G.input(17))",
    f"{OUT}; G.output((17,), (True,)); look(G.input(17))",
    f"{OUT}; G.output(channel=17, value=1)",
    f"{OUT}; G.output(17)",
    "G.input(17)",
    "G.input('17')",
    f"{BCM}; G.input(17)",
    f"{BCM}; G.input(99)",
    f"{BCM}; G.input(channel=17)",
    f"{BCM}; G.gpio_function(99)",
    f"{BCM}; G.gpio_function('17')",
    # PWM
    "G.PWM(17, 200)",
    f"{BCM}; G.PWM(17, 200)",
    f"{BCM}; G.PWM(99, 200)",
    f"{BCM}; G.PWM(17, 'x')",
    f"{BCM}; G.PWM('17', 200)",
    f"{BCM}; G.PWM(17, 0)",
    f"{BCM}; G.PWM(17)",
    f"{OUT}; G.PWM(17, 0)",
    f"{OUT}; G.PWM(17, -1)",
    f"{OUT}; G.PWM(17, None)",
    f"{OUT}; G.PWM(channel=17, frequency=200)",
    f"{OUT}; pwm = G.PWM(17, 200); pwm.start(dutycycle=10)",
    f"{OUT}; pwm = G.PWM(17, 200); pwm.start()",
    f"{OUT}; pwm = G.PWM(17, 200); pwm.start('x')",
    f"{OUT}; pwm = G.PWM(17, 200); pwm.start(100.1)",
    f"{OUT}; pwm = G.PWM(17, 200); pwm.ChangeDutyCycle(-1)",
    f"{OUT}; pwm = G.PWM(17, 200); pwm.ChangeDutyCycle(None)",
    f"{OUT}; pwm = G.PWM(17, 200); pwm.ChangeFrequency(0)",
    f"{OUT}; pwm = G.PWM(17, 200); pwm.ChangeFrequency('x')",
    f"{OUT}; pwm = G.PWM(17, 200); pwm.stop(); pwm.stop(); G.PWM(17, 200)",
    f"{OUT}; pwm = G.PWM(17, 200); pwm.stop(); pwm.ChangeDutyCycle(5); G.PWM(17, 200)",
    f"{OUT}; pwm = G.PWM(17, 200); G.PWM(17, 0)",
    f"{PWM}; {SOON}; look(G.input(17))",
    f"{PWM}; {SOON}; refuse(G.PWM, 17, 200); {SOON}; look(G.input(17))",
    f"{PWM}; {SOON}; refuse(G.PWM, 17, 200); G.PWM(17, 200)",
    f"{PWM}; {SOON}; refuse(G.PWM, 17, 'x'); {SOON}; look(G.input(17))",
    f"{PWM}; G.output(17, 0); G.cleanup(17); look(G.gpio_function(17)); pwm.stop()",
    f"{PWM}; G.cleanup(17); G.setup(17, G.OUT); {SOON}; look(G.input(17))",
    f"{PWM}; G.setup(17, G.OUT, initial=0); {SOON}; pwm.stop(); {SOON}; look(G.input(17))",
    # edges, as far as none has to come
    "G.add_event_detect(4, G.FALLING)",
    "G.add_event_detect('4', G.FALLING)",
    "G.add_event_detect(4, G.FALLING, 5)",
    f"{BCM}; G.add_event_detect(4, G.FALLING)",
    f"{BCM}; G.add_event_detect(4, 'falling')",
    f"{OUT}; G.add_event_detect(17, G.FALLING)",
    f"{IN}; G.add_event_detect(4, 5)",
    f"{IN}; G.add_event_detect(4, G.FALLING, callback=None)",
    f"{IN}; G.add_event_detect(4, G.FALLING, callback='x')",
    f"{IN}; G.add_event_detect(4, G.FALLING, print, None)",
    f"{IN}; G.add_event_detect(4, G.FALLING, bouncetime=None)",
    f"{IN}; G.add_event_detect(4, G.FALLING, bouncetime=1.5)",
    f"{IN}; G.add_event_detect(4, G.FALLING, bouncetime=0)",
    f"{IN}; G.add_event_detect(4, 5, bouncetime=0)",
    f"{IN}; G.add_event_detect(gpio=4, edge=5)",
    f"{IN}; G.add_event_detect(channel=4, edge=5)",
    f"{IN}; G.add_event_callback(4, print)",
    f"{IN}; G.add_event_callback(4, None)",
    f"{IN}; G.add_event_callback(gpio=4, callback=print)",
    f"{OUT}; G.add_event_callback(17, print)",
    f"{BCM}; G.event_detected(99)",
    f"{BCM}; look(G.event_detected(4))",
    f"{BCM}; G.remove_event_detect(4)",
    f"{BCM}; G.remove_event_detect(99)",
    f"{BCM}; G.remove_event_detect('4')",
    f"{IN}; G.remove_event_detect(4)",
    f"{BCM}; G.wait_for_edge(4, G.FALLING)",
    f"{IN}; G.wait_for_edge(4, 5)",
    f"{IN}; G.wait_for_edge(4, G.FALLING, timeout=0)",
    f"{IN}; G.wait_for_edge(4, G.FALLING, timeout=-2)",
    f"{IN}; G.wait_for_edge(4, G.FALLING, timeout=None)",
    f"{IN}; G.wait_for_edge(4, G.FALLING, bouncetime=0)",
    f"{IN}; G.wait_for_edge(4, G.FALLING, bouncetime=None)",
    f"{IN}; G.wait_for_edge(4, G.FALLING, timeout='x')",
)


def outcome(gpio: Any, case: str) -> dict[str, Any]:
    """Run one case and say what came of it, in words that do not depend on the library."""
    seen: list[Any] = []

    def refuse(function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception as ex:
            seen.append(type(ex).__name__)

    raised = None
    names = {"G": gpio, "look": seen.append, "refuse": refuse, "time": time}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            exec(case, names)
        except TypeError:
            raised = ["TypeError"]  # its words are Python's
        except Exception as ex:
            raised = [type(ex).__name__, str(ex)]
        mode = gpio.getmode()
    return {
        "raised": raised,
        "warned": [f"{each.category.__name__}: {each.message}" for each in warned],
        "mode": mode,
        "seen": seen,
    }


def main(which: str, folder: str = "") -> None:
    outcomes = {}
    for number, case in enumerate(CASES):
        if which == "real":
            Path("/dev/gpiomem").write_bytes(bytes(4096))  # the case before left its pins as they were
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            if which == "real":
                gpio: Any = importlib.import_module("RPi.GPIO")
            else:
                from reactor_unit.drivers.simulation.gpio import SimulatedGPIO

                gpio = SimulatedGPIO(Path(folder) / f"plant{number}.bin")
            signal.alarm(3)  # a case that waits for ever has an outcome as well: SIGALRM
            os.write(writing, json.dumps(outcome(gpio, case)).encode())
            os._exit(0)  # an orderly end unmaps the registers under the PWM's thread
        os.close(writing)
        with open(reading, "rb") as pipe:
            outcomes[case] = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        outcomes[case] = json.loads(outcomes[case]) if status == 0 else {"status": status}
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
