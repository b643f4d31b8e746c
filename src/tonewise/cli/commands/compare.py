"""`tonewise compare`: models side by side on a labelled file of one's own."""

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
@click.argument("refs_and_data", nargs=-1, required=True, metavar="REF REF… DATA")
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="REF=FILE",
    help="Maps one model's labels to those of the data; may be given for each.",
)
@click.option("--price", type=float, metavar="X", help="Of an hour of this machine: cost is told in it too.")
@click.option("--rounds", type=int, default=3, metavar="N", help="Turns of measuring speed.  [default: 3]")
@click.option("--draws", type=int, default=1000, metavar="N", help="Of each bootstrap.  [default: 1000]")
@click.option("--seed", type=int, default=0, metavar="N", help="Of the bootstraps.  [default: 0]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    help="Where comparison.json and compare.html are written, in place of those of the same REFs and DATA; "
    "others stay.",
)
@label_options
@labelled_file_options
@engine_options
@too_long_option
@store_options
@config_option
def compare(
    *,
    refs_and_data: tuple[str, ...],
    price: float | None,
    rounds: int,
    maps: tuple[str, ...],
    draws: int,
    seed: int,
    as_json: bool,
    output: str | None,
    config_path: str | None,
    **knobs: Any,
) -> None:
    """Models side by side on a labelled file: quality, significance, speed, memory, size, cost, terms.

    Each model answers the same rows; REF#HEAD picks one of several heads. The best is marked; of the others
    the difference from it is told, with its interval and its p.
    """
    from tonewise.cli.compare import compare_models
    from tonewise.cli.labels import labels_of
    from tonewise.config import load_config
    from tonewise.evaluate.compare import Timing

    told = labels_of(knobs)
    compare_models(
        refs_and_data,
        load_config(knobs, path=config_path),
        told,
        Timing(rounds, price=price),
        maps=maps,
        draws=draws,
        seed=seed,
        as_json=as_json,
        output=output,
    )
