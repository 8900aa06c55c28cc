"""How a unit finds its simulated reactor when it starts: what a person would have put together before."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import person
from .plant import PlantState
from .state import SharedPlant


@dataclass(frozen=True)
class Setup:
    """What is plugged and chosen at a unit's start, None for what stays as it was.

    What is in the vessels, temperatures and faults stay in any case, but for liquid that a smaller vial has no room
    for.
    """

    speed: float = 1.0  # seconds of the plant in one of the clock
    seed: int | None = None  # of everything that is noisy
    vial_ml: tuple[float, float] | None = None  # capacity, and the volume below the waste tube's end
    photodiodes: Mapping[str, str] = field(
        default_factory=dict
    )  # channel "1".."4" -> angle; those not named are not there
    ir_led: str | None = None  # LED channel "A".."D"

    def apply(self, plant: SharedPlant) -> None:
        """Have the plant so from now on, in one step; raises ValueError for what is not possible."""
        plant.update(self._applied, speed=self.speed)

    def _applied(self, state: PlantState) -> PlantState:
        if self.seed is not None:
            state = state._replace(seed=self.seed)
        if self.vial_ml is not None:
            state = person.choose_vial(state, *self.vial_ml)
        state = person.point_photodiodes(state, dict(self.photodiodes))
        return state if self.ir_led is None else person.plug_ir_led(state, self.ir_led)
