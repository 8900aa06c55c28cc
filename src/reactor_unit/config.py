"""Configuration: `config.ini`, then `unit_config.ini`, over the built-in defaults, option by option; later wins."""

from __future__ import annotations

import configparser
import enum
import socket
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, overload

from reactor_unit.errors import ConfigError, InvalidRequest
from reactor_unit.job_spec import nearest, to_integer, to_number

CONFIG_FILE = "config.ini"
UNIT_CONFIG_FILE = "unit_config.ini"
SIMULATED_MODEL = ("pioreactor_20ml", "1.5")

# Written into an empty folder. It holds no values on purpose: a copy of the defaults would freeze them at the
# version of the day, and would hide which values somebody chose.
INITIAL_CONFIG = """\
# Settings of this reactor unit. An option that is not set here has its built-in default, so a file without
# options is complete. Restart the unit after a change. unit_config.ini, if there is one, wins over this file.

# What is plugged into which PWM channel. Check this first: a wrong order pumps the wrong liquid.
#[PWM]
#1=stirring
#2=media
#3=alt_media
#4=waste
#5=heating

# 0.0.0.0 lets other machines reach the API.
#[http]
#host=127.0.0.1
#port=4999

#[bioreactor]
#model_name=pioreactor_20ml
#model_version=1.5

#[stirring.config]
#initial_target_rpm=500
"""

# The words of a configuration file; those of a job's options and settings are others, see job_spec.
_TRUE = frozenset({"1", "yes", "true", "on"})
_FALSE = frozenset({"0", "no", "false", "off"})
_UNIQUE_VALUES = ("PWM", "leds")  # sections whose values name one thing each
_REVERSED = {f"{name}_reverse": name for name in (*_UNIQUE_VALUES, "od_config.photodiode_channel")}
_DEFAULT_CONFIG = Path(__file__).with_name("default_config.ini")
_OVERRIDES = "config_overrides"


class _Missing(enum.Enum):
    MISSING = enum.auto()


MISSING: Final = _Missing.MISSING
T = TypeVar("T")
V = TypeVar("V")


class _Entry(NamedTuple):
    raw: str | None  # None: an option without "="
    source: str  # the file it came from


_Sections = dict[str, dict[str, _Entry]]


class _Parser(configparser.RawConfigParser):
    """The file format: names keep their case, options need no value, a section may appear again."""

    def __init__(self) -> None:
        super().__init__(strict=False, allow_no_value=True)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


class Config:
    """The settings of one unit. Objects do not change; `with_overrides` makes a new one.

    A value that is not what its reader needs is a ConfigError that names section, option, value and file.
    """

    def __init__(self, sections: _Sections) -> None:
        self._sections = sections

    @overload
    def get(self, section: str, option: str) -> str: ...
    @overload
    def get(self, section: str, option: str, fallback: T) -> str | T: ...
    def get(self, section: str, option: str, fallback: T | _Missing = MISSING) -> str | T:
        """Return the option's text; an option without a value gives an empty text.

        Where it is missing, return `fallback`, and without one raise ConfigError.
        """
        return self._typed(section, option, fallback, str, "a text")

    @overload
    def get_float(self, section: str, option: str) -> float: ...
    @overload
    def get_float(self, section: str, option: str, fallback: T) -> float | T: ...
    def get_float(self, section: str, option: str, fallback: T | _Missing = MISSING) -> float | T:
        """Return the option as a finite number."""
        return self._typed(section, option, fallback, to_number, "a number")

    @overload
    def get_int(self, section: str, option: str) -> int: ...
    @overload
    def get_int(self, section: str, option: str, fallback: T) -> int | T: ...
    def get_int(self, section: str, option: str, fallback: T | _Missing = MISSING) -> int | T:
        """Return the option as a whole number."""
        return self._typed(section, option, fallback, to_integer, "a whole number")

    @overload
    def get_boolean(self, section: str, option: str) -> bool: ...
    @overload
    def get_boolean(self, section: str, option: str, fallback: T) -> bool | T: ...
    def get_boolean(self, section: str, option: str, fallback: T | _Missing = MISSING) -> bool | T:
        """Return the option, one of 1/yes/true/on and 0/no/false/off in any case, as a boolean."""
        return self._typed(section, option, fallback, _to_boolean, "one of 1/yes/true/on or 0/no/false/off")

    def has_section(self, name: str) -> bool:
        """Return whether the section exists, even without options."""
        return name in self._sections or _REVERSED.get(name) in self._sections

    def section_names(self) -> list[str]:
        """Return the names of the sections that any file has, built-in defaults included."""
        return [name for name in self._sections if name != configparser.DEFAULTSECT]

    def section(self, name: str) -> dict[str, str]:
        """Return the section's options; empty when there is no such section.

        `[PWM_reverse]`, `[leds_reverse]` and `[od_config.photodiode_channel_reverse]` are made from the sections of
        those names with keys and values swapped. Photodiode channels without a value are left out.
        """
        if name in _REVERSED:
            return {value: option for option, value in self.section(_REVERSED[name]).items() if value}
        options = {option: self._interpolated(name, option) for option in self._options(name)}
        if name == "od_config.photodiode_channel":
            return {option: value for option, value in options.items() if value}
        return options

    def source(self, section: str, option: str) -> str:
        """Return the file the option's value came from; empty when there is no such option."""
        entry = self._options(_REVERSED.get(section, section)).get(option)
        return entry.source if entry else ""

    def with_overrides(self, overrides: Iterable[Any]) -> Config:
        """Return this configuration with `[section, option, value]` entries on top, for one run of a job.

        Raises InvalidRequest for an entry that is not three texts, a section that does not exist, and a value that
        breaks the configuration.
        """
        overrides = list(overrides)
        if not overrides:
            return self
        sections = {name: dict(options) for name, options in self._sections.items()}
        for entry in overrides:
            section, option, value = _checked_override(entry, sections)
            sections[section][option] = _Entry(value, _OVERRIDES)
        changed = Config(sections)
        try:
            for entry in overrides:
                changed._interpolated(entry[0], entry[1])
            changed.check()
        except ConfigError as ex:
            raise InvalidRequest(ex.message, remediation=f"Correct the request's {_OVERRIDES}.") from ex
        return changed

    def leader_hostname(self, unit_name: str) -> str:
        """Return the leader's host name; a unit without one in `[cluster.topology]` is its own leader."""
        return self.get("cluster.topology", "leader_hostname", "") or unit_name

    def pwm_assignment(self) -> dict[str, str]:
        """Return what each PWM channel (`"1"`..`"5"`) drives: `stirring`, `media`, `alt_media`, `waste`, `heating`.

        Channels without a value are left out. `section("PWM_reverse")` is the other way round.
        """
        return {channel: role for channel, role in self.section("PWM").items() if role}

    def port(self) -> int:
        """Return the port to listen on: that of `[http]` where a file names one, else of `[ui]`, else the default.

        A leader finds its units at the port of `[ui]`. Raises ConfigError for what is no port; 0 is any free one.
        """
        section = "ui" if self.source("http", "port") == _DEFAULT_CONFIG.name and self._find("ui", "port") else "http"
        port = self.get_int(section, "port")
        if not 0 <= port <= 65535:
            raise ConfigError(f"[{section}] port {port} is not a port; use 0 to 65535.")
        return port

    def check(self) -> None:
        """Raise ConfigError where one function has two PWM channels, or one label two LED channels."""
        for name in _UNIQUE_VALUES:
            seen: dict[str, str] = {}
            for option in self._sections.get(name, {}):
                value = self._interpolated(name, option)
                if value and value in seen:
                    first = seen[value]
                    raise ConfigError(
                        f"[{name}] gives {value!r} to both {first} (in {self.source(name, first)}) "
                        f"and {option} (in {self.source(name, option)}).",
                        remediation=f"Give each of them once; {option}= (without a value) leaves a channel unused.",
                    )
                seen[value] = option

    def _options(self, section: str) -> dict[str, _Entry]:
        """Return the section's own options over those of `[DEFAULT]`, which applies to every section."""
        if section not in self._sections:
            return {}
        return {**self._sections.get(configparser.DEFAULTSECT, {}), **self._sections[section]}

    def _find(self, section: str, option: str) -> str | None:
        if section in _REVERSED:
            return self.section(section).get(option)
        return self._interpolated(section, option) if option in self._options(section) else None

    def _interpolated(self, section: str, option: str) -> str:
        """Return the value with `%(other)s` filled in from the same section and `%%` made `%`."""
        options = self._options(section)
        raw = options[option].raw
        if raw is None or "%" not in raw:
            return raw or ""
        known = {name: entry.raw or "" for name, entry in options.items()}
        try:
            return configparser.BasicInterpolation().before_get(_Parser(), section, option, raw, known)
        except configparser.Error as ex:
            reason = " ".join(str(ex).split())
            raise ConfigError(
                f"[{section}] {option}={raw!r} in {options[option].source} has a wrong percent sign.",
                cause=reason,
                remediation="Write %% for a percent sign, or %(name)s for another option of the section.",
            ) from ex

    def _typed(
        self, section: str, option: str, fallback: T | _Missing, convert: Callable[[str], V], kind: str
    ) -> V | T:
        value = self._find(section, option)
        if value is None:
            if fallback is MISSING:
                raise ConfigError(
                    f"[{section}] {option} is missing in the configuration.",
                    remediation=f"Add it to {CONFIG_FILE} or {UNIT_CONFIG_FILE}, then start again.",
                )
            return fallback
        try:
            return convert(value)
        except ValueError:
            raise ConfigError(
                f"[{section}] {option}={value!r} in {self.source(section, option)} is not {kind}.",
            ) from None


def load_config(dot: Path) -> Config:
    """Return the configuration of the data folder `dot`; a file that is not there is skipped.

    Raises ConfigError with file, line and reason for a file that cannot be read, and for a wrong value in one of the
    sections this unit knows. Other sections belong to others and are read as they are asked for.
    """
    paths = [dot / name for name in (CONFIG_FILE, UNIT_CONFIG_FILE)]
    return _checked(tuple((path, _read(path)) for path in paths if path.exists() or path.is_symlink()))


@lru_cache(maxsize=1)
def _checked(files: tuple[tuple[Path, str], ...]) -> Config:
    """Return the configuration of files with their content.

    The last one is kept: a process that is forked finds it parsed as long as nobody changed a file, which saves it
    0.8 MB.
    """
    sections = _defaults()
    known = (*sections, "cluster.topology")
    for path, text in files:
        _add_file(sections, text, path, str(path))
    config = Config(sections)
    for section in known:
        try:
            config.section(section)
        except ConfigError as ex:
            raise _with_line(ex, config, section) from ex
    config.check()
    return config


def default_config() -> Config:
    """Return the built-in defaults alone."""
    return Config(_defaults())


def _defaults() -> _Sections:
    """Return the built-in defaults, the caller's own to change."""
    return {name: dict(options) for name, options in _parsed_defaults().items()}


@cache
def _parsed_defaults() -> _Sections:
    """Parse the built-in defaults once, before the fork: in each job's process it would cost a megabyte."""
    sections: _Sections = {}
    _add_file(sections, _read(_DEFAULT_CONFIG), _DEFAULT_CONFIG, _DEFAULT_CONFIG.name)
    return sections


def unit_name(flag: str | None, environ: Mapping[str, str]) -> str:
    """Return the unit's name: the command line's, else HOSTNAME, else the host's name."""
    return flag or environ.get("HOSTNAME", "").strip() or socket.gethostname()


def model(environ: Mapping[str, str], config: Config, simulated: bool) -> tuple[str, str] | None:
    """Return the bioreactor's model name and version; None when nobody said which one a real unit is.

    `environ` is the process's environment with the run's `env` on top. Raises ConfigError for a name without a
    version or a version without a name, since half of one source and half of another would be a made-up model.
    """
    env = (environ.get("MODEL_NAME", ""), environ.get("MODEL_VERSION", ""))
    configured = (config.get("bioreactor", "model_name", ""), config.get("bioreactor", "model_version", ""))
    for pair, names in ((env, "MODEL_NAME and MODEL_VERSION"), (configured, "[bioreactor] model_name, model_version")):
        if all(pair):
            return pair
        if any(pair):
            raise ConfigError(f"Only one of {names} is given: {pair[0] or pair[1]!r}.", remediation="Give both.")
    return SIMULATED_MODEL if simulated else None


def _to_boolean(value: str) -> bool:
    word = value.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _checked_override(entry: Any, sections: _Sections) -> tuple[str, str, str]:
    if not isinstance(entry, list | tuple) or len(entry) != 3 or not all(isinstance(part, str) for part in entry):
        raise InvalidRequest(
            f"The override {entry!r} is not [section, option, value], three texts.",
            remediation='Write config_overrides as [["stirring.config", "pwm_hz", "200"], ...].',
        )
    section, option, value = entry
    if section in _REVERSED:
        raise InvalidRequest(f"[{section}] is made from [{_REVERSED[section]}]; override that one.")
    if section not in sections:
        raise InvalidRequest(f"The configuration has no section [{section}].{nearest(section, sections)}")
    if option not in sections[section] and (likely := meant(option, sections[section])):
        raise InvalidRequest(f"[{section}] has no option {option!r}. Did you mean {likely!r}?")
    return section, option, value


def meant(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` of which `name` looks like a typing error: `port` for `prot`. None for any other name.

    A name that is not known need not be wrong: it may be optional, a plugin's, or the reference system's.
    """
    import difflib  # 0.2 MB that a unit needs only after a typing error

    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)), None)


def _add_file(sections: _Sections, text: str, path: Path, source: str) -> None:
    parser = _parse(text, path)
    for name in (configparser.DEFAULTSECT, *parser.sections()):
        own = parser.defaults() if name == configparser.DEFAULTSECT else dict(_own_options(parser, name))
        if own or name != configparser.DEFAULTSECT:
            sections.setdefault(name, {}).update({option: _Entry(raw, source) for option, raw in own.items()})


def _own_options(parser: _Parser, section: str) -> Iterable[tuple[str, str | None]]:
    """Yield the section's options without those that only [DEFAULT] gives it."""
    defaults: Mapping[str, str | None] = parser.defaults()
    for option, raw in parser.items(section):
        if option not in defaults or defaults[option] != raw:
            yield option, raw


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as ex:
        raise ConfigError(f"{path} cannot be read: {ex.strerror}.") from ex
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as ex:
        raise _broken(path, data.count(b"\n", 0, ex.start) + 1, "is not UTF-8 text") from ex


def _parse(text: str, path: Path) -> _Parser:
    for number, header in enumerate(text.splitlines(), start=1):
        if header.startswith("[") and not _Parser.SECTCRE.match(header):  # the parser would take it for an option
            raise _broken(path, number, f"{header.strip()!r:.80} does not end with ]")
    parser = _Parser()
    try:
        parser.read_string(text)
    except configparser.MissingSectionHeaderError as ex:
        raise _broken(path, ex.lineno, f"{ex.line.strip()!r:.80} stands before the first [section]") from ex
    except (AttributeError, configparser.Error) as ex:
        errors = getattr(ex, "errors", None)  # of a ParsingError
        if errors:
            line, content = errors[0]
            raise _broken(path, line, f"{content} is neither [section] nor option=value") from ex
        # For an indented line below an option without a value, Python 3.11 and 3.12 raise AttributeError, 3.13 a
        # ParsingError without `errors`.
        raise _broken(path, _first_bad_line(text), "an indented line follows an option without a value") from ex
    return parser


def _first_bad_line(text: str) -> int:
    lines = text.splitlines(keepends=True)
    for count in range(1, len(lines)):
        try:
            _Parser().read_string("".join(lines[:count]))
        except (AttributeError, configparser.Error):
            return count
    return len(lines)


def _broken(path: Path, line: int, reason: str) -> ConfigError:
    return ConfigError(f"{path}, line {line}: {reason}.")


def _with_line(error: ConfigError, config: Config, section: str) -> ConfigError:
    """Return `error` with the line of the first option of the section that cannot be interpolated."""
    for option, entry in config._options(section).items():
        try:
            config._interpolated(section, option)
        except ConfigError:
            line = _line_of(Path(entry.source), section, option)
            return ConfigError(
                f"{entry.source}, line {line}: {error.message}", cause=error.cause, remediation=error.remediation
            )
    return error


def _line_of(path: Path, section: str, option: str) -> int:
    """Return the line where `path` sets the option the last time."""
    found, current = 0, ""
    for number, line in enumerate(_read(path).splitlines(), start=1):
        header = _Parser.SECTCRE.match(line)
        if header:
            current = header.group("header")
        name = line.replace(":", "=").partition("=")[0].strip()
        if current in (section, configparser.DEFAULTSECT) and name == option:
            found = number
    return found
