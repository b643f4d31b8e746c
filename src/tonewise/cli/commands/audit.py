"""`tonewise audit` and its options."""

from typing import Any

import click

from tonewise.cli.commands.group import (
    CONTEXT,
    config_option,
    label_options,
    labelled_file_options,
    store_options,
    tonewise,
)


@tonewise.command(context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@labelled_file_options
@label_options
@click.option("--validation", metavar="FILE", help="Labelled texts that must not be among the others.")
@click.option(
    "--base",
    metavar="REF",
    help="The model whose vectors tell label errors; not one that was trained on these labels.  "
    "[default: base]",
)
@click.option("--rows", type=int, default=20, metavar="N", help="Shown of each kind.  [default: 20]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("-o", "--output", metavar="FILE", help="Where all rows are written: .jsonl or .csv.")
@store_options
@config_option
def audit(
    *,
    files: tuple[str, ...],
    validation: str | None,
    base: str | None,
    rows: int,
    as_json: bool,
    output: str | None,
    config_path: str | None,
    **knobs: Any,
) -> None:
    """Look over labelled files: label errors, repeats, leaks, imbalance, with the rows to look at.

    Label errors are told by the other rows: where a classifier that was fitted without a row is sure of
    another label.
    """
    from tonewise.cli.audit import audit as run
    from tonewise.cli.labels import labels_of
    from tonewise.config import load_config

    told = labels_of(knobs)
    config = load_config(knobs, path=config_path)
    run(files, config, told, validation=validation, base=base, rows=rows, as_json=as_json, output=output)
