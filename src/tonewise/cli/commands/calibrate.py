"""`tonewise calibrate` and its options."""

from typing import Any

import click

from tonewise.cli.commands.group import (
    CONTEXT,
    config_option,
    engine_options,
    label_options,
    labelled_file_options,
    store_options,
    tonewise,
)


@tonewise.command(context_settings=CONTEXT)
@click.argument("ref")
@click.argument("data", nargs=-1, required=True, metavar="DATA…")
@click.option("--head", metavar="NAME", help="Of several: the one to calibrate.")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write; it must be new.")
@label_options
@labelled_file_options
@engine_options
@click.option(
    "--too-long",
    metavar="POLICY",
    help="truncate | error; what is fitted does not hold for windows.  [default: truncate]",
)
@store_options
@config_option
def calibrate(
    *,
    ref: str,
    data: tuple[str, ...],
    head: str | None,
    output: str,
    config_path: str | None,
    **knobs: Any,
) -> None:
    """Write a new bundle whose scores are true: temperature, and thresholds of several labels, refitted.

    Half of the texts are fitted on and the other half is measured; what is written is fitted on all. DATA
    are labelled texts that the model was not trained on.
    """
    from tonewise.cli.calibrate import calibrate_model
    from tonewise.cli.labels import labels_of
    from tonewise.config import load_config

    told = labels_of(knobs)
    calibrate_model(
        ref,
        data,
        load_config(knobs, path=config_path),
        told,
        head=head,
        output=output,
    )
