"""`tonewise evaluate` and its options."""

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
    too_long_option,
)


@tonewise.command(context_settings=CONTEXT)
@click.argument("ref")
@click.argument("data", nargs=-1, required=True, metavar="DATA…")
@click.option("--head", metavar="NAME", help="Of several; REF#HEAD does too.")
@click.option("--map", metavar="FILE", help="Maps the model's labels to those of the data.")
@click.option(
    "--slice",
    "slices",
    multiple=True,
    metavar="COLUMN",
    help="Tell apart by a column, or by 'length' in tokens; may be given several times.",
)
@click.option("--worst", type=int, default=20, metavar="N", help="Mistakes to show.  [default: 20]")
@click.option("--draws", type=int, default=1000, metavar="N", help="Of each bootstrap.  [default: 1000]")
@click.option("--seed", type=int, default=0, metavar="N", help="Of the bootstraps.  [default: 0]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    help="Where evaluation.json and report.html are written, in place of those of the same REF and DATA; "
    "others stay.",
)
@label_options
@labelled_file_options
@engine_options
@too_long_option
@store_options
@config_option
def evaluate(
    *,
    ref: str,
    data: tuple[str, ...],
    head: str | None,
    slices: tuple[str, ...],
    worst: int,
    draws: int,
    seed: int,
    as_json: bool,
    output: str | None,
    config_path: str | None,
    **knobs: Any,
) -> None:
    """Measure a model on labelled files: accuracy, F1, AUROC, calibration, each with its interval.

    What is measured are the answers that users get, in the precision that runs here. DATA are files with
    a column of texts and one of labels; rows of a label that the model lacks are left out and counted with
    --on-error skip.
    """
    from tonewise.cli.evaluate import evaluate_model
    from tonewise.cli.labels import labels_of
    from tonewise.config import load_config

    told = labels_of(knobs)
    evaluate_model(
        ref,
        data,
        load_config(knobs, path=config_path),
        told,
        head=head,
        slices=slices,
        worst=worst,
        draws=draws,
        seed=seed,
        as_json=as_json,
        output=output,
    )
