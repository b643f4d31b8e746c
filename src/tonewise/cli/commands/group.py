"""The group of all commands, and the options that several of them share."""

from collections.abc import Callable

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


engine_options = options(
    click.option(
        "--engine",
        metavar="NAME",
        help="auto | openvino | onnxruntime | torch | jax | tensorflow | reference | stub  [default: auto]",
    ),
    click.option("--precision", metavar="NAME", help="auto | int8 | bf16 | fp32  [default: auto]"),
    click.option("--device", metavar="NAME", help="cpu | cuda  [default: cpu]"),
    click.option("--threads", type=int, metavar="N", help="Of the passes together; default: all processors."),
    click.option("--max-length", type=int, metavar="N", help="Tokens of a text; default: the model's limit."),
)
too_long_option = click.option(
    "--too-long", metavar="POLICY", help="truncate | error | window  [default: truncate]"
)
store_options = options(
    click.option("--offline", is_flag=True, default=None, help="Never touch the network."),
    click.option(
        "--accept-licences",
        metavar="NAMES",
        help="Licences to accept beyond the permissive ones, joined by commas; 'unstated' for none stated.",
    ),
    click.option("--accept-data-terms", metavar="REFS", help="Models whose data terms you accept."),
)
labelled_file_options = options(
    click.option("--text-column", metavar="NAME", help="The column of the texts; default: the obvious one."),
    click.option("--text-pair-column", metavar="NAME", help="The second text of a pair."),
    click.option("--input-format", metavar="FORMAT", help="Of the files; default: by their names."),
    click.option("--encoding", metavar="NAME", help="Of text files.  [default: utf-8]"),
    click.option("--delimiter", metavar="CHAR", help="Of CSV; default: seen in the header."),
    click.option("--quoting", is_flag=True, default=None, help="Read quotes in TSV too."),
    click.option(
        "--on-error",
        metavar="POLICY",
        help="stop | skip: what a row that cannot be used does.  [default: stop]",
    ),
)
label_options = options(
    click.option(
        "--label-column", metavar="NAME", help="The column of the labels; default: the obvious one."
    ),
    click.option(
        "--label-columns", metavar="A,B,C", help="Soft labels: a column per label, joined by commas."
    ),
    click.option(
        "--label-separator", metavar="MARK", help="What joins several labels in a cell; makes it multi label."
    ),
    click.option("--labels", metavar="A,B,C", help="The labels in their order; default: as first seen."),
    click.option(
        "--multi-label/--single-label", default=None, help="Whether several labels may hold; default: seen."
    ),
)
config_option = click.option(
    "--config", "config_path", metavar="FILE", help="Settings file; default: ./tonewise.toml if there is one."
)


@click.group(context_settings=CONTEXT, epilog=STATUSES)
@click.version_option(__version__, prog_name="tonewise")
def tonewise() -> None:
    """Classify text on your own machine: fast, pinned, licensed, offline."""
