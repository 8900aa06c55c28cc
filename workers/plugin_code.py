"""Other people's code: imported by forked children that need it, and by nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from reactor_unit.channel import Channel
from reactor_unit.errors import Conflict, UnitError
from reactor_unit.job_spec import Automation, JobSpec
from reactor_unit.plugins import MAX_REPORT_BYTES, MAX_TEXT, BadPlugin, Plugin, Report, report_from_dict
from reactor_unit.spec_json import SETTABLE_TYPES
from reactor_unit.strict_json import dumps
from reactor_unit.workers.automations import DosingAutomation
from reactor_unit.workers.job import Job
from reactor_unit.workers.jobs.dosing_automation import NAME as DOSING
from reactor_unit.workers.jobs.dosing_automation import with_automations

PROBE_CPU_S = 10  # of computing; then the kernel ends a probe, whoever else watches it
PROBE_S = 20  # of anything, if the supervisor is not there any more to end it
PROBE_DATA_BYTES = 256 * 1024 * 1024  # of memory to write, beyond what it has from its parent
MODULE = "reactor_unit_plugin_"  # the names of the modules that files become


def probe(channel: Channel, plugin: Plugin) -> NoReturn:
    """Be the process that imports a plugin to see what it adds, and say so; ends however the plugin behaves."""
    from reactor_unit.workers.plugin_listing import with_its_own_words  # 4 MB that no job needs

    _limit_this_process()
    report = Report(plugin)
    try:
        if plugin.path:
            report = Report(with_its_own_words(plugin))
            channel.send({"report": report.to_dict()})  # known even if it never comes back from its import
        report = _checked(_look_into(report.plugin))
    except BaseException as ex:  # SystemExit, too
        report = report.failed(_why(ex))
    channel.send({"report": report.to_dict()})
    os._exit(0)  # at once: neither threads nor exit handlers of the plugin are waited for


def _limit_this_process() -> None:
    """Have the kernel end what computes for ever or takes too much; a report fits into the files that are allowed."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(PROBE_S)
    used = resource.getrusage(resource.RUSAGE_SELF)
    data_pages = int(Path("/proc/self/statm").read_text().split()[5])
    cpu_s = int(used.ru_utime + used.ru_stime) + PROBE_CPU_S
    for what, limit in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_DATA, data_pages * resource.getpagesize() + PROBE_DATA_BYTES),
        (resource.RLIMIT_FSIZE, 1024 * 1024),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (allowed, allowed))


def _look_into(plugin: Plugin) -> Report:
    classes = list(_classes(plugin))
    jobs = _jobs(classes)
    for job in jobs:
        _check_methods(job)
    automations = tuple((DOSING, one.description()) for one in _automations(classes))
    if not jobs and not automations:
        raise BadPlugin("It adds nothing: it has no class that is a Job with a spec, or a DosingAutomation.")
    return Report(plugin, tuple(job.spec for job in jobs), automations)


def _checked(report: Report) -> Report:
    """Return the report, if it arrives at the supervisor as it is."""
    try:
        data = report.to_dict()
        if len(dumps(data)) > MAX_REPORT_BYTES:
            raise BadPlugin(f"It describes its jobs in more than {MAX_REPORT_BYTES} bytes.")
    except (TypeError, ValueError) as ex:
        raise BadPlugin(f"Its description is no JSON: {ex}.") from ex
    return report_from_dict(data)


def _check_methods(job: type[Job]) -> None:
    """Raise BadPlugin for a job that lacks what its description promises."""
    spec = job.spec
    if job.change_setting is not Job.change_setting:
        return  # it changes settings in its own way
    needed = [f"set_{one.name}" for one in spec.every_setting() if one.settable and one.datatype in SETTABLE_TYPES]
    needed += [f"run_{command.name}" for command in spec.commands]
    missing = [name for name in needed if not callable(getattr(job, name, None))]
    if missing:
        raise BadPlugin(f"{job.__name__} has no method {', '.join(missing)}, which its spec promises.")


def job_class_of(plugin: Plugin, spec: JobSpec, automation_name: str = "") -> type[Job]:
    """Import a plugin and return the class of its job, or of the job whose automation it has. Raises UnitError."""
    try:
        classes = list(_classes(plugin))
        jobs, automations = _jobs(classes), _automations(classes)
    except BaseException as ex:
        raise UnitError(
            f"The plugin {plugin.source} could not be imported.",
            cause=_why(ex),
            remediation="Correct or remove it: `GET /unit_api/plugins/installed` and the unit's log say more.",
        ) from ex
    for job in jobs:
        if _is_same(job.spec, spec):
            return job
    for one in automations:
        if one.name == automation_name and _is_same(one.description(), spec.automation(one.name)):
            return with_automations([one])
    raise Conflict(f"The plugin {plugin.source} has changed since {spec.name} was looked at.", remediation="Try again.")


def _is_same(own: JobSpec | Automation, known: JobSpec | Automation | None) -> bool:
    """Whether a class still says what its plugin said; a list in it is as good as a tuple."""
    return known is not None and dumps(asdict(own)) == dumps(asdict(known))


def _jobs(classes: Iterable[type]) -> list[type[Job]]:
    jobs = [one for one in classes if issubclass(one, Job) and not inspect.isabstract(one)]
    for job in jobs:
        if not isinstance(getattr(job, "spec", None), JobSpec):
            raise BadPlugin(f"{job.__name__} is a Job without a spec.")
    return jobs


def _automations(classes: Iterable[type]) -> list[type[DosingAutomation]]:
    automations = [one for one in classes if issubclass(one, DosingAutomation) and not inspect.isabstract(one)]
    for automation in automations:
        missing = [word for word in ("name", "help") if not isinstance(getattr(automation, word, None), str)]
        if missing:
            raise BadPlugin(f"{automation.__name__} is a DosingAutomation without {' and '.join(missing)}.")
    return automations


def _classes(plugin: Plugin) -> Iterator[type]:
    """Import the plugin and yield the classes that are its own, each once."""
    seen = set()
    for found in _imported(plugin):
        for one in [found] if isinstance(found, type) else _own_classes(found):
            if one not in seen:
                seen.add(one)
                yield one


def _own_classes(module: ModuleType) -> Iterable[type]:
    return [one for one in vars(module).values() if isinstance(one, type) and not _is_ours(one)]


def _is_ours(one: type) -> bool:
    return one.__module__.partition(".")[0] in ("reactor_unit", "builtins")


def _imported(plugin: Plugin) -> Iterator[ModuleType | type]:
    sys.dont_write_bytecode = True  # `plugins/` holds what people put there
    importlib.invalidate_caches()
    if plugin.path:
        yield _imported_file(Path(plugin.path))
    for target in plugin.targets:
        name, _, attribute = target.partition(":")
        found = importlib.import_module(name.strip())
        for word in filter(None, attribute.partition("[")[0].strip().split(".")):
            found = getattr(found, word)
        if not isinstance(found, ModuleType | type):
            raise BadPlugin(f"The entry point {target} is neither a module nor a class.")
        yield found


def _imported_file(path: Path) -> ModuleType:
    name = MODULE + path.stem
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise BadPlugin("It is no Python file.")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # where dataclasses and the like look for it
    found.loader.exec_module(module)
    return module


def _why(ex: BaseException) -> str:
    """Return what a person who writes a plugin needs to know: what was raised, and in which line of it."""
    if isinstance(ex, BadPlugin):
        return str(ex)[:MAX_TEXT]
    where = ""
    for frame in traceback.extract_tb(ex.__traceback__):
        if frame.filename != __file__ and "importlib" not in frame.filename:
            where = f" ({Path(frame.filename).name}, line {frame.lineno})"
    if isinstance(ex, SystemExit):
        return f"It ended its process when it was imported: sys.exit({ex.code!r}){where}."[:MAX_TEXT]
    if isinstance(ex, SyntaxError):
        return f"{type(ex).__name__}: {ex.msg} (line {ex.lineno})"[:MAX_TEXT]
    said = traceback.format_exception_only(ex)[-1].strip()
    return f"{said}{where}"[:MAX_TEXT]
