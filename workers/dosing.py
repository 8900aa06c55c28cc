"""The one way to run a pump into or out of the vial: doses, exchanges and circulation, under the interlocks."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reactor_unit.config import Config
from reactor_unit.drivers.claims import OutputClaimed
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.models import load_models
from reactor_unit.errors import ConfigError, Conflict, InterlockTripped, InvalidRequest, UnitError
from reactor_unit.job_spec import Setting
from reactor_unit.series import Series
from reactor_unit.vial import ALT_MEDIA, DECIMALS, MEDIA, ROLES, WASTE, Vial, VialFull, VialState, open_vial
from reactor_unit.workers.counted_pump import OVERRUN_S, CountedPump
from reactor_unit.workers.laws.dosing import parts_of_exchange
from reactor_unit.workers.pump_flow import PumpFlow, pump_flow

if TYPE_CHECKING:
    from reactor_unit.workers.job import JobRuntime

log = logging.getLogger(__name__)

SLICE_S = 10.0  # of a run without a planned end
BETWEEN_WASTE_S, CIRCULATION_LEAD_S = 0.05, 1.0
PULSE_S, PULSE_SHARE = 1.0, 0.85  # of the media pump while circulating
BALANCE_TOLERANCE_ML = 1e-9
UNDER_REMOVED_ML = 0.05
NEARLY_FULL = 0.95  # of the model's maximum: from here on each dose is warned of
LEAST_SUBDOSE_ML = 0.01  # a drop is 0.05; an exchange in smaller parts would not end
MOST_PARTS = 1024  # of an exchange: more take hours, and all of them are checked at once

EVENT_OF = {MEDIA: "add_media", ALT_MEDIA: "add_alt_media", WASTE: "remove_waste"}
CALIBRATIONS = tuple(f"{role}_pump" for role in ROLES)
TABLES = ("media_throughput", "alt_media_throughput")  # what the spec of a job that doses has to recall
DOSING_EVENT = Setting("dosing_event", "json", series=Series("dose.{pump}", value="volume_change"))
FAULT = Setting("fault", "string")
INFLOW_JOBS = ("add_media", "add_alt_media", "circulate_media", "circulate_alt_media", "pumps", "dosing_automation")


@dataclass(frozen=True)
class Dose:
    """What one pump is to do: move `ml`, or run for `duration_s`."""

    role: str
    ml: float | None = None
    duration_s: float | None = None


class Doser:
    """Runs the pumps for one job.

    Whatever may come into the vial is counted in its account before a pump turns, and refused when the vial would
    be full. All waiting is the job's: a stop, or sleep, ends a dose at once, and what was moved by then is what is
    published as `dosing_event`, counted and remembered. Lengths are monotonic time. A pump is claimed only while it
    is needed; one that another job has is a Conflict.

    The job's spec has the settings DOSING_EVENT and FAULT, `recalls` TABLES and names CALIBRATIONS. `on_dose` is told
    what each dose made of the vial.
    """

    def __init__(
        self,
        runtime: JobRuntime,
        hardware: Hardware,
        config: Config,
        vial: Vial | None = None,
        on_dose: Callable[[VialState], object] = lambda _state: None,
    ) -> None:
        self._runtime = runtime
        self._hardware = hardware
        self._config = config
        self._on_dose = on_dose
        self.vial = vial or open_vial(runtime.data_folder / "storage", config, maximum_volume_ml(runtime, hardware))
        self._flows = {role: pump_flow(role, runtime.calibrations) for role in ROLES}
        self._longest_run_s = config.get_float("pumps", "longest_run_seconds")
        self._claimed: dict[str, CountedPump] = {}

    def flow(self, role: str) -> PumpFlow:
        """Return what a pump moves in which time."""
        return self._flows[role]

    # Doses

    def check(self, doses: Iterable[Dose]) -> None:
        """Refuse doses that cannot all be given in this order, before anything moves.

        Raises InvalidRequest for an amount that is none or takes longer than a single run may, NotCalibrated,
        BadCalibration, VialFull, VialUnknown, and HardwareFault for a pump that is plugged in nowhere.
        """
        planned = [(dose.role, self._planned_s(dose)) for dose in doses]
        for role, _ in planned:
            self._hardware.board.pwm_pin(role, self._config.pwm_assignment())
        self._check_volumes(planned)

    def pump(
        self, role: str, *, ml: float | None = None, duration_s: float | None = None, source_of_event: str = "CLI"
    ) -> float:
        """Move `ml`, or run for `duration_s`; return the ml that were moved. Raises as `check`, and Conflict."""
        dose = Dose(role, ml, duration_s)
        self.check([dose])
        with self.claimed([role], source_of_event) as pumps:
            return self._dose(pumps[role], self._planned_s(dose))

    def exchange(
        self, *, media_ml: float = 0.0, alt_media_ml: float = 0.0, waste_ml: float = 0.0, source_of_event: str = "CLI"
    ) -> dict[str, float]:
        """Bring media in and take waste out, in equal parts no larger than `max_subdose`; return ml moved by pump.

        After each part waste is removed `waste_removal_multiplier` times more, which takes what is left above the
        waste tube and is not in the result. Raises as `pump`, and InvalidRequest when less is to be removed than
        comes in.
        """
        added_ml = media_ml + alt_media_ml
        for role, ml in ((MEDIA, media_ml), (ALT_MEDIA, alt_media_ml), (WASTE, waste_ml)):
            _check_amount(Dose(role, ml))
        if waste_ml < added_ml - BALANCE_TOLERANCE_ML:
            raise InvalidRequest(
                f"{waste_ml:g} ml of waste is less than the {added_ml:g} ml that come in.",
                remediation="Remove at least as much as you add.",
            )
        parts = self._parts(added_ml)
        part = [Dose(role, ml / parts) for role, ml in ((MEDIA, media_ml), (ALT_MEDIA, alt_media_ml)) if ml > 0]
        part_waste = Dose(WASTE, waste_ml if parts == 1 else added_ml / parts)
        waste_s = self._planned_s(part_waste)
        more_waste_s = waste_s * self._config.get_float("dosing_automation.config", "waste_removal_multiplier")
        self.check([*[*part, part_waste] * parts, Dose(WASTE, duration_s=more_waste_s)])
        additions = {dose.role: self._planned_s(dose) for dose in part}
        moved = dict.fromkeys(ROLES, 0.0)
        with self.claimed([*additions, WASTE], source_of_event) as pumps:
            for _ in range(parts):
                self._exchange_part(pumps, additions, (waste_s, more_waste_s), moved)
        if moved[WASTE] < moved[MEDIA] + moved[ALT_MEDIA] - UNDER_REMOVED_ML:
            log.warning("Less waste was removed than came in: %s ml.", moved)
        return moved

    def _parts(self, added_ml: float) -> int:
        """Return into how many parts an exchange is split: a power of two. Raises InvalidRequest for too many."""
        largest_ml = self._config.get_float("dosing_automation.config", "max_subdose")
        if not largest_ml >= LEAST_SUBDOSE_ML:
            raise ConfigError(
                f"[dosing_automation.config] max_subdose {largest_ml:g} is below the {LEAST_SUBDOSE_ML:g} ml that a "
                "pump can still give."
            )
        parts = parts_of_exchange(added_ml, largest_ml)
        if parts > MOST_PARTS:
            raise InvalidRequest(
                f"An exchange of {added_ml:g} ml would be done in {parts:g} parts of {added_ml / parts:g} ml, and "
                f"{MOST_PARTS} is the most.",
                remediation="Exchange less at once, and more often; max_subdose is how large a part may be.",
            )
        return parts

    def pump_continuously(self, role: str, source_of_event: str = "CLI") -> None:
        """Run a pump until the job is told to end.

        Raises VialFull before the vial would be full, with a fault latched when the pump ran by then, and
        InterlockTripped after the longest single run.
        """
        self._flows[role].check()
        left_s = self._longest_run_s
        with self.claimed([role], source_of_event) as pumps:
            pumps[role].reserve(min(SLICE_S, left_s) + OVERRUN_S)
            while left_s > 0:
                slice_s = min(SLICE_S, left_s)
                pumps[role].on(slice_s + OVERRUN_S)
                self._runtime.wait(slice_s)
                left_s -= slice_s
                if role == WASTE:
                    pumps[role].settle()  # what it took by now is not above the tube any more for what comes
                if left_s > 0:  # and meanwhile it turns on
                    self._reserve_more(pumps[role], min(SLICE_S, left_s) + OVERRUN_S)
        raise InterlockTripped(
            f"The {role} pump ran for {self._longest_run_s:g} s, the longest single run.",
            remediation="Start it again, or change [pumps] longest_run_seconds.",
        )

    def circulate(self, role: str, duration_s: float, source_of_event: str = "CLI") -> None:
        """Run the waste pump for `duration_s` and two seconds, and meanwhile `role` in pulses of a second.

        Raises as `pump_continuously`.
        """
        self.check_circulation(role, duration_s)
        pulse_s = self._pulse_s(role)
        with self.claimed([WASTE, role], source_of_event) as pumps:
            pumps[WASTE].reserve(SLICE_S)
            pumps[WASTE].on(SLICE_S + OVERRUN_S)
            self._runtime.wait(CIRCULATION_LEAD_S)
            done_s = 0.0
            while done_s < duration_s:
                block_s = min(SLICE_S, duration_s - done_s)
                pulses = math.ceil(block_s / PULSE_S)
                self._reserve_more(pumps[role], block_s, pulses)
                self._pulse(pumps[role], pulse_s, block_s, pulses)
                pumps[role].settle()
                pumps[WASTE].reserve(SLICE_S)
                pumps[WASTE].on(SLICE_S + OVERRUN_S)
                done_s += block_s
            self._runtime.wait(CIRCULATION_LEAD_S)

    def check_circulation(self, role: str, duration_s: float) -> None:
        """Refuse a circulation that cannot begin, or would take too long. Raises as `check`."""
        _check_amount(Dose(role, duration_s=duration_s))
        self.check(
            [
                Dose(WASTE, duration_s=duration_s + 2 * CIRCULATION_LEAD_S),
                Dose(role, duration_s=min(duration_s, SLICE_S)),
            ]
        )

    def by_hand(self, role: str, ml: float) -> None:
        """Count what a person put in or took out; no pump runs. Raises InvalidRequest."""
        _check_amount(Dose(role, ml))
        state = self.vial.add_by_hand(role, ml, self._runtime.request.experiment)
        self._tell(role, ml, state, "manually")

    def state(self) -> VialState:
        """Return what is known about the vial."""
        return self.vial.look()

    def close(self) -> None:
        """Stop all pumps, for good. May be called twice."""
        self._release()
        self.vial.close()

    # Running pumps

    @contextlib.contextmanager
    def claimed(self, roles: Iterable[str], source_of_event: str) -> Iterator[Mapping[str, CountedPump]]:
        """Have these pumps to oneself; in the end all stand still, and what they moved is settled.

        Raises Conflict when another job has one.
        """
        try:
            for role in dict.fromkeys(roles):
                self._claimed[role] = self._open(role, source_of_event)
            yield self._claimed
        finally:
            self._release()

    def _open(self, role: str, source_of_event: str) -> CountedPump:
        flow = self._flows[role]
        try:
            pump = self._hardware.open_pump(role, self._config.pwm_assignment(), flow.hz, self._pump_limit_s())
        except OutputClaimed as ex:
            raise Conflict(f"The {role} pump is in use. {ex}", cause=ex.cause, remediation=ex.remediation) from ex
        experiment = self._runtime.request.experiment
        before = tuple(float(self._runtime.recalled(table) or 0.0) for table in TABLES)
        return CountedPump(
            pump,
            flow,
            self._runtime.clock,
            lambda role, at_most_ml: self.vial.begin(
                role, at_most_ml, experiment=experiment, before=(before[0], before[1])
            ),
            self.vial.end,
            lambda role, ml, state: self._tell(role, ml, state, source_of_event),
        )

    def _pump_limit_s(self) -> float:
        return max(self._longest_run_s, SLICE_S) + 2 * OVERRUN_S

    def _release(self) -> None:
        """Stop all pumps first, then write down what they moved."""
        with contextlib.ExitStack() as stack:
            pumps = list(self._claimed.values())
            self._claimed.clear()
            for step in (CountedPump.close, CountedPump.settle, CountedPump.off):  # carried out from the last one on
                for pump in pumps:
                    stack.callback(step, pump)

    def _dose(self, pump: CountedPump, duration_s: float) -> float:
        """Run one pump for so long; return the ml that were moved."""
        if duration_s == 0.0:
            return 0.0
        pump.reserve(duration_s)
        pump.on(duration_s)
        self._runtime.wait(duration_s)
        pump.off()
        return pump.settle()

    def _reserve_more(self, pump: CountedPump, duration_s: float, turns: int = 1) -> None:
        """Reserve for a run that goes on; a vial that would be full stops it, and a person has to look."""
        try:
            pump.reserve(duration_s, turns)
        except VialFull as ex:
            self._release()
            self._runtime.latch_fault("vial_full", ex.message, ex.remediation, jobs=INFLOW_JOBS)
            raise

    def _pulse(self, pump: CountedPump, pulse_s: float, duration_s: float, pulses: int) -> None:
        """Turn a pump on for a share of each second, no more often than so many times."""
        until = self._runtime.clock() + duration_s
        for _ in range(pulses):
            left_s = until - self._runtime.clock()
            if left_s <= 0:  # the pulses before were late
                return
            pump.on(min(pulse_s, left_s))
            self._runtime.wait(min(pulse_s, left_s))
            pump.off()
            self._runtime.wait(max(0.0, min(PULSE_S - pulse_s, until - self._runtime.clock())))

    def _pulse_s(self, role: str) -> float:
        """Return for how long media may come in a second: no faster than waste goes out, where both are calibrated."""
        media, waste = self._flows[role], self._flows[WASTE]
        if not (media.is_calibrated and waste.is_calibrated):
            log.warning("Circulating with pumps that are not calibrated.")
            return PULSE_S * PULSE_SHARE
        media_ml, waste_ml = media.volume_ml(SLICE_S), waste.volume_ml(SLICE_S)
        return PULSE_S * (min(PULSE_SHARE, waste_ml / media_ml) if media_ml > 0 else PULSE_SHARE)

    def _exchange_part(
        self,
        pumps: Mapping[str, CountedPump],
        additions: Mapping[str, float],
        waste_s: tuple[float, float],
        moved: dict[str, float],
    ) -> None:
        """Bring a part in, then take as much out; also when the rest of it cannot be brought in."""
        pause_s = self._config.get_float("dosing_automation.config", "pause_between_subdoses_seconds")
        error: UnitError | HardwareFault | None = None
        for role, duration_s in additions.items():
            try:
                moved[role] += self._dose(pumps[role], duration_s)
            except (UnitError, HardwareFault) as ex:  # as when another job has brought something in since the check
                error = ex
                break
            self._runtime.wait(pause_s)
        moved[WASTE] += self._dose(pumps[WASTE], waste_s[0])
        self._runtime.wait(BETWEEN_WASTE_S)
        self._dose(pumps[WASTE], waste_s[1])
        if error is not None:
            raise error

    def _tell(self, role: str, ml: float, state: VialState | None, source_of_event: str) -> None:
        event = {
            "volume_change": round(ml, DECIMALS),
            "event": EVENT_OF[role],
            "source_of_event": source_of_event,
            "timestamp": self._runtime.utc_timestamp(),
            "pump": role,
        }
        self._runtime.publish({"dosing_event": event})
        if state is not None:
            self._runtime.remember("current_volume_ml", state.volume_ml)
            for table in ("alt_media_fraction", *TABLES):
                self._runtime.remember(table, getattr(state, table))
            self._on_dose(state)
            self._warn_if_nearly_full(role, state)

    def _warn_if_nearly_full(self, role: str, state: VialState) -> None:
        highest_ml = self.vial.maximum_volume_ml
        if role != WASTE and highest_ml is not None and state.volume_ml >= NEARLY_FULL * highest_ml:
            log.warning("The vial may hold %.2f ml; at %g ml nothing more is added.", state.volume_ml, highest_ml)

    # Checks

    def _planned_s(self, dose: Dose) -> float:
        """Return how long the pump has to run for a dose."""
        _check_amount(dose)
        self._flows[dose.role].check()
        duration_s = self._flows[dose.role].duration_s(dose.ml) if dose.ml is not None else dose.duration_s or 0.0
        if duration_s > self._longest_run_s:
            raise InvalidRequest(
                f"The {dose.role} pump would run for {duration_s:.1f} s, and the longest single run is "
                f"{self._longest_run_s:g} s.",
                remediation="Ask for less at once, or change [pumps] longest_run_seconds.",
            )
        return duration_s

    def _check_volumes(self, planned: Iterable[tuple[str, float]]) -> None:
        """Follow the volume through pump runs, each the pump and its seconds; raise VialFull where it is too much."""
        runs = [(role, duration_s) for role, duration_s in planned if duration_s > 0.0]
        if all(role == WASTE for role, _ in runs):
            return  # also with an account that cannot be read
        state = self.vial.look()
        for role, duration_s in runs:
            if role == WASTE:
                state = state.without_waste(self._flows[role].at_least_ml(duration_s))
                continue
            self.vial.check_room(state.volume_ml, self._flows[role].at_most_ml(duration_s + OVERRUN_S))
            state = state.with_inflow(role, self._flows[role].at_most_ml(duration_s))


def _check_amount(dose: Dose) -> None:
    """Raise InvalidRequest unless exactly one amount is given, finite and not negative."""
    given = [amount for amount in (dose.ml, dose.duration_s) if amount is not None]
    if len(given) != 1:
        raise InvalidRequest("Say either how many ml or for how many seconds.")
    if not (math.isfinite(given[0]) and given[0] >= 0):
        raise InvalidRequest(f"{given[0]} is no amount.", remediation="Give a finite number that is not negative.")


def maximum_volume_ml(runtime: JobRuntime, hardware: Hardware) -> float | None:
    """Return what the vial must never hold: the smaller of the unit's model and the request's; None when unknown."""
    limits = [] if hardware.model is None else [hardware.model.reactor_max_fill_volume_ml]
    if runtime.model is not None and (hardware.model is None or runtime.model != hardware.model.key):
        named = load_models(runtime.data_folder / "models").get(runtime.model)
        if named is None:
            return None
        limits.append(named.reactor_max_fill_volume_ml)
    return min(limits, default=None)
