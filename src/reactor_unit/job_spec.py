"""What a job is called, which options it takes and which settings it publishes: data, read by every process.

A job class carries one `JobSpec`; requests are checked against it before a process is started, and the capabilities
of the unit are made from it, so nothing about a job is written down twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from reactor_unit import strict_json
from reactor_unit.errors import InvalidRequest, NoSuchSetting, NotSettable
from reactor_unit.series import Series

# What the reference takes for options (click's words) and settings. A configuration file is read with configparser's
# words, which are fewer: `y`, `t`, `n` and `f` are mistakes there, see config.
TRUE_WORDS = frozenset({"1", "true", "yes", "y", "on", "t"})
FALSE_WORDS = frozenset({"0", "false", "no", "n", "off", "f"})

NO_EXPERIMENT = "$no_experiment_present"  # the experiment of a job that was started for none
UNIT_EXPERIMENT = "$experiment"  # of jobs that are about the unit and belong to no experiment

MAX_TEXT_VALUE = 255  # characters of a setting that is a text
AUTOMATION_NAME = "automation_name"  # the option that chooses among a job's automations, and the setting that tells it

T = TypeVar("T")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` when one of `known` resembles `word`, else an empty text."""
    import difflib  # 0.2 MB that a unit needs only after a typing error

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def to_number(value: Any) -> float:
    """Return `value`, a number or its text, as a finite float. Raises ValueError, also for true and false."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("is not a number")
    try:
        number = float(_plain(value))
    except (ValueError, OverflowError):
        raise ValueError("is not a number") from None
    if not math.isfinite(number):
        raise ValueError("is not a finite number")
    return number


def to_integer(text: str) -> int:
    """Return the whole number that `text` is. Raises ValueError."""
    return int(_plain(text))


def _plain(value: T) -> T:
    """Return `value`; raise ValueError for text that only Python takes for a number: `1_0`, digits of other scripts."""
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError("is not a number")
    return value


def to_boolean(value: Any) -> bool:
    """Return `value`, a boolean, 0, 1 or one of the usual words, as a boolean. Raises ValueError."""
    word = str(value).strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ValueError("is not a yes or no")


@dataclass(frozen=True)
class Option:
    """One option of a job.

    `datatype` is one of `float`, `float range`, `integer`, `boolean`, `flag`, `text`; `minimum` and `maximum` are
    inclusive and in `unit`, `choices` are all texts there are. `default` None means that the configuration or the job
    decides.
    """

    name: str
    datatype: str
    help: str = ""
    default: Any = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()  # of a text, all there are

    def parse(self, value: Any) -> Any:
        """Return `value` (text or JSON) in this option's type. Raises ValueError with the reason."""
        if self.datatype == "flag":
            return True if value is None else to_boolean(value)
        if value is None:
            return None
        if self.datatype == "boolean":
            return to_boolean(value)
        if self.datatype == "text":
            if not isinstance(value, str | int | float):
                raise ValueError("is not a text")
            check_choice(str(value), self.choices)
            return str(value)
        number = to_number(value)
        if self.datatype == "integer":
            if number != int(number):
                raise ValueError("is not a whole number")
            number = int(number)
        check_range(number, self.minimum, self.maximum, self.unit)
        return number


def check_range(number: float, minimum: float | None, maximum: float | None, unit: str) -> None:
    """Raise ValueError for a number beyond a limit; None is no limit."""
    unit = f" {unit}" if unit else ""
    if minimum is not None and number < minimum:
        raise ValueError(f"is below the limit of {minimum:g}{unit}")
    if maximum is not None and number > maximum:
        raise ValueError(f"is above the limit of {maximum:g}{unit}")


def check_choice(text: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError for a text that is none of the choices; without choices every text is one."""
    if choices and text not in choices:
        raise ValueError(f"is none of {', '.join(choices)}")


@dataclass(frozen=True)
class Setting:
    """One setting that a running job publishes.

    One that is `settable` has the datatype `float`, `integer`, `boolean`, `string`, `text` or `json`; `minimum` and
    `maximum` are inclusive and in `unit`, `choices` are all values there are. `series` says how its values become
    readings of the history; without one they do not.
    """

    name: str
    datatype: str
    unit: str = ""
    settable: bool = False
    persist: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    series: Series | None = None

    def parse(self, value: Any) -> Any:
        """Return `value` (text or JSON) in this setting's type. Raises ValueError with the reason.

        A text for a setting of the type `json` is read as JSON.
        """
        if value is None:
            raise ValueError("is no value")
        if self.datatype == "json":
            return strict_json.loads(value.encode()) if isinstance(value, str) else value
        if self.datatype == "boolean":
            return to_boolean(value)
        if self.datatype in ("string", "text"):
            return self._parse_text(value)
        number = to_number(value)
        if self.datatype == "integer":
            if number != int(number):
                raise ValueError("is not a whole number")
            number = int(number)
        check_range(number, self.minimum, self.maximum, self.unit)
        return number

    def _parse_text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("is not a text")
        check_choice(value, self.choices)
        if not value.isprintable() or len(value) > MAX_TEXT_VALUE:
            raise ValueError(f"has control characters, or more than {MAX_TEXT_VALUE} characters")
        return value


STATE = Setting("$state", "text", settable=True, choices=("ready", "sleeping", "disconnected"))


@dataclass(frozen=True)
class Command:
    """Something else that a job's program does instead of running, chosen by the first of a request's `args`."""

    name: str
    help: str
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Automation:
    """One of the programmes of a job, chosen by the job's option `automation_name`.

    Its options and settings are there beside the job's own, and in their place where they have the same name.
    """

    name: str
    help: str
    options: tuple[Option, ...] = ()
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True)
class JobSpec:
    """A job's name, help, options and published settings.

    A job with `automations` has the option `automation_name`, which is made from their names.

    `subscribes` are settings of other jobs that it hears of, as (job name, setting); `needs` are the jobs without which
    it is not started, `excludes` those beside which it is not, nor they beside it. `recalls` names what is remembered
    for its experiment that it is given when it starts; `calibrations` and `estimators` name the devices whose active
    one it is given then. One that `joins` takes the options of a further run request while it runs. One with an
    `experiment` always belongs to that.
    `one_of` names options of which exactly one is to be given, `requires` pairs of options of which the first needs
    the second. A job with `steps` takes any number of them, in any order, instead of options: each the name of one and
    its value; it is given them as the option `steps`, a list of [name, value].
    `interlocks` say what it does when something is wrong, one sentence each.
    """

    name: str
    help: str
    options: tuple[Option, ...] = ()
    settings: tuple[Setting, ...] = ()
    is_long_running: bool = False
    subscribes: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    recalls: tuple[str, ...] = ()
    calibrations: tuple[str, ...] = ()
    estimators: tuple[str, ...] = ()
    joins: bool = False
    one_of: tuple[str, ...] = ()
    requires: tuple[tuple[str, str], ...] = ()
    steps: tuple[Option, ...] = ()
    commands: tuple[Command, ...] = ()
    automations: tuple[Automation, ...] = ()
    interlocks: tuple[str, ...] = ()
    experiment: str | None = None

    def command(self, args: Sequence[str]) -> Command | None:
        """Return the command that `args` begin with, None for a plain run; its name may have `-` for `_`."""
        first = args[0].replace("-", "_") if args else ""
        return next((command for command in self.commands if command.name == first), None)

    def automation(self, name: Any) -> Automation | None:
        """Return the automation of this name, None when there is none."""
        return next((automation for automation in self.automations if automation.name == name), None)

    def options_with(self, automation_name: Any) -> tuple[Option, ...]:
        """Return the options of a plain run with this automation, the choice of it first; unknown is none."""
        if not self.automations:
            return self.options
        names = tuple(automation.name for automation in self.automations)
        choice = Option(AUTOMATION_NAME, "text", "Which automation.", required=True, choices=names)
        chosen = self.automation(automation_name)
        return _merged((choice, *self.options), chosen.options if chosen else ())

    def settings_with(self, automation_name: Any) -> tuple[Setting, ...]:
        """Return the settings of the job while it runs with this automation; unknown is none."""
        chosen = self.automation(automation_name)
        return _merged(self.settings, chosen.settings if chosen else ())

    def every_setting(self, automation_name: Any = None) -> tuple[Setting, ...]:
        """Return the settings with this automation, and those that only other automations have."""
        others = tuple(setting for automation in self.automations for setting in automation.settings)
        return _merged(others, self.settings_with(automation_name))

    def setting(self, name: str, automation_name: Any = None) -> Setting | None:
        """Return the setting of this name, `$state` included; None when there is none.

        Where several automations have one, it is that of `automation_name`.
        """
        return next((one for one in (*self.every_setting(automation_name), STATE) if one.name == name), None)

    def parse_setting(self, name: str, value: Any, automation_name: Any = None) -> Any:
        """Return `value` as the setting of this name takes it, in a job that runs with this automation.

        Raises NoSuchSetting, NotSettable, or InvalidRequest for a value that is not of its type or range.
        """
        setting = self.setting(name, automation_name)
        settable = [one.name for one in (*self.every_setting(automation_name), STATE) if one.settable]
        if setting is None:
            raise NoSuchSetting(
                f"{self.name} has no setting named {name!r}.{nearest(name, settable)}",
                remediation=f"Those that can be set are: {', '.join(settable)}.",
            )
        if not setting.settable:
            raise NotSettable(
                f"{name} of {self.name} can be read but not set.",
                remediation=f"Those that can be set are: {', '.join(settable)}.",
            )
        try:
            return setting.parse(value)
        except ValueError as ex:
            raise InvalidRequest(
                f"{name} {value!r} {ex}.", remediation=f"{name} takes {_what_it_takes(setting)}."
            ) from ex

    def parse_options(self, options: Mapping[str, Any], args: Sequence[str] = ()) -> dict[str, Any]:
        """Return every given option in its own type, from `options` and from command-line style `args`.

        Where `args` begin with a command, the options are that one's; else they are the job's and those of the
        automation that is chosen. A name may be written with `-` or `_`. Raises InvalidRequest that lists everything
        that is wrong.
        """
        if self.steps:
            return {"steps": self._parse_steps(options, args)}
        command = self.command(args)
        given, problems = _from_args(args if command is None else args[1:], self._flags(command))
        given.update({name.replace("-", "_"): value for name, value in options.items()})
        expected = self.options_with(given.get(AUTOMATION_NAME)) if command is None else command.options
        known = {option.name: option for option in expected}
        parsed: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                problems += self._unknown_option(name, known, given.get(AUTOMATION_NAME))
                continue
            try:
                parsed[name] = known[name].parse(value)
            except ValueError as ex:
                problems.append(f"{name} {value!r} {ex}.")
        problems += [f"{o.name} is required." for o in expected if o.required and given.get(o.name) is None]
        if command is None and not problems:
            problems += self._problems_of_several(parsed)
        if problems:
            raise InvalidRequest(
                " ".join(problems), remediation=f"The options of {self.name} are: {', '.join(known) or 'none'}."
            )
        return parsed

    def _flags(self, command: Command | None) -> set[str]:
        """Return the names of all options that take no word."""
        own = self.options if command is None else command.options
        theirs = () if command else tuple(option for automation in self.automations for option in automation.options)
        return {option.name for option in (*own, *theirs) if option.datatype == "flag"}

    def _unknown_option(self, name: str, known: Iterable[str], automation_name: Any) -> list[str]:
        """Return what to say of an option that there is not, or not with the chosen automation.

        That is nothing where no automation is chosen that there is, and one has the option: it may be the right one.
        """
        owner = next((one.name for one in self.automations if any(name == option.name for option in one.options)), None)
        if owner is None:
            return [f"{self.name} has no option {name!r}.{nearest(name, known)}"]
        if self.automation(automation_name) is None:
            return []
        return [f"{name!r} is an option of {owner}, not of {automation_name}."]

    def _problems_of_several(self, parsed: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with options together; a flag that is off is not given."""
        given = {name for name, value in parsed.items() if value is not None and value is not False}
        found = [f"{one} needs {other}." for one, other in self.requires if one in given and other not in given]
        chosen = [name for name in self.one_of if name in given]
        if self.one_of and len(chosen) != 1:
            found.append(f"Give exactly one of {', '.join(self.one_of)}, not {' and '.join(chosen) or 'none'}.")
        return found

    def _parse_steps(self, options: Mapping[str, Any], args: Sequence[str]) -> list[list[Any]]:
        """Return the steps of `args`, then those of `options`, in their order.

        Dashes before a name and underscores behind it count nothing, the latter so that an object can have it twice.
        """
        known = {step.name: step for step in self.steps}
        parsed: list[list[Any]] = []
        problems: list[str] = []
        for given, value in (*_pairs(args), *options.items()):
            name = given.lstrip("-").rstrip("_").replace("-", "_")
            if name not in known:
                problems.append(f"{self.name} has no step {given!r}.{nearest(name, known)}")
            elif value is None:
                problems.append(f"{name} has no value.")
            else:
                try:
                    parsed.append([name, known[name].parse(value)])
                except ValueError as ex:
                    problems.append(f"{name} {value!r} {ex}.")
        if not parsed and not problems:
            problems.append("No step is given.")
        if problems:
            raise InvalidRequest(
                " ".join(problems),
                remediation=f"Give pairs of a name and a value; the names are {', '.join(known)}.",
            )
        return parsed


Named = TypeVar("Named", bound=Option | Setting)


def _merged(own: tuple[Named, ...], more: tuple[Named, ...]) -> tuple[Named, ...]:
    """Return both; of two with one name the later, in the earlier's place."""
    return tuple({one.name: one for one in (*own, *more)}.values())


def _what_it_takes(setting: Setting) -> str:
    if setting.choices:
        return f"one of {', '.join(setting.choices)}"
    low = "" if setting.minimum is None else f" from {setting.minimum:g}"
    high = "" if setting.maximum is None else f" up to {setting.maximum:g}"
    unit = f" {setting.unit}" if setting.unit else ""
    return f"a value of the type {setting.datatype}{low}{high}{unit}"


def _from_args(args: Sequence[str], flags: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Split `--name value`, `--name=value` and `--flag` into options; what is none of these is a problem."""
    given: dict[str, Any] = {}
    problems: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            problems.append(f"The argument {word!r} is not known.")
            continue
        name, has_value, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if has_value:
            given[name] = value
        elif rest and not rest[0].startswith("--") and name not in flags:
            given[name] = rest.pop(0)
        else:
            given[name] = None
    return given, problems


def _pairs(args: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return words two by two; `--name=value` is two words. The last one may be alone."""
    words = [part for word in args for part in (word.split("=", 1) if word.startswith("--") else [word])]
    return [(words[at], words[at + 1] if at + 1 < len(words) else None) for at in range(0, len(words), 2)]


def to_text(value: Any) -> str:
    """Return a setting's value as the contract shows it: text.

    Whole numbers have no decimal point, booleans are `1` and `0`, objects and lists are JSON.
    """
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)
