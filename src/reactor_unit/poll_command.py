"""Command line: `reactor-unit poll`."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import deque
from collections.abc import Sequence

import click

from reactor_unit.client.poll import Change, Poller, UnitState, poll_once
from reactor_unit.client.unit_state import KINDS, SETTING_CHANGED
from reactor_unit.console import print_json, print_table, printable, say, text_of
from reactor_unit.unit_target import EXIT_UNREACHABLE, Target, unit_options

REDRAW_S = 0.5
NEWS = 8  # changes below the table
CLEAR_TO_END = "\x1b[J"


@click.command()
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option("--every", "every_s", type=click.FloatRange(min=0.1), default=1.0, show_default=True, metavar="SECONDS")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="A unit that takes longer is not reachable.",
)
@click.option("--once", is_flag=True, help="Ask each unit once; exit code 3 when one does not answer.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    metavar="KIND",
    help=f"Show only changes of this kind; may be repeated. One of {', '.join(KINDS)}.",
)
@unit_options()
@click.pass_obj
def poll(
    target: Target, urls: tuple[str, ...], every_s: float, timeout_s: float, once: bool, kinds: tuple[str, ...]
) -> None:
    """Watch units: what runs, what changes, who is away.

    They are those at these URLs, or the one of --url. On a terminal a table that is kept up to date, until Ctrl-C;
    elsewhere a line for each change, with --json a JSON object. --once prints the table, or a JSON object, and ends.
    """
    asked = urls or (target.url,)
    try:
        if once:
            _show_once(target, poll_once(asked, timeout_s=timeout_s))
            return
        poller = Poller(asked, every_s=every_s, timeout_s=timeout_s)
    except ValueError as ex:
        raise click.UsageError(str(ex)) from ex
    with poller:
        if sys.stdout.isatty() and not target.as_json:
            _keep_table(poller, kinds or KINDS)
        else:
            _print_changes(poller, kinds or KINDS, as_json=target.as_json)


def _show_once(target: Target, states: Sequence[UnitState]) -> None:
    now = time.monotonic()
    if target.as_json:
        print_json({"units": [state.to_json(now) for state in states]})
    else:
        print_table(HEADERS, [_row(state, now) for state in states])
    if not all(state.is_reachable for state in states):
        click.get_current_context().exit(EXIT_UNREACHABLE)


def _print_changes(poller: Poller, kinds: Sequence[str], *, as_json: bool) -> None:
    for change in poller.changes():
        if change.kind in kinds:
            say(json.dumps(change.to_json()) if as_json else line_of(change))
            sys.stdout.flush()


def _keep_table(poller: Poller, kinds: Sequence[str]) -> None:
    """Redraw the table twice a second, with the last changes below it."""
    news: deque[str] = deque(maxlen=NEWS)
    drawn = 0
    while (changes := poller.next_changes(REDRAW_S)) is not None:
        news.extend(line_of(change) for change in changes if change.kind in kinds)
        size = shutil.get_terminal_size()
        lines = screen(poller.table(), list(news), time.monotonic(), size.columns, size.lines)
        up = f"\x1b[{drawn}F" if drawn else ""
        sys.stdout.write(up + CLEAR_TO_END + "".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        drawn = len(lines)
        time.sleep(REDRAW_S / 2 if changes else 0.0)  # a lively unit does not have the screen redrawn all the time


HEADERS = ["unit", "url", "state", "jobs", "faults"]


def screen(states: Sequence[UnitState], news: Sequence[str], now: float, columns: int, rows: int) -> list[str]:
    """Return the lines of the table and the news below it, cut to a terminal of this size."""
    cells = [HEADERS, *([printable(cell) for cell in _row(state, now)] for state in states)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells]
    most = max(2, rows - 1)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"... and {len(lines) - most + 1} more units"]
    room = most - len(lines) - 1
    if news and room > 0:
        lines += ["", *map(printable, news[-room:])]
    return [line.rstrip()[: max(1, columns - 1)] for line in lines]


def _row(state: UnitState, now: float) -> list[str]:
    jobs = ", ".join(sorted({job.job_name for job in state.jobs.values()}))
    faults = ", ".join(sorted(fault["kind"] for fault in state.faults.values()))
    return [state.name or "-", state.url, _standing(state, now), jobs or "-", faults or "-"]


def _standing(state: UnitState, now: float) -> str:
    if state.is_reachable:
        return "ok"
    if state.is_reachable is None:
        return "asked"
    age_s = state.age_s(now)
    return "unreachable" if age_s is None else f"away for {age_s:.0f} s"


def line_of(change: Change) -> str:
    """Return a change as one line."""
    words = [change.at, change.name or change.url or "poller", change.kind.replace("_", " "), change.job_name]
    if change.kind == SETTING_CHANGED:
        words.append(f"{change.what}: {text_of(change.before)} -> {text_of(change.after)}")
    else:
        words.append(change.what)
        words.append(change.after if isinstance(change.after, str) else "")
    return "  ".join(word for word in words if word)
