"""The hardware check: one function a question, asked in order, each leaving the outputs as safe as it found them."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..claims import OutputClaimed
from ..errors import HardwareFault
from . import enabled, light, parts, seams
from .bench import FAIL, OK, SKIPPED, Bench, Finding
from .parts import PUMPS, judge_volume

__all__ = ["CHECKS", "FAIL", "OK", "PUMPS", "SKIPPED", "Bench", "Check", "Finding", "judge_volume", "run_checks"]


class Check(NamedTuple):
    """One check; one that `needs_bus` says nothing new where the check of the bus failed."""

    name: str
    function: Callable[[Bench], Finding | list[Finding]]
    needs_bus: bool = False


CHECKS = (
    Check("enabled", enabled.check_enabled),
    Check("gpio", seams.check_gpio),
    Check("dead_process", seams.check_persistence),
    Check("wall_clock", seams.check_wall_clock),
    Check("i2c", seams.check_i2c),
    Check("pwm", seams.check_pwm),
    Check("supply", seams.check_supply, needs_bus=True),
    Check("stirrer", parts.check_stirrer),
    Check("ambient_light", light.check_ambient_light, needs_bus=True),
    Check("ir_led", light.check_ir_led, needs_bus=True),
    Check("heater", parts.check_heater, needs_bus=True),
    Check("pumps", parts.check_pumps),
)
"""In the order in which they are run: what others need comes first. Together they take 20 s, 35 s with faults."""


def run_checks(bench: Bench, progress: Callable[[int, int, str], object] = lambda *_: None) -> list[Finding]:
    """Run every check and return what they found; `progress(done, total, name)` is called before each."""
    findings: list[Finding] = []
    for done, check in enumerate(CHECKS):
        progress(done, len(CHECKS), check.name)
        findings += _run(check, bench, bus_failed=_failed("i2c", findings))
    return findings


def _run(check: Check, bench: Bench, *, bus_failed: bool) -> Iterable[Finding]:
    try:
        found = check.function(bench)
    except OutputClaimed as ex:
        return [Finding(check.name, SKIPPED, f"{ex}", ex.remediation)]
    except HardwareFault as ex:
        if check.needs_bus and bus_failed:
            return [Finding(check.name, SKIPPED, f"It needs the bus: {ex}", "Mend what the check i2c found first.")]
        cause = "" if ex.cause == str(ex) else f" {ex.cause}"
        return [Finding(check.name, FAIL, f"{ex}{cause}", ex.remediation)]
    return found if isinstance(found, list) else [found]


def _failed(name: str, findings: list[Finding]) -> bool:
    return any(finding.name == name and finding.status == FAIL for finding in findings)
