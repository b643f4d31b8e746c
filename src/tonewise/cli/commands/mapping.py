"""`tonewise map`: a model that answers in its consumer's labels."""

from typing import Any

import click

from tonewise.cli.commands.group import CONTEXT, config_option, store_options, tonewise


@tonewise.command("map", context_settings=CONTEXT)
@click.argument("ref")
@click.argument("file")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write; it must be new.")
@store_options
@config_option
def map_labels(ref: str, file: str, output: str, config_path: str | None, **knobs: Any) -> None:
    """Write a new bundle that answers in your labels, as `classify --map FILE` does.

    FILE is JSON or TOML, {"model's label": "yours", …}, or a CSV with a header and these two columns. For
    several heads: {"head": {"model's label": "yours", …}, …}. Labels that become one are added up. The new
    card leaves out figures of the old labels.
    """
    from tonewise.cli.mapping import map_labels as run
    from tonewise.config import load_config

    run(ref, file, load_config(knobs, path=config_path).store, output)
