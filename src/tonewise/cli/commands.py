"""The commands and their options; each opens its room only when it runs."""

from collections.abc import Callable
from typing import Any

import click

from tonewise import __version__
from tonewise.cli.statuses import STATUSES

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
Command = Callable[..., None]


def options(*made: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order they are shown."""

    def apply(command: Command) -> Command:
        for option in reversed(made):
            command = option(command)
        return command

    return apply


store_options = options(
    click.option("--offline", is_flag=True, default=None, help="Never touch the network."),
    click.option(
        "--accept-licences",
        metavar="NAMES",
        help="Licences to accept beyond the permissive ones, joined by commas; 'unstated' for none stated.",
    ),
    click.option("--accept-data-terms", metavar="REFS", help="Models whose data terms you accept."),
)
config_option = click.option(
    "--config", "config_path", metavar="FILE", help="Settings file; default: ./tonewise.toml if there is one."
)


@click.group(context_settings=CONTEXT, epilog=STATUSES)
@click.version_option(__version__, prog_name="tonewise")
def tonewise() -> None:
    """Classify text on your own machine: fast, pinned, licensed, offline."""


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
@click.option("--top-k", type=int, metavar="N", help="Keep the N best scores of a head.")
@click.option("--engine", metavar="NAME", help="auto | onnxruntime | reference | stub  [default: auto]")
@click.option("--precision", metavar="NAME", help="auto | int8 | fp32  [default: auto]")
@click.option(
    "--threads", type=int, metavar="N", help="Of the forward passes together; default: all processors."
)
@click.option("--streams", type=int, metavar="N", help="Forward passes at once; for files one a thread.")
@click.option("--max-length", type=int, metavar="N", help="Tokens of a text; default: the model's limit.")
@click.option("--too-long", metavar="POLICY", help="truncate | error | window  [default: truncate]")
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


@tonewise.command(context_settings=CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def models(as_json: bool) -> None:
    """List models: packaged, pulled, and others that are known."""
    from tonewise.cli.show import list_models

    list_models(as_json=as_json)


@tonewise.command(context_settings=CONTEXT)
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def show(ref: str, as_json: bool) -> None:
    """Show a model: heads, licence, data terms, files and their hashes, card, notice."""
    from tonewise.cli.show import show_model

    show_model(ref, as_json=as_json)


@tonewise.command(context_settings=CONTEXT)
@click.argument("ref")
@store_options
@config_option
def pull(ref: str, config_path: str | None, **knobs: Any) -> None:
    """Fetch a hub model once and pin it: its commit and hashes go into tonewise.lock."""
    from tonewise.cli.show import pull_model
    from tonewise.config import load_config

    pull_model(ref, load_config(knobs, path=config_path).store)


@tonewise.command(context_settings=CONTEXT)
@click.argument("ref")
def verify(ref: str) -> None:
    """Hash every file of a model and name those that differ; works offline."""
    from tonewise.cli.show import verify_model

    verify_model(ref)
