"""`tonewise reproduce` and its options."""

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
@click.option(
    "--data", "files", multiple=True, metavar="FILE", help="The labelled texts; default: what the card names."
)
@click.option("--dataset", metavar="NAME", help="Of the card's data sets the one that is called so.")
@click.option("--dataset-config", metavar="NAME", help="Of its configs; or the config, where none is told.")
@click.option("--split", metavar="NAME", help="Of its splits; or the split, where the card tells none.")
@click.option("--head", metavar="NAME", help="Of a model with several.")
@click.option(
    "--tolerance", type=float, default=1.0, metavar="POINTS", help="Of each figure.  [default: 1.0]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--map", metavar="FILE", help="Maps the model's labels to those of the data.")
@engine_options
@too_long_option
@label_options
@labelled_file_options
@store_options
@config_option
def reproduce(
    *,
    ref: str,
    files: tuple[str, ...],
    dataset: str | None,
    dataset_config: str | None,
    split: str | None,
    head: str | None,
    tolerance: float,
    as_json: bool,
    config_path: str | None,
    **knobs: Any,
) -> None:
    """Measure again what a model's own card states, and look into what may explain a gap.

    The figures are those of the card's model-index. The data that it names is fetched from the hub by
    commit and pinned; --data gives it as a file, its labels by name or numbered in the model's order (of a
    model with one label, 1 where it holds). Not measured are figures of rows that the model has learned since
    (out-of-fold) and, of a model with several heads, those that name none. Exits with 9 when a figure is
    further off than the tolerance.
    """
    from tonewise.cli.labels import labels_of
    from tonewise.cli.reproduce import reproduce_card
    from tonewise.config import load_config
    from tonewise.evaluate.reproduce import Wanted
    from tonewise.source.labelled import Labels

    told = labels_of(knobs)
    reproduce_card(
        ref,
        load_config(knobs, path=config_path),
        files=files,
        labels=None if told == Labels() else told,
        wanted=Wanted(dataset, split, dataset_config),
        head=head,
        tolerance=tolerance,
        as_json=as_json,
    )
