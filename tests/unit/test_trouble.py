"""Errors of the hardware within a tick: tried again within a bound, and no longer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from reactor_unit.drivers.errors import HardwareFault
from reactor_unit.drivers.leases import OutputRevoked
from reactor_unit.workers.job import TROUBLE_LIMIT, Job, Trouble


class FailingJob:
    trouble_limit = TROUBLE_LIMIT

    def __init__(self) -> None:
        self.runtime = SimpleNamespace(request=SimpleNamespace(job_name="heating"))
        self.errors: list[BaseException | None] = []
        self.told: list[BaseException] = []

    def tick(self) -> None:
        error = self.errors.pop(0)
        if error is not None:
            raise error

    def on_trouble(self, error: HardwareFault) -> None:
        self.told.append(error)


FAULT = HardwareFault("The thermometer does not answer.")


@pytest.fixture
def job() -> FailingJob:
    return FailingJob()


def watch(job: FailingJob, *errors: BaseException | None) -> Any:
    trouble = Trouble(cast(Job, job))
    job.errors = list(errors)
    while job.errors:
        trouble.watch(job.tick)
    return trouble


def test_the_job_is_told_of_each_and_ends_with_the_third_in_a_row(job: FailingJob) -> None:
    trouble = watch(job, FAULT, FAULT)
    assert job.told == [FAULT, FAULT]
    job.errors = [FAULT]
    with pytest.raises(HardwareFault, match="thermometer"):
        trouble.watch(job.tick)
    assert len(job.told) == 3  # before it ends: an interlock has to act


def test_a_tick_that_succeeds_starts_the_count_anew(job: FailingJob, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        watch(job, *[FAULT, FAULT, None] * 20)
    assert "answers again" in caplog.text


def test_another_error_and_an_output_taken_away_end_the_job_at_once(job: FailingJob) -> None:
    for error in (ZeroDivisionError(), OutputRevoked("GPIO 18 stays off.")):
        with pytest.raises(type(error)):
            watch(job, error)
    assert job.told == []
