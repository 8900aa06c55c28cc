"""`reactor-unit faults`: latched faults."""

from __future__ import annotations

import click

from reactor_unit.console import print_json, print_pairs, say
from reactor_unit.unit_target import Target, unit_options


@click.group(invoke_without_command=True)
@unit_options()
@click.pass_context
def faults(ctx: click.Context) -> None:
    """Show latched faults, and clear them.

    A latched fault keeps the jobs that it concerns from starting, until somebody clears it.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_faults)


@faults.command(name="list")
@unit_options()
@click.pass_obj
def list_faults(target: Target) -> None:
    """List the latched faults, and what to do about each."""
    with target.client() as unit:
        found = unit.faults()
    if target.as_json:
        print_json({"faults": found})
        return
    for fault in found:
        print_pairs(
            {
                "fault": f"{fault['id']} ({fault['kind']})",
                "what": fault["message"],
                "found by": fault["job_name"] or "the unit at its start",
                "at": fault["at"],
                "keeps from starting": ", ".join(fault["jobs"]),
                "what to do": fault["remediation"],
            }
        )
    if not found:
        say("No fault is latched.")


@faults.command(name="clear")
@click.argument("fault_id", metavar="ID")
@unit_options()
@click.pass_obj
def clear_fault(target: Target, fault_id: str) -> None:
    """Clear the latched fault ID, once its cause is gone. The jobs it concerns may start again."""
    with target.client() as unit:
        fault = unit.clear_fault(fault_id)
    if target.as_json:
        print_json({"cleared": fault})
    else:
        say(f"Fault {fault['id']} ({fault['kind']}) is cleared.")
