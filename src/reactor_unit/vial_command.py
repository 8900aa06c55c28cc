"""`reactor-unit vial`: look at the liquid in the vial, and tell the unit what is really in it."""

from __future__ import annotations

import click

from reactor_unit.client import Json
from reactor_unit.console import print_json, print_pairs
from reactor_unit.unit_target import Target, unit_options


@click.group(invoke_without_command=True)
@unit_options()
@click.pass_context
def vial(ctx: click.Context) -> None:
    """Show or correct what the unit takes the vial to hold."""
    if ctx.invoked_subcommand is None:
        target = ctx.ensure_object(Target)
        with target.client() as unit:
            _print(target, unit.vial())


@vial.command(name="set")
@click.option("--current-volume-ml", type=float, metavar="ML", help="What is in the vial.")
@click.option("--max-working-volume-ml", type=float, metavar="ML", help="The volume at the waste tube's end.")
@click.option("--alt-media-fraction", type=float, metavar="F", help="Share of alt-media in the vial, 0 to 1.")
@unit_options()
@click.pass_obj
def set_vial(
    target: Target,
    current_volume_ml: float | None,
    max_working_volume_ml: float | None,
    alt_media_fraction: float | None,
) -> None:
    """Say what is in the vial, such as after it was replaced. What is left out stays. No pump may run."""
    said = {
        "current_volume_ml": current_volume_ml,
        "max_working_volume_ml": max_working_volume_ml,
        "alt_media_fraction": alt_media_fraction,
    }
    given = {name: value for name, value in said.items() if value is not None}
    if not given:
        raise click.UsageError("Say what to set: --current-volume-ml, --max-working-volume-ml, --alt-media-fraction.")
    with target.client() as unit:
        _print(target, unit.set_vial(given))


def _print(target: Target, state: Json) -> None:
    if target.as_json:
        print_json(state)
        return
    maximum = state["maximum_volume_ml"]
    moving = ", ".join(f"{run['pump']} (up to {run['at_most_ml']:g} ml)" for run in state["in_flight"])
    print_pairs(
        {
            "in the vial": f"{state['current_volume_ml']:g} ml at most",
            "waste tube at": f"{state['max_working_volume_ml']:g} ml",
            "maximum": "unknown: nothing is pumped in" if maximum is None else f"{maximum:g} ml",
            "alt-media": f"{100 * state['alt_media_fraction']:.1f} %",
            "pumps running": moving or "none",
        }
    )
