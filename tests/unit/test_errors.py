"""Every error travels between processes whole and reaches a client in one shape."""

from __future__ import annotations

import json

import pytest

from reactor_unit import errors
from reactor_unit.errors import UnitError


def every_error(base: type[UnitError] = UnitError) -> list[type[UnitError]]:
    return [base, *(error for child in base.__subclasses__() for error in every_error(child))]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way_to_another_process(kind: type[UnitError]) -> None:
    sent = kind("9000 rpm is too fast.", cause="The limit is 1500 rpm.", remediation="Ask for less.", retry_after_s=2.5)
    received = errors.from_dict(json.loads(json.dumps(sent.to_dict())))
    assert type(received) is kind
    assert received.to_dict() == sent.to_dict()
    assert str(received) == "9000 rpm is too fast."


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_an_error_always_has_cause_and_remediation(kind: type[UnitError]) -> None:
    body = errors.error_body(kind("It broke."), 418)
    assert body["error"] == "It broke."
    assert body["error_info"]["cause"] == "It broke."
    assert body["error_info"]["remediation"]
    assert body["error_info"]["status"] == 418


def test_an_unknown_type_becomes_a_plain_unit_error() -> None:
    received = errors.from_dict({"type": "FromTheFuture", "message": "hm"})
    assert type(received) is UnitError
    assert received.message == "hm"


class DriverTrouble(Exception):
    cause = "0x48 did not acknowledge."
    remediation = "Check the cable."


@pytest.mark.parametrize(
    ("raised", "kind", "cause"),
    [
        (errors.NoSuchJob("none"), errors.NoSuchJob, "none"),
        (DriverTrouble("ADC is silent"), errors.HardwareFault, "0x48 did not acknowledge."),
        (OSError(28, "No space left on device"), errors.StorageFault, "[Errno 28] No space left on device"),
        (KeyError("x"), errors.InternalError, "KeyError: 'x'"),
    ],
    ids=["unit error", "driver error", "os error", "anything else"],
)
def test_any_exception_becomes_an_error_for_a_client(raised: Exception, kind: type[UnitError], cause: str) -> None:
    error = errors.from_exception(raised)
    assert type(error) is kind
    assert error.cause == cause


def test_an_unexpected_exception_tells_a_client_nothing_but_its_type_and_text() -> None:
    assert errors.from_exception(ValueError("boom")).message == "The unit met an unexpected error."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * 30_000_000, "x" * 3997 + "..."),
        ("x" * 4000, "x" * 4000),
        ("a\ud800b", "a\\ud800b"),
        ("\udfff" * 4000, ("\\udfff" * 667)[:3997] + "..."),
    ],
    ids=["30 MB", "as long as it may be", "half a character", "thousands of those"],
)
def test_a_text_is_bounded_and_can_be_sent(text: str, shown: str) -> None:
    error = UnitError(text, cause=text, remediation=text)
    assert (error.message, error.cause, error.remediation, str(error)) == (shown,) * 4
    json.dumps(error.to_dict(), ensure_ascii=False).encode()
    assert errors.from_dict(error.to_dict()).to_dict() == error.to_dict()
    assert UnitError("m", cause="", remediation="").cause == "m"


def test_an_endless_unexpected_exception_is_bounded() -> None:
    assert len(errors.from_exception(ValueError("x" * 10_000)).cause) == errors.MAX_TEXT
