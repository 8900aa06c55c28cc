"""The self-test: ten looks at the reactor before an experiment, each passed or failed with its reason."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from reactor_unit import errors
from reactor_unit.config import Config
from reactor_unit.drivers.checks import FAIL, OK, Finding
from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.hardware import Hardware
from reactor_unit.drivers.leases import OutputRevoked
from reactor_unit.errors import InvalidRequest
from reactor_unit.job_spec import UNIT_EXPERIMENT, JobSpec, Option, Setting
from reactor_unit.self_test_report import TABLE, Report, Result
from reactor_unit.series import Series
from reactor_unit.workers.job import Job, JobRuntime
from reactor_unit.workers.live import Finished
from reactor_unit.workers.self_tests import TESTS, SelfTest
from reactor_unit.workers.self_tests.bench import Bench, Failed, LimitedTime

log = logging.getLogger(__name__)

RESULTS_TABLE = "self_test_results"  # the reference's: name of a test -> 1 or 0
LIMIT_S = 180.0  # real seconds for one test
PAUSE_S = 0.1  # between two tests


class SelfTestJob(Job):
    """Carry out the tests one after the other, tell each result as it comes, and end.

    A test that fails is no error of the job. One that is broken off by a sleep begins anew on waking.
    """

    spec = JobSpec(
        name="self_test",
        help="Test sensors, light, heater and stirrer; put a vial with water and a stir bar in, and close the lid.",
        options=(
            Option("k", "text", "Only the tests with this in their names."),
            Option(
                "retry_failed", "flag", "Only the tests that failed when they were last carried out.", default=False
            ),
        ),
        settings=(
            *(Setting(test.name, "integer", series=Series(f"self_test.{test.name}")) for test in TESTS),
            Setting("correlations_between_pds_and_leds", "json"),
            Setting("all_tests_passed", "integer", series=Series("self_test.all_tests_passed")),
            Setting("findings", "json"),
        ),
        excludes=("od_reading", "temperature_automation", "stirring", "dosing_automation", "led_automation"),
        recalls=(TABLE,),
        experiment=UNIT_EXPERIMENT,
        interlocks=(
            "Each test leaves its LEDs, heater and stirrer off, however it ends; a stop ends it at once.",
            "A heater's board that is above 55 degC, or warms while the heater is off, is not heated.",
        ),
    )

    def __init__(self, runtime: JobRuntime, hardware: Hardware, config: Config, options: Mapping[str, Any]) -> None:
        super().__init__(runtime, hardware, config, options)
        self._report = Report.from_text(runtime.recalled(TABLE))
        self._tests = chosen(self._report.failed() if options.get("retry_failed") else None, options.get("k") or "")
        self._findings: list[Finding] = []

    @property
    def interval_s(self) -> float:
        """Seconds from one test to the next, where a test is not longer."""
        return PAUSE_S

    def start(self) -> float:
        """Say which tests are to come."""
        self._report = self._report.begun(self.runtime.request.job_id, [test.name for test in self._tests])
        self._remember()
        return 0.0

    def tick(self) -> None:
        """Carry out the next test; after the last one say whether all passed."""
        test = self._tests[len(self._findings)]
        finding = self._carry_out(test)
        self._findings.append(finding)
        self._tell(finding)
        if len(self._findings) == len(self._tests):
            failed = [finding.name for finding in self._findings if finding.status == FAIL]
            self.runtime.publish({"all_tests_passed": int(not failed)})
            log.info("%d of %d tests passed.", len(self._tests) - len(failed), len(self._tests))
            raise Finished

    def _carry_out(self, test: SelfTest) -> Finding:
        """Return what a test finds. Whatever is wrong with hardware and configuration is a finding."""
        limited = LimitedTime(self.runtime, LIMIT_S, time.monotonic)
        try:
            return Finding(test.name, OK, test.look(Bench(self.hardware, self.config, limited, self.runtime.publish)))
        except Failed as ex:
            return Finding(test.name, FAIL, ex.what, ex.remedy)
        except OutputRevoked:
            raise  # the job is to end
        except (HardwareFault, errors.UnitError) as ex:
            error = errors.from_exception(ex)
            because = "" if error.cause == error.message else f" {error.cause}"
            return Finding(test.name, FAIL, f"{error.message}{because}", error.remediation)

    def _tell(self, finding: Finding) -> None:
        passed = finding.status == OK
        (log.info if passed else log.warning)("%s: %s", finding.name, finding.what)
        self._report = self._report.with_result(
            Result(**finding.as_dict(), timestamp=self.runtime.utc_timestamp(), job_id=self.runtime.request.job_id)
        )
        self.runtime.publish({finding.name: int(passed), "findings": [one.as_dict() for one in self._findings]})
        self.runtime.remember(RESULTS_TABLE, int(passed), experiment=finding.name)
        self._remember()

    def _remember(self) -> None:
        self.runtime.remember(TABLE, json.dumps(self._report.as_dict()))

    def close(self) -> None:
        """Do nothing: each test has turned off what it had on."""


def chosen(names: Sequence[str] | None, part: str) -> list[SelfTest]:
    """Return the tests of these names, None for all, that have `part` in theirs. Raises InvalidRequest for none."""
    if names is not None and not names:
        raise InvalidRequest("No self-test failed when it was last carried out, so there is none to retry.")
    tests = [test for test in TESTS if names is None or test.name in names]
    matching = [test for test in tests if part.lower() in test.name.lower()]
    if not matching:
        raise InvalidRequest(
            f"No self-test has {part!r} in its name.",
            remediation=f"There are {', '.join(test.name for test in tests)}.",
        )
    return matching
