"""HTTP client of a unit: one method an endpoint, and one that waits for a task."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, NotRequired, Self, TypedDict, cast
from urllib.parse import quote, urlencode

import httpx

Json = dict[str, Any]
Take = Callable[[bytes], object]
BytesProgress = Callable[[int, int | None], object]  # how many came, of how many if that is known

DEFAULT_URL = "http://127.0.0.1:4999"
CONNECT_TIMEOUT_S = 3.0
FIRST_INTERVAL_S = 0.005
LONGEST_INTERVAL_S = 0.25
HARDWARE_STEP_S = 400.0  # a unit answers a session's step when the hardware has done it
UPLOAD_PIECE_BYTES = 64 * 1024
UPLOAD_PAUSE_S = 120.0  # while the unit's disk is slow, nothing is taken; at the end the archive is looked through
DOWNLOAD_PAUSE_S = 120.0  # while a large database is copied, nothing comes of an archive
OUTAGE_S = 5.0  # a unit replaces a dead web process within a second; a poll that meets the gap is no reason to give up
WITH_TOKEN = ("/system/update", "/plugins/install", "/plugins/uninstall", "/import_zipped_dot_pioreactor")
FINAL_STATES = frozenset({"complete", "failed"})
BUSY_STATUSES = frozenset({429, 503})


class Health(TypedDict):
    """Answer of `/health`."""

    status: str
    pioreactor_unit: str
    utc_time: str


class Accepted(TypedDict):
    """Answer to a request that became a task."""

    unit: str
    task_id: str
    result_url_path: str


class TaskRecord(TypedDict):
    """State of a task: `pending`, `in_progress`, `complete` (with `result`) or `failed` (with `error`)."""

    task_id: str
    result_url_path: str
    status: str
    result: NotRequired[Any]
    error: NotRequired[str]
    error_info: NotRequired[Json]
    progress: NotRequired[Json | None]


class Fault(TypedDict):
    """A latched fault, which keeps `jobs` from starting."""

    id: str
    kind: str
    message: str
    cause: str
    remediation: str
    jobs: list[str]
    job_name: str
    experiment: str
    at: str


class Reading(TypedDict):
    """One number of one series at one time."""

    timestamp: str
    name: str
    value: float


class JobRow(TypedDict):
    """One run of a job. Units send further fields, which are kept."""

    job_name: str
    job_id: str
    experiment: NotRequired[str]
    job_source: NotRequired[str]
    started_at: NotRequired[str]
    ended_at: NotRequired[str | None]
    state: NotRequired[str]


@dataclass(frozen=True)
class Progress:
    """How far a task is: `done` of `total` (None when the task does not know), and what it is doing."""

    done: float
    total: float | None
    message: str


class ClientError(Exception):
    """A request did not do what it was made for: what happened, why, and what to do."""

    def __init__(self, error: str, *, cause: str | None = None, remediation: str) -> None:
        super().__init__(error)
        self.error = error
        self.cause = cause or error
        self.remediation = remediation


class UnitUnreachable(ClientError):
    """No unit answered in time."""


class UnitAnswerError(ClientError):
    """The unit answered with an error, or with something this client cannot read.

    `status` is the HTTP status; `body` is the answer's JSON object, None when it was not one.
    """

    def __init__(
        self, error: str, *, cause: str | None = None, remediation: str, status: int, body: Json | None = None
    ) -> None:
        super().__init__(error, cause=cause, remediation=remediation)
        self.status = status
        self.body = body


class UnitTaskFailed(UnitAnswerError):
    """The task that was waited for ended as `failed`; `body` is its record."""


class TaskNotDone(ClientError):
    """The task that was waited for was not done in time; it goes on."""


class UnitClient:
    """Connection to the unit at `url`; a context manager, or `close()` it.

    `timeout` bounds each wait on the network, in s. Every method raises UnitUnreachable when nothing answers and
    UnitAnswerError when the unit refuses. Proxy settings of the environment are not used: units are on the local
    network. `token` is the administrator's, and sent with nothing but what needs it. Raises ValueError for a URL that
    cannot be one.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        timeout: float = 10.0,
        *,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        base = _base_url(url)
        self.url = str(base.copy_with(userinfo=b"")).rstrip("/")  # shown in messages: without a password
        self._base = str(base).rstrip("/")
        self._timeout_s = timeout
        self._token = token
        self._clock = clock
        self._sleep = sleep
        self._answered_at: float | None = None
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT_S)),
            verify=base.scheme == "https",  # loading certificates takes longer than the rest of a command
            trust_env=False,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, ex: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._http.close()

    def health(self) -> Health:
        """Return the unit's name and clock."""
        return cast(Health, self._get_object("/health"))

    def version(self) -> str:
        """Return the version of the unit's program, such as `v0.1.0`."""
        return str(self._get_object("/versions/app", needs="version")["version"])

    def run_job(
        self,
        job_name: str,
        *,
        options: Mapping[str, Any] | None = None,
        args: Sequence[str] = (),
        experiment: str | None = None,
        job_source: str | None = None,
        config_overrides: Sequence[Sequence[str]] = (),
    ) -> Accepted:
        """Ask for a start of `job_name`.

        Its options come as `options`, or as words of a command line in `args`. Each of `config_overrides` is a
        section, an option and a value. The task's result is `{"job_id", "job_name", "state"}`.
        """
        env = {"EXPERIMENT": experiment, "JOB_SOURCE": job_source}
        return self._submit(
            f"/jobs/run/job_name/{_segment(job_name)}",
            {
                "options": dict(options or {}),
                "args": list(args),
                "env": {name: value for name, value in env.items() if value is not None},
                "config_overrides": [list(override) for override in config_overrides],
            },
        )

    def stop_jobs(
        self,
        *,
        job_name: str | None = None,
        experiment: str | None = None,
        job_source: str | None = None,
        job_id: str | None = None,
    ) -> Accepted:
        """Ask for a stop of the jobs that match everything given; the task's result is `{"stopped": [...]}`.

        Raises ValueError when nothing is given, or an empty text: neither says which jobs are meant.
        """
        filters = {"job_name": job_name, "experiment": experiment, "job_source": job_source, "job_id": job_id}
        given = {name: value for name, value in filters.items() if value is not None}
        if not given or not all(given.values()):
            raise ValueError("A stop needs a job name, experiment, job source or job id, and none of them empty.")
        return self._submit("/jobs/stop", given)

    def stop_all_jobs(self) -> Accepted:
        """Ask for a stop of every job; the task's result is `{"stopped": [...]}`."""
        return self._submit("/jobs/stop/all", {})

    def check_hardware(
        self, *, model_name: str | None = None, model_version: str | None = None, pumps: bool = False
    ) -> Accepted:
        """Ask for a check of the hardware; the task's result is `{"ok", "findings"}`.

        `pumps` has each pump run for a second. Another model than the unit's has its chips looked for.
        """
        body: Json = {"model_name": model_name, "model_version": model_version, "pumps": pumps or None}
        return self._submit("/hardware/check", {name: value for name, value in body.items() if value is not None})

    def reboot(self) -> Accepted:
        """Ask for a reboot of the unit's machine; its jobs are stopped first."""
        return self._submit("/system/reboot", {})

    def shut_down(self) -> Accepted:
        """Ask for the unit's machine to be powered off; its jobs are stopped first."""
        return self._submit("/system/shutdown", {})

    def clock(self) -> str:
        """Return the time of the unit's machine, such as `2026-01-31T12:45:00.123Z`."""
        return str(self._get_object("/system/utc_clock", needs="clock_time")["clock_time"])

    def set_clock(self, utc_time: str) -> Accepted:
        """Ask for the clock to be set to a time such as `2026-01-31T12:45:00Z`.

        A unit that does not lead its cluster fetches the time from the network instead.
        """
        return self._submit("/system/utc_clock", {"utc_clock_time": utc_time})

    def web_server_status(self) -> Json:
        """Return `{"service", "state", "raw_status"}` of the unit's own processes."""
        return self._get_object("/system/web_server/status", needs="state")

    def restart_web_server(self) -> Accepted:
        """Ask for another web process in the place of the one that answers; no request is refused meanwhile."""
        return self._submit("/system/web_server/restart", {})

    def running_jobs(self, job_name: str | None = None, experiment: str | None = None) -> list[JobRow]:
        """Return the running jobs, all or those of a name, of an experiment, or of both."""
        if experiment is not None:
            rows = self._get_rows(f"/jobs/running/experiments/{_segment(experiment)}")
            return [row for row in rows if job_name in (None, row["job_name"])]
        if job_name is not None:
            return self._get_rows(f"/jobs/running/{_segment(job_name)}")
        return self._get_rows("/jobs/running")

    def long_running_jobs(self) -> list[JobRow]:
        """Return the running jobs that are meant to run all the time."""
        return self._get_rows("/long_running_jobs/running")

    def job_history(self) -> list[JobRow]:
        """Return every job the unit remembers, newest first."""
        return self._get_rows("/jobs")

    def settings(self, job_name: str, *, typed: bool = False) -> Json:
        """Return what a running job publishes, name to value: texts, or JSON types with `typed`."""
        path = f"/jobs/settings/job_name/{_segment(job_name)}"
        settings = self._get_object(path, typed=typed, needs="settings")["settings"]
        if not isinstance(settings, dict):
            raise self._unreadable(200)
        return settings

    def setting(self, job_name: str, setting: str, *, typed: bool = False) -> Any:
        """Return one published setting of a running job: a text, or its JSON type with `typed`."""
        path = f"/jobs/settings/job_name/{_segment(job_name)}/setting/{_segment(setting)}"
        return self._get_object(path, typed=typed, needs=setting)[setting]

    def set_setting(self, job_name: str, setting: str, value: Any) -> Any:
        """Let a running job change a setting; return the value that is then in force, in its JSON type."""
        path = f"/jobs/settings/job_name/{_segment(job_name)}/setting/{_segment(setting)}"
        response = self._send("PUT", path, {"value": value})
        answer = self._checked(response)
        if not isinstance(answer, dict) or "value" not in answer:
            raise self._unreadable(response.status_code)
        return answer["value"]

    def self_test_results(self) -> Json:
        """Return the newest run of the self-tests (`job_id`, `planned`), and the last result of each (`results`)."""
        return self._get_object("/self_test/results", needs="results")

    def faults(self) -> list[Fault]:
        """Return the latched faults, oldest first."""
        return cast(list[Fault], self._get_object("/faults", needs="faults")["faults"])

    def clear_fault(self, fault_id: str) -> Fault:
        """Clear a latched fault and return what it was."""
        response = self._send("DELETE", f"/faults/{_segment(fault_id)}")
        answer = self._checked(response)
        if not isinstance(answer, dict) or "cleared" not in answer:
            raise self._unreadable(response.status_code)
        return cast(Fault, answer["cleared"])

    def vial(self) -> Json:
        """Return what the unit counts of the liquid in the vial; volumes in ml."""
        return self._get_object("/vial")

    def set_vial(self, said: Json) -> Json:
        """Say what is in the vial: any of `current_volume_ml`, `max_working_volume_ml`, `alt_media_fraction`."""
        answer = self._send("PUT", "/vial", said)
        state = self._checked(answer)
        if not isinstance(state, dict):
            raise self._unreadable(answer.status_code)
        return state

    def reading_names(self) -> list[str]:
        """Return the names of all series of readings."""
        return list(self._get_object("/readings/names", needs="names")["names"])

    def readings(
        self,
        names: Sequence[str] = (),
        *,
        since: str | float | None = None,
        until: str | float | None = None,
        limit: int | None = None,
    ) -> list[Reading]:
        """Return readings in the order of time: the first from `since` on, or without it the newest before `until`.

        Times are ISO timestamps or seconds since 1970. A name may end with `*`; no name means all.
        """
        answer = self._get_object(f"/readings{_query(names, since, until, limit)}", needs="readings")
        return cast(list[Reading], answer["readings"])

    def readings_csv(
        self,
        names: Sequence[str] = (),
        *,
        since: str | float | None = None,
        until: str | float | None = None,
        limit: int | None = None,
    ) -> str:
        """Return what `readings` does as CSV, with a line of headers."""
        response = self._send("GET", f"/readings{_query(names, since, until, limit, form='csv')}")
        if not response.is_success:
            raise self._refusal(response)
        return response.text

    def calibrations(self, device: str | None = None) -> dict[str, list[Json]]:
        """Return the calibrations of each device, or of one."""
        if device is None:
            lists = self._get_object("/calibrations")
        else:
            lists = {device: self._checked(self._send("GET", f"/calibrations/{_segment(device)}"))}
        if not all(isinstance(found, list) and all(map(_is_calibration, found)) for found in lists.values()):
            raise self._unreadable(200)
        return lists

    def active_calibrations(self) -> dict[str, Json]:
        """Return the active calibration of each device that has one."""
        active = self._get_object("/active_calibrations")
        if not all(map(_is_calibration, active.values())):
            raise self._unreadable(200)
        return active

    def calibration(self, device: str, name: str) -> Json:
        """Return one calibration."""
        path = f"/calibrations/{_segment(device)}/{_segment(name)}"
        return self._get_object(path, needs="calibration_name")

    def activate_calibration(self, device: str, name: str) -> None:
        """Make a calibration the active one of its device."""
        self._checked(self._send("PATCH", f"/active_calibrations/{_segment(device)}/{_segment(name)}"))

    def deactivate_calibration(self, device: str) -> None:
        """Let a device have no active calibration."""
        self._checked(self._send("DELETE", f"/active_calibrations/{_segment(device)}"))

    def delete_calibration(self, device: str, name: str) -> None:
        """Delete a calibration."""
        self._checked(self._send("DELETE", f"/calibrations/{_segment(device)}/{_segment(name)}"))

    def zipped_calibrations(self) -> bytes:
        """Return an archive of the files of all calibrations."""
        response = self._send("GET", "/zipped_calibrations")
        if not response.is_success:
            raise self._refusal(response)
        return response.content

    def folder(self, path: str = "") -> Json:
        """Return what a folder of the unit's data folder holds: `current`, `dirs` and `files`."""
        answer = self._get_object(_file_path(path), needs="dirs")
        if not isinstance(answer.get("files"), list):
            raise self._unreadable(200)
        return answer

    def download_file(self, path: str, take: Take, progress: BytesProgress) -> None:
        """Give the content of a file of the unit's data folder to `take`, piece by piece."""
        self._download(_file_path(path), take, progress)

    def download_archive(self, take: Take, progress: BytesProgress) -> None:
        """Give an archive of the unit's data folder to `take`, piece by piece; its length is not known before."""
        self._download("/zipped_dot_pioreactor", take, progress)

    def import_archive(self, file: BinaryIO, size: int, progress: BytesProgress) -> Accepted:
        """Send an archive of `size` bytes that is to replace the unit's data folder.

        `progress` is told how many bytes went. The task ends in the unit's next life, some seconds after all is ready.
        """
        boundary = os.urandom(16).hex()
        disposition = 'form-data; name="archive"; filename="archive.zip"'
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: application/zip\r\n\r\n".encode()
        end = f"\r\n--{boundary}--\r\n".encode()

        def pieces() -> Iterator[bytes]:
            yield head
            done = 0
            while piece := file.read(min(UPLOAD_PIECE_BYTES, size - done)):
                done += len(piece)
                yield piece
                progress(done, size)
            yield end

        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        headers["Content-Length"] = str(len(head) + size + len(end))
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        path = "/import_zipped_dot_pioreactor"
        with self._network_errors("POST"):
            response = self._http.post(
                f"{self._base}/unit_api{path}",
                content=pieces(),
                headers=headers,
                timeout=httpx.Timeout(UPLOAD_PAUSE_S, connect=min(self._timeout_s, CONNECT_TIMEOUT_S)),
            )
        return self._accepted(response)

    def remove_file(self, filepath: str) -> Accepted:
        """Ask for the removal of a file of the unit's data folder."""
        return self._submit("/system/remove_file", {"filepath": filepath})

    def calibration_protocols(self) -> list[Json]:
        """Return the guided ways to calibrate, with the device each is for."""
        response = self._send("GET", "/calibration_protocols")
        found = self._checked(response)
        if not isinstance(found, list) or not all(isinstance(one, dict) and "protocol_name" in one for one in found):
            raise self._unreadable(response.status_code)
        return found

    def start_session(self, device: str, protocol: str) -> Json:
        """Begin a calibration session; return `{"session", "step"}`."""
        return self._session("POST", "", {"target_device": device, "protocol_name": protocol})

    def session(self, session_id: str) -> Json:
        """Return a calibration session and the step it is at."""
        return self._session("GET", f"/{_segment(session_id)}")

    def answer_session(self, session_id: str, inputs: Json, *, revision: int) -> Json:
        """Answer the step of a session that has this `revision`; return the next one, when the hardware has done it."""
        path = f"/{_segment(session_id)}/inputs"
        return self._session("POST", path, {"inputs": inputs, "revision": revision}, timeout_s=HARDWARE_STEP_S)

    def abort_session(self, session_id: str) -> Json:
        """Abort a calibration session; when this returns, what it had on is off."""
        return self._session("POST", f"/{_segment(session_id)}/abort", {})

    def _session(self, method: str, path: str, body: Json | None = None, timeout_s: float | None = None) -> Json:
        response = self._send(method, f"/calibrations/sessions{path}", body, timeout_s)
        answer = self._checked(response)
        if not isinstance(answer, dict) or not isinstance(answer.get("session"), dict):
            raise self._unreadable(response.status_code)
        return answer

    def task(self, task_id: str) -> TaskRecord:
        """Return the record of a task, a failed one too. An unknown or expired id is a UnitAnswerError of 404."""
        return self._task(task_id)[0]

    def wait_for(
        self,
        task_id: str,
        timeout_s: float = 60.0,
        progress: Callable[[Progress], None] | None = None,
        *,
        longest_interval_s: float = LONGEST_INTERVAL_S,
    ) -> Any:
        """Return the result of a task once it is complete; `finished_task` says the rest."""
        return self.finished_task(task_id, timeout_s, progress, longest_interval_s=longest_interval_s).get("result")

    def finished_task(
        self,
        task_id: str,
        timeout_s: float = 60.0,
        progress: Callable[[Progress], None] | None = None,
        *,
        longest_interval_s: float = LONGEST_INTERVAL_S,
    ) -> TaskRecord:
        """Return the record of a task once it is complete; `progress` is called whenever its progress changed.

        The pause between polls grows from 5 ms to `longest_interval_s`; Retry-After, in whole seconds, can only
        shorten it. Raises UnitTaskFailed when the task failed, TaskNotDone after `timeout_s`.
        """
        deadline = self._clock() + timeout_s
        pause_s = FIRST_INTERVAL_S
        seen: Progress | None = None
        while True:
            record, retry_after_s = self._poll(task_id)
            if record is not None and record["status"] in FINAL_STATES:
                return completed(record)
            now_at = _progress_of(record)
            if progress is not None and now_at is not None and now_at != seen:
                seen = now_at
                progress(now_at)
            left_s = deadline - self._clock()
            if left_s <= 0:
                status = record["status"] if record is not None else "of unknown state"
                raise TaskNotDone(
                    f"Task {task_id} is still {status} after {timeout_s:g} s.",
                    remediation=f"It goes on. Wait longer with `reactor-unit tasks wait {task_id}`.",
                )
            hint_s = pause_s if retry_after_s is None else max(retry_after_s, FIRST_INTERVAL_S)
            self._sleep(min(pause_s, hint_s, left_s))
            pause_s = min(pause_s * 1.5, longest_interval_s)

    def _poll(self, task_id: str) -> tuple[TaskRecord | None, float | None]:
        """Return the record and its Retry-After, or None for the record in a short outage of a unit that answered."""
        try:
            return self._task(task_id)
        except (UnitUnreachable, UnitAnswerError) as ex:
            is_lasting = isinstance(ex, UnitAnswerError) and ex.status not in BUSY_STATUSES
            if is_lasting or self._answered_at is None or self._clock() - self._answered_at > OUTAGE_S:
                raise
            return None, None

    def _task(self, task_id: str) -> tuple[TaskRecord, float | None]:
        response = self._send("GET", f"/task_results/{_segment(task_id)}")
        body = _object(response)
        if body is not None and (response.is_success or body.get("status") == "failed"):
            if not isinstance(body.get("status"), str):
                raise self._unreadable(response.status_code)
            self._answered_at = self._clock()
            return cast(TaskRecord, body), _retry_after_s(response)
        raise self._refusal(response)

    def _submit(self, path: str, body: Json) -> Accepted:
        return self._accepted(self._send("POST", path, body))

    def _accepted(self, response: httpx.Response) -> Accepted:
        answer = self._checked(response)
        if isinstance(answer, dict) and isinstance(answer.get("task_id"), str):
            return cast(Accepted, answer)
        if isinstance(answer, dict) and "lock" in answer:
            raise UnitAnswerError(
                f"The unit is busy with the same kind of work ({answer['lock']}).",
                remediation="Wait until it is done, then try again.",
                status=response.status_code,
                body=answer,
            )
        raise self._unreadable(response.status_code)

    def _get_object(self, path: str, *, typed: bool = False, needs: str | None = None) -> Json:
        response = self._send("GET", f"{path}?typed=true" if typed else path)
        answer = self._checked(response)
        if not isinstance(answer, dict) or (needs is not None and needs not in answer):
            raise self._unreadable(response.status_code)
        return answer

    def _get_rows(self, path: str) -> list[JobRow]:
        response = self._send("GET", path)
        answer = self._checked(response)
        if not isinstance(answer, list) or not all(isinstance(row, dict) and "job_name" in row for row in answer):
            raise self._unreadable(response.status_code)
        return cast(list[JobRow], answer)

    def _download(self, path: str, take: Take, progress: BytesProgress) -> None:
        timeout = httpx.Timeout(DOWNLOAD_PAUSE_S, connect=min(self._timeout_s, CONNECT_TIMEOUT_S))
        url = f"{self._base}/unit_api{path}"
        with self._network_errors("GET"), self._http.stream("GET", url, timeout=timeout) as response:
            if not response.is_success:
                response.read()
                raise self._refusal(response)
            if response.headers.get("content-type") == "application/json":
                raise ClientError(f"{path} is a folder.", remediation="Name one of its files.")
            length = response.headers.get("content-length", "")
            total, done = int(length) if length.isdecimal() else None, 0
            for piece in response.iter_bytes():
                take(piece)
                done += len(piece)
                progress(done, total)

    def _send(self, method: str, path: str, body: Json | None = None, timeout_s: float | None = None) -> httpx.Response:
        connect_s = min(self._timeout_s, CONNECT_TIMEOUT_S)
        needs_token = self._token is not None and path.startswith(WITH_TOKEN)
        with self._network_errors(method):
            return self._http.request(
                method,
                f"{self._base}/unit_api{path}",
                json=body,
                headers={"Authorization": f"Bearer {self._token}"} if needs_token else None,
                timeout=httpx.Timeout(timeout_s or self._timeout_s, connect=connect_s),
            )

    @contextmanager
    def _network_errors(self, method: str) -> Iterator[None]:
        """Turn what can go wrong on the network into a UnitUnreachable."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as ex:
            raise UnitUnreachable(
                f"No unit answers at {self.url}.",
                cause=str(ex),
                remediation="Is the unit running? Start it with `reactor-unit serve`, "
                "or name another one with --url or REACTOR_UNIT_URL.",
            ) from ex
        except httpx.RequestError as ex:
            cause = f"No answer within {self._timeout_s:g} s." if isinstance(ex, httpx.TimeoutException) else str(ex)
            raise UnitUnreachable(
                f"The connection to {self.url} gave no answer.",
                cause=cause,
                remediation="Try again."
                if method == "GET"
                else "The unit may have carried it out: look with `reactor-unit jobs list` before you repeat it.",
            ) from ex

    def _checked(self, response: httpx.Response) -> Any:
        """Return the JSON of a good answer. Raises UnitAnswerError for any other."""
        if not response.is_success:
            raise self._refusal(response)
        try:
            answer = response.json()
        except ValueError as ex:
            raise self._unreadable(response.status_code) from ex
        self._answered_at = self._clock()
        return answer

    def _refusal(self, response: httpx.Response) -> UnitAnswerError:
        body = _object(response)
        if body is None or not isinstance(body.get("error"), str):
            return self._unreadable(response.status_code)
        return _answer_error(UnitAnswerError, body, response.status_code)

    def _unreadable(self, status: int) -> UnitAnswerError:
        return UnitAnswerError(
            f"What answers at {self.url} does not answer like a unit (HTTP status {status}).",
            remediation="Check the address: is this a reactor-unit, and of a version that knows this request?",
            status=status,
        )


def completed(record: TaskRecord) -> TaskRecord:
    """Return `record`. Raises UnitTaskFailed, with the task's own error, when it is that of a failed task."""
    if record["status"] == "failed":
        raise _answer_error(UnitTaskFailed, cast(Json, record), 500)
    return record


def _base_url(url: str) -> httpx.URL:
    """Return `url`, with `http://` in front when it names no scheme. Raises ValueError."""
    try:
        base = httpx.URL(url if "://" in url else f"http://{url}")
    except (httpx.InvalidURL, ValueError) as ex:
        raise ValueError(f"{url!r} is not a URL: {ex}") from ex
    if base.scheme not in ("http", "https") or not base.host or base.query or base.fragment:
        raise ValueError(f"{url!r} is not the address of a unit, such as {DEFAULT_URL}")
    if base.port is not None and not 0 < base.port < 65536:
        raise ValueError(f"{url!r} has a port outside 1..65535")
    return base


def _query(
    names: Sequence[str],
    since: str | float | None,
    until: str | float | None,
    limit: int | None,
    form: str | None = None,
) -> str:
    given = {"names": ",".join(names) or None, "since": since, "until": until, "limit": limit, "format": form}
    params = {name: value for name, value in given.items() if value is not None}
    return f"?{urlencode(params)}" if params else ""


def _file_path(path: str) -> str:
    return "/system/path/" + quote(path.strip("/"))


def _segment(text: str) -> str:
    """Return `text` as one segment of a path; dots are kept from meaning the folder above."""
    return quote(text, safe="").replace(".", "%2E")


def _is_calibration(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("calibration_name"), str)


def _object(response: httpx.Response) -> Json | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _retry_after_s(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _answer_error(kind: type[UnitAnswerError], body: Json, status: int) -> UnitAnswerError:
    info = body.get("error_info")
    info = info if isinstance(info, dict) else {}
    return kind(
        str(body.get("error") or "The task failed without saying why."),
        cause=info.get("cause"),
        remediation=info.get("remediation") or "See the unit's log for details.",
        status=status,
        body=body,
    )


def _progress_of(record: TaskRecord | None) -> Progress | None:
    progress = record.get("progress") if record is not None else None
    if not isinstance(progress, dict):
        return None
    done, total = progress.get("done"), progress.get("total")
    return Progress(
        done=done if isinstance(done, int | float) else 0,
        total=total if isinstance(total, int | float) and total > 0 else None,
        message=str(progress.get("message") or ""),
    )
