"""How a protocol walks a person through a calibration: stages, each shown as a step and left by an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reactor_unit.calibrations.session_store import COMPLETE, Session
from reactor_unit.calibrations.steps import FORM, INFO, Field, Inputs, Step
from reactor_unit.config import Config
from reactor_unit.errors import InvalidRequest, Json

if TYPE_CHECKING:
    from reactor_unit.calibrations.library import Library

Measure = Callable[[str, Json], Any]


class NotPossible(InvalidRequest):
    """The unit is not configured as the protocol needs it."""

    default_remediation = "Correct the configuration, then start again."


@dataclass
class Visit:
    """What a stage is given: the session, which it may change, and what it may use.

    `measure(name, args)` has the pool carry out a task that uses hardware, waits for it, and returns its result.
    """

    session: Session
    config: Config
    library: Library
    unit_name: str
    model_name: str
    measure: Measure = field(repr=False)

    @property
    def device(self) -> str:
        """The device that is calibrated."""
        return self.session.target_device

    @property
    def data(self) -> Json:
        """What the protocol keeps of the session, JSON."""
        return self.session.data

    def complete(self, result: Json) -> str:
        """End the session with its result; return the id of its last step."""
        self.session.status, self.session.result = COMPLETE, result
        return COMPLETE


Show = Callable[[Visit], Step]
Answer = Callable[[Visit, Inputs], str]


@dataclass(frozen=True)
class Stage:
    """One step of a protocol: `show` says what a person sees, `answer` carries it out and returns the next step's id.

    When `answer` raises, the session is as it was, so the step may be answered again.
    """

    show: Show
    answer: Answer


@dataclass(frozen=True)
class Walk:
    """All stages of a protocol, by step id.

    `check` raises NotPossible where the unit cannot do it. While a hardware step runs, no other session has `output`;
    of the jobs `unlike` none may run.
    """

    first: str
    stages: Mapping[str, Stage]
    output: Callable[[str], str]  # of the device
    unlike: Sequence[str] = ()
    check: Callable[[Visit], None] = lambda _visit: None


def info(step_id: str, title: str, body: str, then: str, step_type: str = INFO) -> dict[str, Stage]:
    """Return a stage that is read and left."""
    return {step_id: Stage(lambda _visit: Step(step_id, step_type, title, body), lambda _visit, _inputs: then)}


def naming(
    word: str,
    default: Callable[[Visit], str],
    check: Callable[[Visit, str], bool],
    then: Callable[[Visit], str],
    *,
    ask: str = "name_input",
    confirm: str = "name_overwrite_confirm",
) -> dict[str, Stage]:
    """Return the stages that ask for the name of a calibration or estimator (`word`), and what if it exists.

    `check(visit, name)` raises InvalidName, and says whether something of that name exists.
    """
    name_field = f"{word}_name"

    def show(visit: Visit) -> Step:
        return Step(
            ask,
            FORM,
            "Name",
            f"Choose a name for the {word}. It becomes a file's name.",
            (Field(name_field, "Name", "string", visit.data.get("name") or default(visit)),),
        )

    def answer(visit: Visit, inputs: Inputs) -> str:
        exists = check(visit, inputs[name_field])
        visit.data["name"] = inputs[name_field]
        return confirm if exists else then(visit)

    def show_confirm(visit: Visit) -> Step:
        question = f"There is a {word} named {visit.data['name']} already. Replace it?"
        return Step(confirm, FORM, "Replace it?", question, (Field("overwrite", "Replace it", "bool", False),))

    def answer_confirm(visit: Visit, inputs: Inputs) -> str:
        return then(visit) if inputs["overwrite"] else ask

    return {ask: Stage(show, answer), confirm: Stage(show_confirm, answer_confirm)}


REPEAT, KEEP = "repeat a point", "save it all the same"


def bad_fit(
    points: Callable[[Visit], list[str]], repeat: Callable[[Visit, int], str], keep: Answer
) -> dict[str, Stage]:
    """Return the stage `bad_fit`, which says what is wrong with a fit and has a point measured again.

    `data["problems"]` are the reasons, `data["can_keep"]` whether there is a curve all the same; `points` names what
    was measured, and `repeat(visit, index)` returns the step at which that is done again.
    """

    def show(visit: Visit) -> Step:
        named = points(visit)
        listed = "\n".join(f"{number}: {name}" for number, name in enumerate(named, 1))
        choices = (REPEAT, KEEP) if visit.data["can_keep"] else (REPEAT,)
        return Step(
            "bad_fit",
            FORM,
            "The points do not make a good calibration",
            "\n".join([*visit.data["problems"], "", "What was measured:", listed]),
            (
                Field("next_action", "What now", "choice", REPEAT, choices),
                Field(
                    "point", "Which point to repeat", "int", visit.data.get("worst", len(named)), None, 1, len(named)
                ),
            ),
            visit.data.get("bad_chart", {}),
        )

    def answer(visit: Visit, inputs: Inputs) -> str:
        if inputs["next_action"] == KEEP:
            return keep(visit, inputs)
        return repeat(visit, inputs["point"] - 1)

    return {"bad_fit": Stage(show, answer)}


def today() -> str:
    """Return the date for a default name."""
    return f"{now():%Y-%m-%d}"


def now() -> datetime:
    """Return the time for a calibration's `created_at`."""
    return datetime.now(UTC)
