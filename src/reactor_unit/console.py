"""What the command line writes: tables, JSON, errors and the progress of a task."""

from __future__ import annotations

import json
import shutil
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import click

from reactor_unit.client import ClientError, Progress

SECONDS_BETWEEN_LINES = 5.0
BAR_WIDTH = 30


class ProgressLine:
    """Shows a task's progress: a bar that redraws itself on a terminal, elsewhere a line every few seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._is_drawn = False
        self._next_line_at = clock()

    def __call__(self, progress: Progress) -> None:
        """Show `progress`."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r" + _bar(progress)[:width] + "\x1b[K")
            self._stream.flush()
            self._is_drawn = True
        elif self._clock() >= self._next_line_at:
            self._stream.write(_amount(progress) + "\n")
            self._stream.flush()
            self._next_line_at = self._clock() + SECONDS_BETWEEN_LINES

    def close(self) -> None:
        """End the line of the bar. May be called twice."""
        if self._is_drawn:
            self._stream.write("\n")
            self._stream.flush()
            self._is_drawn = False


def _amount(progress: Progress) -> str:
    amount = f"{progress.done:g}" if progress.total is None else f"{progress.done:g} of {progress.total:g}"
    return f"{amount}  {printable(progress.message)}".rstrip()


def _bar(progress: Progress) -> str:
    """Return `progress` as `[######......]  50 %  3 of 6  message`; without a total there is no bar."""
    if progress.total is None:
        return _amount(progress)
    share = min(max(progress.done / progress.total, 0.0), 1.0)
    filled = round(share * BAR_WIDTH)
    return f"[{'#' * filled:.<{BAR_WIDTH}}] {share:4.0%}  {_amount(progress)}"


def print_json(value: Any) -> None:
    """Print `value` as indented JSON in plain ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_pairs(pairs: dict[str, str]) -> None:
    """Print a name and its value a line, the values below one another."""
    width = max(map(len, pairs))
    for name, value in pairs.items():
        say(f"{name:<{width}}  {value}")


def print_table(headers: list[str], rows: list[list[str]]) -> None:
    """Print left-aligned columns, two spaces apart."""
    lines = [headers, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def print_findings(findings: Sequence[Mapping[str, str]]) -> None:
    """Print a table of findings, as wide as the terminal: check, result, and what was found with what to do."""
    width = max(len(finding["name"]) for finding in findings)
    say(f"{'check':<{width}}  {'result':<7}  what was found, and what to do")
    room = max(40, shutil.get_terminal_size((100, 24)).columns - width - 11)
    for finding in findings:
        lines = textwrap.wrap(printable(finding["what"]), room)
        if finding["remedy"]:
            lines += textwrap.wrap(f"-> {printable(finding['remedy'])}", room, subsequent_indent="   ")
        status = "FAIL" if finding["status"] == "fail" else finding["status"]
        say(f"{finding['name']:<{width}}  {status:<7}  {lines[0]}")
        for line in lines[1:]:
            say(f"{'':<{width + 11}}{line}")


def say(text: str) -> None:
    """Print one line."""
    click.echo(printable(text))


def report(ex: ClientError) -> None:
    """Write to stderr what happened, why, and what to do."""
    click.echo(f"error: {printable(ex.error)}", err=True)
    if ex.cause != ex.error:
        click.echo(f"cause: {printable(ex.cause)}", err=True)
    click.echo(f"what to do: {printable(ex.remediation)}", err=True)


def text_of(value: Any) -> str:
    """Return a JSON value as a person reads it: a text as it is, nothing as `-`."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)


def job_of(row: Mapping[str, Any]) -> str:
    """Return what to call a job of the history or of those that run."""
    return f"{row['job_name']} (job {row['job_id']})"


def printable(text: str) -> str:
    """Return `text` with everything a terminal would obey, such as escape sequences, written out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
