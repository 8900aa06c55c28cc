"""When the hall sensor is silent: does the stirrer stand still, or is the sensor dead? And which speeds to believe.

Without pulses, a standing stirrer and a dead sensor look the same. What can be seen:

- Pulses during a kick at 100 % prove that the sensor works; so the stirrer had stalled. This is certain.
- No pulses during the kick prove nothing: the stirrer may be blocked, unplugged, or turning unseen.
- Then the light helps, where the optical density is read: cells and bubbles cross it when the liquid moves, so the
  samples of one reading scatter several times as much as in still liquid. This is likely, not certain: it needs cells,
  and the scatter of a time when the stirrer was seen to turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_RESTARTS = 3
"""So many restarts in a row without a sound speed in between; then the job ends."""

MOVING_SCATTER, STILL_SCATTER = 0.6, 0.35
"""Scatter of a reading's samples relative to that with the stirrer turning: from here on it turns, up to here not."""

FASTEST_RPM = 3000.0
"""rpm. Faster than any motor that fits under the vial; electrical noise reads as tens of thousands."""

RPM_PER_PERCENT = 60.0
"""rpm for each % of duty cycle: more than twice what motors make of it."""

COASTING_RPM = 200.0
"""rpm. What a stirrer may still have when the duty cycle is 0 already."""


class Standstill(StrEnum):
    """What silence of the hall sensor means."""

    STALLED_BRIEFLY = "stalled_briefly"  # it turns again
    STALLED = "stirrer_stalled"
    SENSOR_FAULT = "hall_sensor_fault"
    UNKNOWN = "no_stirrer_pulses"  # one of the two


@dataclass(frozen=True)
class Verdict:
    """What silence means, whether that is certain, and a sentence with the numbers it rests on."""

    standstill: Standstill
    certain: bool
    message: str

    @property
    def may_restart(self) -> bool:
        """Whether another kick makes sense: not for a sensor that is dead while the stirrer turns."""
        return self.standstill is not Standstill.SENSOR_FAULT


def judge(*, duty_cycle: float, kick_rpm: float, rpm_after: float, relative_scatter: float | None = None) -> Verdict:
    """Return what it means that there were no pulses at `duty_cycle` %.

    `kick_rpm` was measured during a kick at 100 %, `rpm_after` at the duty cycle again. `relative_scatter` is the
    samples' scatter of an optical density reading since the silence began (standard deviation / mean), divided by the
    same from when the stirrer was seen to turn; None without readings.

    >>> judge(duty_cycle=30.0, kick_rpm=0.0, rpm_after=0.0, relative_scatter=0.95).standstill
    <Standstill.SENSOR_FAULT: 'hall_sensor_fault'>
    """
    if rpm_after > 0:
        message = (
            f"The stirrer stood still at a duty cycle of {duty_cycle:.1f} %; after a kick it turns at "
            f"{rpm_after:.0f} rpm."
        )
        return Verdict(Standstill.STALLED_BRIEFLY, True, message)
    if kick_rpm > 0:
        message = (
            f"The stirrer turns at 100 % ({kick_rpm:.0f} rpm), but stands still at a duty cycle of {duty_cycle:.1f} %: "
            "something brakes it."
        )
        return Verdict(Standstill.STALLED, True, message)
    silent = f"The hall sensor gives no pulse at a duty cycle of {duty_cycle:.1f} %, nor during a kick at 100 %"
    if relative_scatter is not None and relative_scatter >= MOVING_SCATTER:
        message = (
            f"{silent}, but the light through the vial scatters as when it is stirred ({relative_scatter:.2f} of it). "
            "The sensor seems to be dead."
        )
        return Verdict(Standstill.SENSOR_FAULT, False, message)
    if relative_scatter is not None and relative_scatter <= STILL_SCATTER:
        message = (
            f"{silent}, and the light through the vial is calm ({relative_scatter:.2f} of its scatter when stirred). "
            "The stirrer seems to be blocked."
        )
        return Verdict(Standstill.STALLED, False, message)
    return Verdict(Standstill.UNKNOWN, False, f"{silent}: the stirrer is blocked, or the sensor is dead.")


def may_restart(verdict: Verdict, restarts: int) -> bool:
    """Return whether to kick once more after so many restarts in a row."""
    return verdict.may_restart and restarts < MAX_RESTARTS


def is_plausible_rpm(measured_rpm: float, highest_duty_cycle: float) -> bool:
    """Return whether to believe a speed, given the highest duty cycle (%) of the last seconds.

    A speed that is not believed is to be measured again, not to be steered by.

    >>> is_plausible_rpm(500.0, 30.0), is_plausible_rpm(40000.0, 100.0), is_plausible_rpm(2500.0, 10.0)
    (True, False, False)
    """
    return 0.0 <= measured_rpm <= min(FASTEST_RPM, COASTING_RPM + RPM_PER_PERCENT * highest_duty_cycle)
