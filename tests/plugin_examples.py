"""Plugins for tests: one that is good, and the ways in which others are broken."""

from __future__ import annotations

import sys
from pathlib import Path

BLINK = """
from reactor_unit.job_spec import JobSpec, Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.job import Job

__plugin_name__ = "blink-demo"
__plugin_version__ = "0.3"
__plugin_author__: str = "A. Biologist"


class Blink(Job):
    spec = JobSpec(
        "blink",
        "Light an LED, and count.",
        options=(Option("intensity", "float", "How bright.", default=30.0, minimum=0.0, maximum=100.0, unit="%"),),
        settings=(
            Setting("count", "integer", series=Series("blink.count")),
            Setting("intensity", "float", "%", settable=True, minimum=0.0, maximum=100.0),
        ),
    )
    interval_s = 0.05

    def start(self):
        self.leds = self.hardware.open_leds(self.config.section("leds"))
        self.count = 0
        self.set_intensity(self.options.get("intensity", 30.0))
        return 0.0

    def set_intensity(self, intensity):
        self.leds.set_intensity("B", intensity)
        self.runtime.publish({"intensity": intensity})

    def tick(self):
        self.count += 1
        self.runtime.publish({"count": self.count})

    def close(self):
        self.leds.close()
"""
HEAD = BLINK.partition("class Blink")[0]

GENTLE = """
from reactor_unit.job_spec import Option, Setting
from reactor_unit.workers.automations import DosingAutomation, Event


class Gentle(DosingAutomation):
    name = "gentle"
    help = "Exchange a little."
    options = (Option("volume_ml", "float", "How much.", default=0.5, minimum=0.1, maximum=2.0, unit="mL"),)
    settings = (Setting("volume_ml", "float", "mL", settable=True, minimum=0.1, maximum=2.0),)

    def execute(self):
        moved = self.reactor.exchange(media_ml=self.parameters["volume_ml"])
        return Event("DilutionEvent", "Exchanged a little.", moved)
"""

# What a broken plugin holds, and a part of what is said of it.
BROKEN = {
    "syntax": ("def (", "SyntaxError"),
    "not_text": ("\x00", "SyntaxError"),
    "raises": ("1 / 0", "ZeroDivisionError: division by zero (raises.py, line 1)"),
    "imports": ("import no_such_module", "No module named 'no_such_module'"),
    "exits": ("import sys; sys.exit(3)", "sys.exit(3)"),
    "exits_at_once": ("import os; os._exit(0)", "its process ended"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
    "takes_memory": ("x = b'1' * 10**9", "MemoryError"),
    "nothing": ("x = 1", "adds nothing"),
    "taken": (BLINK.replace('"blink"', '"stirring"').replace('"blink.', '"stirring.'), "'stirring' is taken"),
    "reserved": (BLINK.replace('"blink"', '"leds"').replace('"blink.', '"leds.'), "'leds' is taken"),
    "bad_name": (BLINK.replace('"blink"', '"../blink"'), "'../blink'"),
    "huge": (BLINK.replace('"Light an', '"x" * 2001 + "'), "text of up to 2000 characters"),
    "long": (BLINK.replace("options=(", "interlocks=('y' * 1000,) * 90, options=("), "more than"),
    "others_readings": (BLINK.replace('"blink.count"', '"od.90.2"'), "'od.90.2'"),
    "lacks_method": (BLINK.replace("def set_intensity", "def other"), "no method set_intensity"),
    "no_spec": (HEAD + "class NoSpec(Job):\n    interval_s = 1\n    start = tick = close = print\n", "without a spec"),
    "taken_automation": (GENTLE.replace('"gentle"', '"silent"'), "'silent' of dosing_automation is taken"),
    "own_setting": (GENTLE.replace("volume_ml", "current_volume_ml"), "of dosing_automation itself"),
    "nameless": (GENTLE.replace('name = "gentle"', ""), "without name"),
    "no_json": (BLINK.replace("default=30.0", "default=object()"), "no JSON"),
}
HANGS = "while True: pass"


def write_plugin(folder: Path, name: str, text: str) -> Path:
    """Put a plugin into a folder in one step, as an editor does."""
    folder.mkdir(exist_ok=True)
    new = folder / f".{name}.new"
    new.write_text(text)
    return new.rename(folder / f"{name}.py")


def install(site: Path, name: str, version: str, group: str, targets: list[str], modules: dict[str, str]) -> None:
    """Write what an installer leaves of a distribution into a folder of the import path."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: Made for a test.\nAuthor: UNKNOWN\n"
    )
    points = "\n".join(f"p{number} = {target}" for number, target in enumerate(targets))
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}\n")
    for module, text in modules.items():
        (site / f"{module}.py").write_text(text)


def loaded_here(module: str) -> bool:
    """Return whether this process has imported a module of a plugin."""
    return any(name == module or name.endswith(f"_{module}") for name in sys.modules)
