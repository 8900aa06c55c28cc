"""Stand-ins for the unit behind the API: they keep the promises of `gateway_protocol` in memory and record calls."""

import io
import json

from falcon import testing

from reactor_unit.errors import IdempotencyKeyReused, JobNotRunning, NoSuchFault, NoSuchJob, NoSuchTask, RequestInFlight
from reactor_unit.gateway_protocol import Accepted
from reactor_unit.job_spec import Command, JobSpec, Option, Setting

STIRRING = JobSpec(
    name="stirring",
    help="Stir.",
    options=(
        Option("target_rpm", "float range", minimum=0, maximum=1500, unit="rpm"),
        Option("use_rpm", "boolean"),
        Option("dry_run", "flag"),
    ),
    settings=(
        Setting("target_rpm", "float", "RPM", settable=True, minimum=0.0, maximum=1500.0),
        Setting("measured_rpm", "MeasuredRPM", "RPM"),
        Setting("enable_dodging_od", "boolean", settable=True),
        Setting("cycles", "integer", settable=True),
        Setting("label", "string", settable=True),
        Setting("versions", "json", settable=True),
    ),
)
OD_READING = JobSpec(
    name="od_reading",
    help="Measure.",
    options=(Option("interval", "float"),),
    recalls=("od_blank",),
    calibrations=("od90",),
    commands=(Command("forget_all", "Forget."),),
)
CATALOGUE = {"stirring": STIRRING, "od_reading": OD_READING}


def row(job_name, *, job_id="1", experiment="Exp001", is_long_running_job=0):
    return {
        "job_id": job_id,
        "unit": "pio01",
        "experiment": experiment,
        "job_name": job_name,
        "job_source": "user",
        "started_at": "2026-01-31T12:45:00.000Z",
        "is_running": 1,
        "leader": "pio01",
        "pid": 812,
        "is_long_running_job": is_long_running_job,
        "ended_at": None,
    }


def history_row(job_name, *, ended=None, **given):
    """Return a row as the history has it; `ended` is how the job ended: disconnected or lost."""
    shown = {**row(job_name, **given), "state": ended or "ready", "cause": None, "options": {"target_rpm": 300.0}}
    if ended:
        shown.update(is_running=0, ended_at="2026-01-31T13:00:00.000Z")
    if ended == "lost":
        shown["cause"] = "Its process was killed by SIGKILL."
    return shown


class LocalClient(testing.TestClient):
    """A client that asks the unit from its own machine, under a name of its own."""

    def simulate_request(self, *args, **kwargs):
        return super().simulate_request(*args, **{"host": "localhost", "remote_addr": "127.0.0.1", **kwargs})


class FakeGateway:
    def __init__(self):
        self.submitted = []
        self.outcome = None  # what `submit` answers; an exception is raised
        self.outcomes = {}  # by name: how a task ends that is waited for
        self.cancelled = []
        self.failure = None  # what every reading call raises
        self.supervised = True
        self.under_way = set()  # names of tasks
        self.locks = []  # that submitted tasks asked for
        self.tasks = {}
        self.waits = []  # who was held, and for how long at most
        self.has_room_to_wait = True
        self.ends_while_waited = None  # the answer of a task that ends while a request is held
        self.rows = []
        self.published = {}
        self.history = []
        self.changes = []  # what was set
        self.remembered = {}  # (table, experiment) -> value
        self.latched = []
        self.reports = []  # on plugins
        self.looks = []  # at plugins: whether somebody waited
        self.on_look = None  # an exception for who waits, or what happens then
        self.readings_asked = []
        self.found = []  # readings; an exception among them is raised when its turn comes

    def is_under_way(self, name):
        return name in self.under_way

    def submit(self, name, args, *, task_id=None, lock=None):
        json.dumps(args, allow_nan=False)  # it has to travel
        self.submitted.append((name, args, task_id))
        self.locks.append(lock)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome or Accepted(task_id or f"task-{len(self.submitted)}")

    def is_supervised(self):
        return self.supervised

    def task(self, task_id):
        self._fail()
        if task_id not in self.tasks:
            raise NoSuchTask(f"There is no task {task_id!r}.")
        return self.tasks[task_id]

    def result_of(self, task_id, within_s):
        """End the task as `outcomes` says: a result, an error to raise, or a function of the task's arguments."""
        name, args, _ = next(one for one in self.submitted if one[2] == task_id)
        outcome = self.outcomes[name]
        outcome = outcome(**args) if callable(outcome) else outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def plugins(self):
        self._fail()
        return self.reports

    def look_at_plugins(self, *, wait=False):
        self.looks.append(wait)
        if wait and isinstance(self.on_look, Exception):
            raise self.on_look
        if callable(self.on_look):
            self.on_look()

    def cancel(self, task_id):
        self.cancelled.append(task_id)

    def running_jobs(self, *, job_name=None, experiment=None, long_running_only=False):
        self._fail()
        found = [
            row
            for row in self.rows
            if job_name in (None, row["job_name"])
            and experiment in (None, row["experiment"])
            and (row["is_long_running_job"] or not long_running_only)
        ]
        return json.dumps(found).encode()

    def running_jobs_with_settings(self, **which):
        return [(row, self.published.get(row["job_name"], {})) for row in json.loads(self.running_jobs(**which))]

    def wait_for_end(self, task_id, within_s):
        self.waits.append((task_id, within_s))
        if self.ends_while_waited is not None:
            self.tasks[task_id] = self.ends_while_waited
        return self.has_room_to_wait

    def settings(self, job_name):
        self._fail()
        if job_name not in self.published:
            raise NoSuchJob(f"{job_name} is not running.")
        return self.published[job_name]

    def set_setting(self, job_name, setting, value):
        self._fail()
        if job_name not in self.published:
            raise JobNotRunning(f"{job_name} does not run.")
        json.dumps(value, allow_nan=False)
        self.changes.append((job_name, setting, value))
        return value

    def recall(self, tables, experiment):
        self._fail()
        return {table: self.remembered[table, experiment] for table in tables if (table, experiment) in self.remembered}

    def faults(self):
        self._fail()
        return list(self.latched)

    def clear_fault(self, fault_id):
        self._fail()
        for fault in self.latched:
            if fault.id == fault_id:
                self.latched.remove(fault)
                return fault
        raise NoSuchFault(f"There is no latched fault {fault_id!r}.")

    def reading_names(self):
        self._fail()
        return sorted({reading.name for reading in self.found})

    def readings(self, patterns, since, until, limit):
        self._fail()
        self.readings_asked.append((patterns, since, until, limit))
        for reading in self.found:
            if isinstance(reading, Exception):
                raise reading
            yield reading

    def job_history(self, limit):
        self._fail()
        return self.history[:limit]

    def _fail(self):
        if self.failure is not None:
            raise self.failure


class FakeAnswers:
    def __init__(self):
        self.begun = {}
        self.kept = {}
        self.broken = False  # cannot write
        self.failure = None  # what every call raises

    def begin_answer(self, key, fingerprint):
        self._fail()
        if key in self.kept:
            kept_for, answer = self.kept[key]
            if kept_for != fingerprint:
                raise IdempotencyKeyReused(f"The Idempotency-Key {key!r} was used for another request.")
            return answer
        if key in self.begun:
            raise RequestInFlight("The first request with this key is not answered yet.")
        self.begun[key] = fingerprint
        return None

    def finish_answer(self, key, fingerprint, answer):
        self._fail()
        if self.broken:
            raise OSError("no space left on device")
        assert self.begun.pop(key) == fingerprint
        self.kept[key] = (fingerprint, answer)

    def abandon_answer(self, key):
        self._fail()
        self.begun.pop(key, None)

    def _fail(self):
        if self.failure is not None:
            raise self.failure


def raw_request(app, target, *, method="GET", body=b"", **environ):
    """Answer `target` with nothing between test and application: environ as waitress makes it, however wrong.

    Returns the status, the body and the headers. REQUEST_URI is the target as it was sent.
    """
    path, _, query = target.partition("?")
    wsgi = testing.create_environ(
        path, query_string=query, method=method, body=body, host="localhost", wsgierrors=io.StringIO()
    )
    del wsgi["RAW_URI"]
    wsgi.update(environ, REQUEST_URI=target)
    told = {}
    content = b"".join(app(wsgi, lambda status, headers: told.update(status=int(status[:3]), headers=dict(headers))))
    return told["status"], content, told["headers"]
