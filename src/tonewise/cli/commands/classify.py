"""`tonewise classify` and its options."""

from typing import Any

import click

from tonewise.cli.commands.group import (
    CONTEXT,
    config_option,
    engine_options,
    store_options,
    tonewise,
    too_long_option,
)


@tonewise.command(context_settings=CONTEXT)
@click.argument("inputs", nargs=-1, metavar="TEXT… | FILE… | -")
@click.option("--model", metavar="REF", help="Name, ./folder or owner/name.  [default: emotion]")
@click.option(
    "--text", "as_text", is_flag=True, help="Take every argument as a text, whatever it looks like."
)
@click.option("-o", "--output", metavar="FILE", help="Where to write; default: stdout.")
@click.option("--text-column", metavar="NAME", help="The column to classify; default: the obvious one.")
@click.option("--text-pair-column", metavar="NAME", help="The second text of a pair.")
@click.option(
    "--input-format",
    metavar="FORMAT",
    help="csv | tsv | json | jsonl | parquet | lines; default: by the name.",
)
@click.option("--encoding", metavar="NAME", help="Of text files.  [default: utf-8]")
@click.option("--delimiter", metavar="CHAR", help="Of CSV; default: seen in the header.")
@click.option("--quoting", is_flag=True, default=None, help="Read quotes in TSV too.")
@click.option(
    "--output-format", metavar="FORMAT", help="jsonl | csv | parquet | table; default: by the name."
)
@click.option("--scores", is_flag=True, default=None, help="Add a column per label to CSV and Parquet.")
@click.option("--uncertainty", is_flag=True, default=None, help="Add each head's entropy (nats) and margin.")
@click.option("--top-k", type=int, metavar="N", help="Keep the N best scores of a head.")
@click.option(
    "--map", metavar="FILE", help="Answer in your own labels: label → yours, as .json, .toml or .csv."
)
@engine_options
@click.option("--streams", type=int, metavar="N", help="Forward passes at once; for files one a thread.")
@click.option(
    "--tune", is_flag=True, default=None, help="Measure first which engine is fastest here; large files do."
)
@too_long_option
@click.option(
    "--stride", type=int, metavar="N", help="Tokens that neighbouring windows share.  [default: 32]"
)
@click.option("--window-pooling", metavar="HOW", help="mean | max  [default: mean]")
@click.option(
    "--on-error",
    metavar="POLICY",
    help="stop | skip: what a row that cannot be used does; skipped ones go to OUTPUT.errors.jsonl.  "
    "[default: stop]",
)
@store_options
@config_option
def classify(
    inputs: tuple[str, ...],
    as_text: bool,
    output: str | None,
    config_path: str | None,
    **knobs: Any,
) -> None:
    """Classify texts, or files of any size, or stdin.

    An argument with a known extension, a glob or a path separator is a file; anything else is a text.
    Without --output a terminal shows a table and a pipe gets JSON lines.
    """
    from tonewise.cli.classify import classify as run
    from tonewise.config import load_config

    flags = {name: value for name, value in knobs.items() if value is not None}
    run(inputs, load_config(flags, path=config_path), flags=set(flags), as_text=as_text, output=output)
