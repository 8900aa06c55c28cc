"""`reactor-unit readings`: what was measured."""

from __future__ import annotations

from contextlib import closing

import click

from reactor_unit.console import print_json, print_table, say
from reactor_unit.follow import followed, print_readings
from reactor_unit.unit_target import Target, unit_options


@click.command()
@click.argument("names", nargs=-1)
@click.option("--since", metavar="TIME", help="Begin here: 2026-01-31T12:45:00Z, or seconds since 1970.")
@click.option("--until", metavar="TIME", help="End before this time.")
@click.option("--limit", type=click.IntRange(1, 100_000), metavar="N", help="At most this many; 1000 if not given.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--names", "only_names", is_flag=True, help="List the names there are readings of.")
@click.option("--follow", is_flag=True, help="Go on with new readings until Ctrl-C.")
@unit_options()
@click.pass_obj
def readings(
    target: Target,
    names: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int | None,
    as_csv: bool,
    only_names: bool,
    follow: bool,
) -> None:
    """Show what was measured, in the order of time.

    These are the readings of NAMES, such as `od.*`, or of all; the newest, or with --since the first from then on.
    """
    if follow and (until is not None or only_names):
        raise click.UsageError("--follow has no end; leave out --until and --names.")
    with target.client() as unit:
        if only_names:
            _print_names(target, unit.reading_names())
        elif follow:
            with closing(followed(unit, names, since=since, limit=limit)) as new:
                for count, batch in enumerate(new):
                    print_readings(batch, as_csv=as_csv, as_json=target.as_json, headers=count == 0)
        elif as_csv:
            click.echo(unit.readings_csv(names, since=since, until=until, limit=limit), nl=False)
        else:
            found = unit.readings(names, since=since, until=until, limit=limit)
            if target.as_json:
                print_json({"readings": found})
            elif found:
                print_table(
                    ["time", "name", "value"],
                    [[one["timestamp"], one["name"], f"{one['value']:g}"] for one in found],
                )
            else:
                say("There are no such readings.")


def _print_names(target: Target, names: list[str]) -> None:
    if target.as_json:
        print_json({"names": names})
        return
    for name in names:
        say(name)
