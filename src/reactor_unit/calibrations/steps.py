"""What a person is shown and asked in a calibration session: steps with fields, and how answers are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reactor_unit.calibrations.curves import Curve
from reactor_unit.calibrations.fields import curve_data
from reactor_unit.errors import InvalidRequest, Json

Inputs = dict[str, Any]

INFO, FORM, ACTION, RESULT = "info", "form", "action", "result"
MAX_TEXT = 255
MAX_VALUES = 100  # of a list
REDO_LAST: Inputs = {"action": "redo_last"}

_YES, _NO = frozenset({"true", "yes", "1", "y"}), frozenset({"false", "no", "0", "n"})
_BUTTONS = frozenset({"confirm", "confirmed"})  # what the reference's page sends with an action, and nobody asks


class InvalidInput(InvalidRequest):
    """What was entered is not what the step asks for; the session is as it was."""

    default_remediation = "Correct it and send the step again."


@dataclass(frozen=True)
class Field:
    """One thing that a step asks for; `field_type` is string, float, int, bool, float_list or choice.

    Numbers have to be given, whatever the `default`, which is what a form shows first; for all else it counts.
    """

    name: str
    label: str
    field_type: str
    default: Any = None
    options: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    bound_message: str | None = None
    help_text: str | None = None

    def as_json(self) -> Json:
        """Return the field as the API has it."""
        options = ("yes", "no") if self.field_type == "bool" else self.options
        return {
            "name": self.name,
            "label": self.label,
            "field_type": self.field_type,
            "required": True,
            "default": self.default,
            "options": None if options is None else list(options),
            "minimum": self.minimum,
            "maximum": self.maximum,
            "min_error_msg": self.bound_message if self.minimum is not None else None,
            "max_error_msg": self.bound_message if self.maximum is not None else None,
            "help_text": self.help_text,
        }

    def read(self, value: Any) -> Any:
        """Return what was entered in the field's type. Raises InvalidInput that names field and bound."""
        if value is None or value == "":
            if self.default is None or self.field_type in ("float", "int"):
                raise InvalidInput(f"{self.name} is required.")
            value = self.default
        found = _READERS[self.field_type](self, value)
        for number in found if isinstance(found, list) else [found]:
            self._check_bounds(number)
        return found

    def _check_bounds(self, value: Any) -> None:
        low, high = self.minimum, self.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = " and ".join(
                f"at {word} {bound:g}" for word, bound in (("least", low), ("most", high)) if bound is not None
            )
            message = f"{self.name} {value:g} must be {bounds}."
            raise InvalidInput(f"{message} {self.bound_message}" if self.bound_message else message)


def _read_string(field: Field, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_TEXT:
        raise InvalidInput(f"{field.name} must be text of at most {MAX_TEXT} characters, without control characters.")
    text = value.strip() or field.default
    if not text:
        raise InvalidInput(f"{field.name} is required.")
    return str(text)


def _read_float(field: Field, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInput(f"{field.name} must be a number.")
    return number


def _read_int(field: Field, value: Any) -> int:
    number = _read_float(field, value)
    if number != int(number):
        raise InvalidInput(f"{field.name} must be a whole number.")
    return int(number)


def _read_bool(field: Field, value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in _YES | _NO:
        raise InvalidInput(f"{field.name} must be yes or no.")
    return word in _YES


def _read_floats(field: Field, value: Any) -> list[float]:
    entries = value.split(",") if isinstance(value, str) else value
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_VALUES:
        raise InvalidInput(f"{field.name} must be 1 to {MAX_VALUES} numbers.")
    return [_read_float(field, entry) for entry in entries]


def _read_choice(field: Field, value: Any) -> str:
    text = _read_string(field, value)
    if text not in (field.options or ()):
        raise InvalidInput(f"{field.name} must be one of: {', '.join(field.options or ())}.")
    return text


_READERS: Mapping[str, Callable[[Field, Any], Any]] = {
    "string": _read_string,
    "float": _read_float,
    "int": _read_int,
    "bool": _read_bool,
    "float_list": _read_floats,
    "choice": _read_choice,
}


@dataclass(frozen=True)
class Step:
    """What a person sees: `step_type` is INFO, FORM, ACTION (something will move or light) or RESULT."""

    step_id: str
    step_type: str
    title: str
    body: str = ""
    fields: tuple[Field, ...] = ()
    metadata: Json = field(default_factory=dict)

    def as_json(self) -> Json:
        """Return the step as the API has it."""
        return {
            "step_id": self.step_id,
            "step_type": self.step_type,
            "title": self.title,
            "body": self.body,
            "fields": [one.as_json() for one in self.fields],
            "metadata": self.metadata,
        }

    def read(self, inputs: Inputs) -> Inputs:
        """Return what was entered, by field; or one of the step's own actions as it is. Raises InvalidInput.

        An input that the step does not ask for is refused: it is the answer to another step.
        """
        given = {name: value for name, value in inputs.items() if name not in _BUTTONS}
        for action in self.metadata.get("actions", ()):
            if given == action["inputs"]:
                return given
        known = [one.name for one in self.fields]
        for name in given:
            if name not in known:
                raise InvalidInput(
                    f"The step {self.step_id} does not ask for {name[:MAX_TEXT]!r}.",
                    remediation="Get the session and answer the step that it is at.",
                )
        return {one.name: one.read(given.get(one.name)) for one in self.fields}


def redo_button(label: str) -> Json:
    """Return the action that does the last measurement again."""
    return {"label": label, "inputs": REDO_LAST}


@dataclass(frozen=True)
class Series:
    """Points of a chart, and maybe the curve that was fitted to them."""

    label: str
    points: Sequence[tuple[float, float]]
    curve: Curve | None = None

    def as_json(self) -> Json:
        """Return the series as the API has it."""
        return {
            "id": self.label,
            "label": self.label,
            "points": [{"x": x, "y": y} for x, y in self.points],
            "curve": None if self.curve is None else curve_data(self.curve),
        }


def chart(title: str, x_label: str, y_label: str, series: Sequence[Series]) -> Json:
    """Return a chart for a step's metadata; empty when there is no point yet."""
    if not any(one.points for one in series):
        return {}
    drawn = [one.as_json() for one in series]
    return {"chart": {"title": title, "x_label": x_label, "y_label": y_label, "series": drawn}}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Json:
    """Return a table for a step's metadata; empty when it has no row yet."""
    return {"table": {"title": title, "columns": list(columns), "rows": [list(row) for row in rows]}} if rows else {}
