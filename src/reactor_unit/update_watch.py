"""The program that watches a new version's first start, and puts the old one back when that does not serve.

`python -m reactor_unit.update_watch RECORD_ID`, run by the version that makes way. It goes into the background when it
has the environment's lock. All it needs is imported at its start: the files it came from are about to be exchanged.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from reactor_unit.environment import LISTENER, OVER, TRIAL, CannotChange, Environment, Record

TRIAL_WITHIN_S = 180.0  # a Pi Zero 2 W takes 15 s from one version to the next
PROVEN_S = 3.0  # it has to answer again after this
END_WITHIN_S = 20.0
LOOK_EVERY_S = 0.2


class Watch:
    """Watches one trial; `record["trial"]` says what `succession` knows of the unit that is on trial."""

    def __init__(
        self,
        environment: Environment,
        record: Record,
        served_version: Callable[[str, int], str],
        *,
        within_s: float = TRIAL_WITHIN_S,
        proven_s: float = PROVEN_S,
    ) -> None:
        self._environment = environment
        self._record = record
        self._trial: dict[str, Any] = record["trial"]
        self._served_version = served_version
        self._within_s = within_s
        self._proven_s = proven_s
        self._pidfd = os.pidfd_open(self._trial["pid"])

    def run(self) -> subprocess.Popen[bytes] | None:
        """Wait until the new version has proved itself, or put back the old one; then write down the outcome.

        Returns the unit that it started again, None where it started none.
        """
        problem = self._problem()
        if problem is None:
            return None  # it never came to a trial
        if not problem:
            self._environment.write_record({**self._record, "state": OVER, "failed": None})
            with suppress(OSError):
                self._environment.drop_copy()
            return None
        self._environment.put_back(self._record, f"The version {self._record['to']} did not serve.", problem)
        self._end_unit()
        return None if self._trial["is_managed"] else self._start_unit()  # systemd starts what is installed

    def _problem(self) -> str | None:
        """Return what is wrong with the new version, "" when nothing is, None when there is no trial any more."""
        deadline = time.monotonic() + self._within_s
        answered_at: float | None = None
        while time.monotonic() < deadline:
            if self._has_ended(LOOK_EVERY_S):
                return "It ended during its first start."
            if (self._environment.read_record() or {}).get("state") != TRIAL:
                return None
            version = self._served_version(self._trial["host"], self._trial["port"])
            if version != f"v{self._record['to']}":
                answered_at = None
            elif answered_at is None:
                answered_at = time.monotonic()
            elif time.monotonic() - answered_at >= self._proven_s:
                return ""
        return f"It did not answer within {self._within_s:g} s."

    def _has_ended(self, within_s: float) -> bool:
        return bool(select.select([self._pidfd], [], [], within_s)[0])

    def _end_unit(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)
            if self._has_ended(END_WITHIN_S):
                return

    def _start_unit(self) -> subprocess.Popen[bytes]:
        descriptor = self._trial["fd"]
        return subprocess.Popen(
            self._trial["argv"],
            cwd=self._trial["cwd"],
            env={**os.environ, LISTENER: str(descriptor)},
            pass_fds=(descriptor,),
            start_new_session=True,
        )


def served_version(host: str, port: int) -> str:
    """Return which version of the unit answers there, "" if none does."""
    try:
        with closing(http.client.HTTPConnection(host, port, timeout=2.0)) as connection:
            connection.request("GET", "/unit_api/versions/app")
            return str(json.loads(connection.getresponse().read(1000))["version"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return ""


def main(record_id: str) -> int:
    """Take the environment's lock and the record of this id, go into the background, and watch."""
    try:
        environment = Environment.current()
        environment.lock()  # until the end of this process
    except CannotChange as ex:
        print(ex, file=sys.stderr)
        return 1
    record = environment.read_record()
    if record is None or record["id"] != record_id or record["state"] != TRIAL:
        print("There is no trial to watch.", file=sys.stderr)
        return 1
    watch = Watch(environment, record, served_version)
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    watch.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
