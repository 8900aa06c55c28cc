"""The dosing automations that come with the unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from reactor_unit.errors import InvalidRequest
from reactor_unit.job_spec import Option, Setting
from reactor_unit.series import Series
from reactor_unit.workers.automations import DosingAutomation, DosingReactor, Event, Reading
from reactor_unit.workers.culture_readings import first_signal
from reactor_unit.workers.laws.dosing import Exchange, MorbidostatLaw, TurbidostatLaw
from reactor_unit.workers.laws.pid import PIDState

AUTO, NORMALIZED_OD, FUSED_OD, OD = "auto", "normalized_od", "od_fused", "od"
LARGEST_DOSE_ML = 50.0  # that may be asked for at once; the vial's own limit is checked with each dose
DILUTION, NO_EVENT = "DilutionEvent", "NoEvent"


def _volume(name: str, help_text: str, default: float | None = None) -> Option:
    return Option(
        name,
        "float",
        help_text,
        default=default,
        required=default is None,
        minimum=0.0,
        maximum=LARGEST_DOSE_ML,
        unit="mL",
    )


def _volume_setting(name: str) -> Setting:
    return Setting(name, "float", "mL", settable=True, minimum=0.0, maximum=LARGEST_DOSE_ML)


def _above_zero(parameters: Mapping[str, Any], *names: str) -> None:
    """Raise InvalidRequest for a parameter that has to be above 0."""
    for name in names:
        if not parameters[name] > 0:
            raise InvalidRequest(f"{name} {parameters[name]:g} has to be above 0.")


class Silent(DosingAutomation):
    """Do nothing."""

    name = "silent"
    help = "Nothing but a word every `duration` that nothing was done."
    calibrations = ()

    def execute(self) -> Event:
        """Say that nothing was done."""
        return Event(NO_EVENT, "Nothing is dosed.")


class Chemostat(DosingAutomation):
    """Exchange the same volume each time: a constant rate of dilution."""

    name = "chemostat"
    help = "Exchange the same volume of media every `duration`: a constant rate of dilution."
    options = (_volume("exchange_volume_ml", "What is exchanged each time.", default=0.5),)
    settings = (_volume_setting("exchange_volume_ml"),)

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise InvalidRequest for a volume of 0."""
        _above_zero(parameters, "exchange_volume_ml")

    def execute(self) -> Event:
        """Exchange."""
        return exchanged(self.reactor, Exchange(media_ml=self.parameters["exchange_volume_ml"]), {})


class Turbidostat(DosingAutomation):
    """Dilute whenever the culture is at its target: growth goes on for as long as there is media."""

    name = "turbidostat"
    help = "Exchange media whenever the biomass is at its target, looked at every 15 s."
    duration_min = 0.25
    options = (
        Option("target_biomass", "float", "In units of the signal.", required=True, minimum=0.0, maximum=1e6),
        _volume("exchange_volume_ml", "What is exchanged each time; the biomass saws by its share of the vial."),
        Option(
            "biomass_signal",
            "text",
            "What tells the biomass. auto: od_fused with an active estimator, else od with an active calibration, else "
            "normalized_od.",
            choices=(AUTO, NORMALIZED_OD, FUSED_OD, OD),
        ),
    )
    settings = (
        Setting(
            "target_biomass",
            "float",
            settable=True,
            minimum=0.0,
            maximum=1e6,
            series=Series("dosing_automation.target_biomass"),
        ),
        _volume_setting("exchange_volume_ml"),
        Setting("biomass_signal", "string"),
        Setting("resolved_biomass_signal", "string"),
    )
    SECTION: ClassVar[str] = "dosing_automation.turbidostat"

    def __init__(self, reactor: DosingReactor, parameters: Mapping[str, Any]) -> None:
        signal = parameters.get("biomass_signal") or reactor.config.get(self.SECTION, "biomass_signal")
        super().__init__(reactor, {**parameters, "biomass_signal": signal})
        self.signal = self._resolved(signal)
        self.reactor.publish({"resolved_biomass_signal": self.signal})

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise InvalidRequest for a target or volume of 0, or a signal that is none."""
        _above_zero(parameters, "target_biomass", "exchange_volume_ml")
        if parameters["biomass_signal"] not in (AUTO, NORMALIZED_OD, FUSED_OD, OD):
            raise InvalidRequest(f"[{self.SECTION}] biomass_signal {parameters['biomass_signal']!r} is not known.")

    def _resolved(self, signal: str) -> str:
        """Return which signal `auto` is, from what is calibrated."""
        if signal != AUTO:
            return signal
        if self.reactor.is_calibrated("od_fused"):
            return FUSED_OD
        _, angle = first_signal(self.reactor.config.section("od_config.photodiode_channel"))
        if self.reactor.is_calibrated(f"od{angle}") or self.reactor.is_calibrated("od"):
            return OD
        return NORMALIZED_OD

    def execute(self) -> Event:
        """Exchange if the biomass, as it was read after the last exchange, is at its target."""
        biomass = self._biomass()
        if biomass.age_s > self.reactor.since_dose_s:
            return Event(NO_EVENT, "There is no reading yet since the last exchange.")
        target = self.parameters["target_biomass"]
        exchange = TurbidostatLaw(target, self.parameters["exchange_volume_ml"]).next_exchange(biomass.value)
        seen = {"latest_biomass": biomass.value, "target_biomass": target, "biomass_signal": self.signal}
        if exchange is None:
            return Event(NO_EVENT, f"{self.signal} is {biomass.value:.3g}, below its target of {target:g}.", seen)
        return exchanged(self.reactor, exchange, seen)

    def _biomass(self) -> Reading:
        if self.signal == NORMALIZED_OD:
            return self.reactor.normalized_od()
        return self.reactor.fused_od() if self.signal == FUSED_OD else self.reactor.od()


class FedBatch(DosingAutomation):
    """Add media and remove nothing, until the vial is full."""

    name = "fed_batch"
    help = "Add media every `duration` and remove nothing, until the vial is full."
    options = (_volume("dosing_volume_ml", "What is added each time.", default=1.0),)
    settings = (_volume_setting("dosing_volume_ml"),)
    calibrations = ("media_pump",)

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise InvalidRequest for a volume of 0."""
        _above_zero(parameters, "dosing_volume_ml")

    def execute(self) -> Event:
        """Add media."""
        moved_ml = self.reactor.add_media(self.parameters["dosing_volume_ml"])
        return Event("AddMediaEvent", f"Added {moved_ml:g} mL of media.", {"volume": moved_ml})


class PIDMorbidostat(DosingAutomation):
    """Hold the growth rate at a target by the share of alternative media, which inhibits growth."""

    name = "pid_morbidostat"
    help = "Hold the growth rate at a target with an inhibitor in the alternative media."
    options = (
        Option("target_growth_rate", "float", "What is held.", default=0.1, minimum=0.0, maximum=10.0, unit="1/h"),
        Option(
            "target_normalized_od",
            "float",
            "Dilution begins at 0.7 of it, and is 2.5 times stronger above 1.25 of it.",
            default=1.5,
            minimum=0.0,
            maximum=1e6,
        ),
    )
    settings = (
        Setting("target_growth_rate", "float", "1/h", settable=True, minimum=0.0, maximum=10.0),
        Setting("target_normalized_od", "float", settable=True, minimum=0.0, maximum=1e6),
    )
    calibrations = ("media_pump", "waste_pump", "alt_media_pump")
    SECTION: ClassVar[str] = "dosing_automation.pid_morbidostat"

    def __init__(self, reactor: DosingReactor, parameters: Mapping[str, Any]) -> None:
        super().__init__(reactor, parameters)
        kp, ki, kd, minimum_ml = (
            reactor.config.get_float(self.SECTION, key) for key in ("Kp", "Ki", "Kd", "minimum_dosing_volume_ml")
        )
        self._gains, self._minimum_ml, self._state = (kp, ki, kd), minimum_ml, PIDState()

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise InvalidRequest for a target of 0."""
        _above_zero(parameters, "target_growth_rate", "target_normalized_od")

    def execute(self) -> Event:
        """Dilute at the target growth rate, with as much inhibitor as the growth rate asks for."""
        normalized_od, rate = self.reactor.normalized_od().value, self.reactor.growth_rate_per_h().value
        law = MorbidostatLaw(
            self.parameters["target_growth_rate"],
            self.parameters["target_normalized_od"],
            self._gains,
            self._minimum_ml,
        )
        exchange, self._state = law.next_exchange(
            self._state,
            normalized_od=normalized_od,
            growth_rate_per_h=rate,
            duration_min=self.reactor.duration_min,
            working_volume_ml=self.reactor.max_working_volume_ml,
        )
        seen = {"latest_normalized_od": normalized_od, "latest_growth_rate": rate}
        if exchange is None:
            return Event(NO_EVENT, f"normalized_od is {normalized_od:.3g}: nothing is exchanged.", seen)
        return exchanged(self.reactor, exchange, seen)


def exchanged(reactor: DosingReactor, exchange: Exchange, seen: Mapping[str, Any]) -> Event:
    """Carry an exchange out, and return the event of what moved, with what was seen before."""
    moved = reactor.exchange(media_ml=exchange.media_ml, alt_media_ml=exchange.alt_media_ml)
    data = {"volume": exchange.volume_ml, **{f"{role}_ml": moved_ml for role, moved_ml in moved.items()}, **seen}
    told = ", ".join(f"{moved_ml:.3g} mL of {role}" for role, moved_ml in moved.items())
    return Event(DILUTION, f"Moved {told}.", data)


DOSING_AUTOMATIONS: Mapping[str, type[DosingAutomation]] = {
    automation.name: automation for automation in (Chemostat, FedBatch, PIDMorbidostat, Silent, Turbidostat)
}
