"""The self-tests, in the order in which they are carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reactor_unit.workers.self_tests import light, parts
from reactor_unit.workers.self_tests.bench import Bench


@dataclass(frozen=True)
class SelfTest:
    """One test: `look(bench)` says in a sentence what it found, and raises Failed when that is not as it should be.

    An error of the hardware, or of the configuration, is a failure as well. It leaves its outputs off, however it ends.
    """

    name: str
    look: Callable[[Bench], str]


TESTS = (
    SelfTest("test_pioreactor_HAT_present", parts.hat_is_present),
    SelfTest("test_REF_is_in_correct_position", light.ref_is_in_position),
    SelfTest("test_all_positive_correlations_between_pds_and_leds", light.photodiodes_follow_the_led),
    SelfTest("test_ambient_light_interference", light.dark_is_dark),
    SelfTest("test_REF_is_lower_than_0_dot_256_volts", light.ref_is_lit_well),
    SelfTest("test_PD_is_near_0_volts_for_blank", light.blank_is_near_zero),
    SelfTest("test_detect_heating_pcb", parts.heater_board_is_present),
    SelfTest("test_positive_correlation_between_temperature_and_heating", parts.board_warms_with_heating),
    SelfTest("test_aux_power_is_not_too_high", parts.supply_is_not_too_high),
    SelfTest("test_positive_correlation_between_rpm_and_stirring", parts.speed_follows_duty_cycle),
)
