"""What self-tests found: the last result of each test, and which run is the newest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

TABLE = "self_test_findings"  # among what jobs remember
OK, FAIL = "ok", "fail"


@dataclass(frozen=True)
class Result:
    """The last result of one test: `what` it found, `remedy` is empty when all is well, `job_id` names the run."""

    name: str
    status: str  # OK or FAIL
    what: str
    remedy: str
    timestamp: str
    job_id: str


@dataclass(frozen=True)
class Report:
    """The last result of each test that was ever carried out, and the tests that the newest run was to carry out."""

    job_id: str | None = None  # of the newest run
    planned: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()

    @classmethod
    def from_text(cls, text: str | None) -> Report:
        """Return the report that is remembered as JSON; an empty one where there is none that can be read."""
        try:
            return cls.from_dict(json.loads(text or "{}"))
        except (ValueError, TypeError, AttributeError):
            return cls()

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Report:
        """Return what `as_dict` made. Raises TypeError for anything else."""
        results = tuple(Result(**result) for result in found.get("results", ()))
        return cls(found.get("job_id"), tuple(found.get("planned", ())), results)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "job_id": self.job_id,
            "planned": list(self.planned),
            "results": [asdict(result) for result in self.results],
        }

    def begun(self, job_id: str, planned: Iterable[str]) -> Report:
        """Return it with a new run that is to carry out some tests; the results of before stay until theirs come."""
        return replace(self, job_id=job_id, planned=tuple(planned))

    def with_result(self, result: Result) -> Report:
        """Return it with one more result, instead of that test's last one."""
        if result.name not in {known.name for known in self.results}:
            return replace(self, results=(*self.results, result))
        return replace(self, results=tuple(result if known.name == result.name else known for known in self.results))

    def failed(self) -> list[str]:
        """Return the names of the tests whose last result is a failure."""
        return [result.name for result in self.results if result.status == FAIL]

    def of_newest_run(self) -> list[Result]:
        """Return what the newest run found so far, in its order."""
        found = {result.name: result for result in self.results if result.job_id == self.job_id}
        return [found[name] for name in self.planned if name in found]
