"""The account of the liquid in the unit's one vial: what every process that runs a pump has to ask first.

There is no level sensor, so the account errs on the high side. What may come in is counted before a pump turns, and
corrected to what came in after it stopped. A process that is killed in between leaves all of it counted. Waste
counts as removed after it was, and only down to the working volume, where the waste tube ends.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reactor_unit.config import Config
from reactor_unit.durable_record import BrokenRecord, DurableRecord
from reactor_unit.errors import ConfigError, Conflict, InvalidRequest, StorageFault, Unavailable

log = logging.getLogger(__name__)

MEDIA, ALT_MEDIA, WASTE = "media", "alt_media", "waste"
ROLES = (MEDIA, ALT_MEDIA, WASTE)
VIAL_FILE = "vial.account"  # in the folder `storage`
MOST_RUNS = 8  # at a time
DECIMALS = 6  # of a volume in ml


class VialFull(Conflict):
    """The liquid would reach the model's maximum volume, or could."""

    default_remediation = "Remove waste first. If the vial was replaced or emptied, say so: `reactor-unit vial set`."


class VialUnknown(Conflict):
    """Nobody can say how much more the vial takes."""

    default_remediation = "Look at the vial and say what is in it: `reactor-unit vial set --current-volume-ml ML`."


@dataclass(frozen=True)
class Run:
    """A pump that runs, or was not heard of since. `at_most_ml` is what it may move; media as they come in."""

    place: int
    role: str
    at_most_ml: float
    removable_ml: float = 0.0  # of waste: what was above the waste tube at the start


@dataclass(frozen=True)
class VialState:
    """What is known about the vial; volumes in ml. `settled_ml` leaves out what `runs` may still bring in.

    `working_ml` is the volume at the waste tube's end: as a person said (`said_working_ml`), else as configured.
    """

    settled_ml: float
    alt_media_fraction: float
    working_ml: float
    said_working_ml: float | None = None
    experiment: str = ""  # which the throughputs belong to
    media_throughput: float = 0.0
    alt_media_throughput: float = 0.0
    runs: tuple[Run, ...] = ()

    @property
    def volume_ml(self) -> float:
        """The most that there may be in the vial, runs included."""
        return round(self.settled_ml + sum(run.at_most_ml for run in self.runs if run.role != WASTE), DECIMALS)

    def with_inflow(self, role: str, volume_ml: float) -> VialState:
        """Return the state after so much came in."""
        volume_ml = max(0.0, volume_ml)
        after_ml = self.settled_ml + volume_ml
        alt_ml = self.alt_media_fraction * self.settled_ml + (volume_ml if role == ALT_MEDIA else 0.0)
        fraction = min(max(alt_ml / after_ml, 0.0), 1.0) if after_ml > 0 else self.alt_media_fraction
        throughput = f"{role}_throughput"
        return replace(
            self,
            settled_ml=round(after_ml, DECIMALS),
            alt_media_fraction=round(fraction, 10),
            **{throughput: round(getattr(self, throughput) + volume_ml, DECIMALS)},
        )

    def without_waste(self, volume_ml: float, removable_ml: float = math.inf) -> VialState:
        """Return the state after the waste pump took so much, of which liquid is what is above the waste tube.

        No more than `removable_ml`: what came in after the pump began may have come after it took air.

        >>> VialState(15.0, 0.0, working_ml=14.0).without_waste(3.0).settled_ml
        14.0
        """
        liquid_ml = max(0.0, min(volume_ml, removable_ml, self.settled_ml - self.working_ml))
        return replace(self, settled_ml=round(self.settled_ml - liquid_ml, DECIMALS))

    def without_run(self, run: Run, moved_ml: float) -> VialState:
        """Return the state after a run has moved so much."""
        rest = replace(self, runs=tuple(other for other in self.runs if other.place != run.place))
        return (
            rest.without_waste(moved_ml, run.removable_ml)
            if run.role == WASTE
            else rest.with_inflow(run.role, moved_ml)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON has it."""
        return asdict(self)


def state_from(data: Mapping[str, Any]) -> VialState:
    """Return the state that `to_dict` described."""
    return VialState(**{**data, "runs": tuple(Run(**run) for run in data["runs"])})


class Vial:
    """The account, shared by all processes of a unit. Open it after the fork.

    `new` is the state of an account that is begun, `maximum_volume_ml` what the vial must never hold, None when the
    model is not known. `close()` gives up runs that have not ended, which stay counted as brought in; it may be
    called twice.
    """

    def __init__(self, path: Path, new: VialState, maximum_volume_ml: float | None) -> None:
        self.maximum_volume_ml = maximum_volume_ml
        self._record = DurableRecord(path)
        self._new = new

    def look(self) -> VialState:
        """Return the state. Raises VialUnknown when it cannot be read, StorageFault, Unavailable."""
        with self._changed() as state:
            return state

    def is_pumped(self) -> bool:
        """Return whether a pump runs now."""
        return bool(self.look().runs)

    def check_room(self, volume_ml: float, at_most_ml: float) -> None:
        """Raise VialFull when `at_most_ml` more than `volume_ml` would reach the maximum, VialUnknown without one."""
        if self.maximum_volume_ml is None:
            raise VialUnknown(
                "Nothing is pumped into a vial of an unknown model.",
                cause="Its largest volume is not known.",
                remediation="Name the model: [bioreactor] model_name and model_version in config.ini.",
            )
        if not volume_ml + at_most_ml < self.maximum_volume_ml:  # so that NaN is no room
            raise VialFull(
                f"The vial may hold {volume_ml:.2f} ml, and {at_most_ml:.2f} ml more would reach the model's maximum "
                f"of {self.maximum_volume_ml:g} ml."
            )

    def begin(self, role: str, at_most_ml: float, *, experiment: str = "", before: tuple[float, float] = (0, 0)) -> Run:
        """Count what a pump may move from now on, until `end` or until the process is found dead.

        For media, on return it is on the disk. `before` are the throughputs of an experiment that the account knows
        nothing of yet. Raises VialFull, VialUnknown, StorageFault and Unavailable, and then nothing may be moved; for
        waste only when too many runs go on, as removing is safe.
        """
        try:
            with self._changed() as state:
                removable_ml = 0.0
                if role == WASTE:
                    removable_ml = max(0.0, state.settled_ml - state.working_ml)
                else:
                    self.check_room(state.volume_ml, at_most_ml)
                    state = _of_experiment(state, experiment, before)
                run = Run(self._free_place(state), role, at_most_ml, removable_ml)
                self._record.write(replace(state, runs=(*state.runs, run)).to_dict(), to_disk=role != WASTE)
                self._record.hold(run.place)
                return run
        except (Unavailable, VialUnknown) as ex:
            if role != WASTE:
                raise
            log.warning("Waste is removed without being counted: %s", ex)
            return Run(-1, role, at_most_ml)

    def end(self, run: Run, moved_ml: float) -> VialState | None:
        """Correct what a run was counted with to what it moved; return the state.

        None when that cannot be written; then all of it stays counted.
        """
        if run.place < 0:
            return None
        try:
            with self._changed() as state:
                state = state.without_run(run, moved_ml)
                # More than was planned has to survive a power cut; less need not.
                self._record.write(state.to_dict(), to_disk=run.role != WASTE and moved_ml > run.at_most_ml)
                self._record.let_go(run.place)
                return state
        except (Unavailable, Conflict) as ex:
            log.error("What the %s pump moved stays counted as %.3f ml: %s", run.role, run.at_most_ml, ex)
            return None

    def add_by_hand(self, role: str, volume_ml: float, experiment: str = "") -> VialState:
        """Count what a person put in, or took out, which may be below the waste tube."""
        with self._changed() as state:
            if role == WASTE:
                state = replace(state, settled_ml=round(max(0.0, state.settled_ml - volume_ml), DECIMALS))
            else:
                state = _of_experiment(state, experiment, (0, 0)).with_inflow(role, volume_ml)
            self._record.write(state.to_dict(), to_disk=True)
            return state

    def put(
        self,
        *,
        current_volume_ml: float | None = None,
        max_working_volume_ml: float | None = None,
        alt_media_fraction: float | None = None,
    ) -> VialState:
        """Write down what a person says of the vial; what is left out stays.

        Raises Conflict while a pump runs, InvalidRequest for what cannot be, and VialUnknown when the account cannot
        be read and the current volume is left out.
        """
        with self._changed(afresh=current_volume_ml is not None) as state:
            if state.runs:
                raise Conflict(
                    f"The {state.runs[0].role} pump runs.", remediation="Stop it, then say what is in the vial."
                )
            state = replace(
                state,
                settled_ml=state.settled_ml if current_volume_ml is None else current_volume_ml,
                said_working_ml=state.said_working_ml if max_working_volume_ml is None else max_working_volume_ml,
                alt_media_fraction=state.alt_media_fraction if alt_media_fraction is None else alt_media_fraction,
            )
            state = self._with_working(state)
            self._check(state)
            self._record.write(state.to_dict(), to_disk=True)
            return state

    def close(self) -> None:
        """Let go of the file."""
        self._record.close()

    def _check(self, state: VialState) -> None:
        if not (math.isfinite(state.settled_ml) and state.settled_ml >= 0):
            raise InvalidRequest(f"A vial cannot hold {state.settled_ml:g} ml.")
        if not 0 <= state.alt_media_fraction <= 1:
            raise InvalidRequest(f"alt_media_fraction {state.alt_media_fraction:g} is not within 0 to 1.")
        highest_ml = math.inf if self.maximum_volume_ml is None else self.maximum_volume_ml
        if not 0 < state.working_ml < highest_ml:
            raise InvalidRequest(
                f"max_working_volume_ml {state.working_ml:g} is not between 0 and the model's maximum "
                f"of {highest_ml:g} ml."
            )

    def _with_working(self, state: VialState) -> VialState:
        """Return the state with the working volume that holds now: the configuration may have changed."""
        said_ml = state.said_working_ml
        return replace(state, working_ml=self._new.working_ml if said_ml is None else said_ml)

    def _free_place(self, state: VialState) -> int:
        used = {run.place for run in state.runs}
        free = next((place for place in range(MOST_RUNS) if place not in used), None)
        if free is None:
            raise Conflict(f"{MOST_RUNS} pumps run already.")
        return free

    @contextlib.contextmanager
    def _changed(self, *, afresh: bool = False) -> Iterator[VialState]:
        """Be alone with the account; runs whose process is gone count as having moved all they might, waste nothing."""
        with self._record.locked():
            try:
                data = self._record.read()
                state = self._new if data is None else state_from(data)
            except (BrokenRecord, KeyError, TypeError) as ex:
                if not afresh:
                    raise VialUnknown("The account of the vial cannot be read.", cause=str(ex)) from ex
                state = self._new
            state = self._with_working(state)
            gone = [run for run in state.runs if not self._record.is_held(run.place)]
            for run in gone:
                log.warning("A process ended while its %s pump ran; what it may have moved is counted.", run.role)
                state = state.without_run(run, 0.0 if run.role == WASTE else run.at_most_ml)
            if gone:
                with contextlib.suppress(StorageFault):  # who looks next finds the same, and says it again
                    self._record.write(state.to_dict(), to_disk=False)
            yield state


def _of_experiment(state: VialState, experiment: str, before: tuple[float, float]) -> VialState:
    if state.experiment == experiment:
        return state
    return replace(state, experiment=experiment, media_throughput=before[0], alt_media_throughput=before[1])


def new_state(config: Config) -> VialState:
    """Return the state of a vial that nobody has said anything about: the section [bioreactor]. Raises ConfigError."""
    limits = {"initial_volume_ml": math.inf, "initial_alt_media_fraction": 1.0, "max_working_volume_ml": math.inf}
    for option, highest in limits.items():
        if not 0 <= config.get_float("bioreactor", option) <= highest:
            raise ConfigError(f"[bioreactor] {option}={config.get('bioreactor', option)} cannot be.")
    initial_ml, fraction, working_ml = (config.get_float("bioreactor", option) for option in limits)
    if working_ml == 0:
        raise ConfigError(
            "[bioreactor] max_working_volume_ml=0 cannot be: the waste pump would seem to empty the vial."
        )
    return VialState(initial_ml, fraction, working_ml)


def open_vial(storage: Path, config: Config, maximum_volume_ml: float | None) -> Vial:
    """Return the account in the folder `storage`; nothing is read or made before it is used."""
    return Vial(storage / VIAL_FILE, new_state(config), maximum_volume_ml)
