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
@click.option(
    "--engine",
    metavar="NAME",
    help="auto | openvino | onnxruntime | torch | jax | tensorflow | reference | stub  [default: auto]",
)
@click.option("--precision", metavar="NAME", help="auto | int8 | bf16 | fp32  [default: auto]")
@click.option("--device", metavar="NAME", help="cpu | cuda  [default: cpu]")
@click.option(
    "--threads", type=int, metavar="N", help="Of the forward passes together; default: all processors."
)
@click.option("--streams", type=int, metavar="N", help="Forward passes at once; for files one a thread.")
@click.option(
    "--tune", is_flag=True, default=None, help="Measure first which engine is fastest here; large files do."
)
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
@click.argument("refs", nargs=-1, metavar="[REF]…")
@click.option("--texts", metavar="FILE", help="Texts to measure with; default: sentences of our own.")
@click.option("--max-texts", type=int, metavar="N", help="Of the file.  [default: 2000]")
@click.option("--text-column", metavar="NAME", help="The column of the texts; default: the obvious one.")
@click.option("--text-pair-column", metavar="NAME", help="The second text of a pair.")
@click.option("--input-format", metavar="FORMAT", help="Of the file; default: by its name.")
@click.option("--engines", metavar="NAMES", help="Joined by commas; default: those that are installed.")
@click.option(
    "--precisions",
    metavar="NAMES",
    help="int8, bf16, fp32, joined by commas; default: what each engine has, int8 where the model has "
    "activation ranges.",
)
@click.option(
    "--threads", type=int, metavar="N", help="Of the forward passes together; default: all processors."
)
@click.option(
    "--streams",
    type=int,
    metavar="N",
    help="Forward passes at once; default: 1 for one text, else one a thread.",
)
@click.option(
    "--rounds", type=int, default=3, metavar="N", help="Turns of each; medians count.  [default: 3]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("-o", "--output", metavar="DIR", help="Where bench.json and bench.png are written.")
@store_options
@config_option
def bench(
    *,
    refs: tuple[str, ...],
    texts: str | None,
    max_texts: int | None,
    engines: str | None,
    precisions: str | None,
    rounds: int,
    as_json: bool,
    output: str | None,
    config_path: str | None,
    **knobs: Any,
) -> None:
    """Measure models × engines × precisions on this machine: speed, latency, memory, agreement.

    Each runs in processes of its own, in turns. REF… are models; default: emotion.
    """
    from tonewise.benchmark import Plan
    from tonewise.cli.bench import bench as run
    from tonewise.config import load_config

    config = load_config(knobs, path=config_path)
    plan = Plan(refs or (config.run.model,), _names(engines), _names(precisions), rounds)
    given = {name for name, value in {**knobs, "max_texts": max_texts}.items() if value is not None}
    run(plan, config, flags=given, texts=texts, max_texts=max_texts, as_json=as_json, output=output)


def _names(joined: str | None) -> list[str]:
    """Names joined by commas."""
    return [name.strip() for name in (joined or "").split(",") if name.strip()]


@tonewise.command(context_settings=CONTEXT)
@click.argument("ref")
@click.option(
    "--to", required=True, metavar="FORMAT", help="transformers | onnx | openvino | tensorflow | jax"
)
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="Where to write; a new folder, or an empty one."
)
@click.option(
    "--precision",
    default="fp32",
    metavar="NAME",
    help="fp32 | int8; int8 is for onnx and openvino, and models with activation ranges.  [default: fp32]",
)
@store_options
@config_option
def export(ref: str, to: str, output: str, precision: str, config_path: str | None, **knobs: Any) -> None:
    """Write a model in another format, its head inside.

    The folder is opened again by the format's own runtime and compared with the oracle before it gets its
    name. REF#HEAD picks a head.
    """
    from tonewise.cli.export import export_model
    from tonewise.config import load_config

    export_model(ref, load_config(knobs, path=config_path), to=to, output=output, precision=precision)


@tonewise.command(context_settings=CONTEXT)
@click.argument("ref")
@click.option(
    "--texts", required=True, metavar="FILE", help="Unlabelled texts like those to come; some hundreds do."
)
@click.option("--text-column", metavar="NAME", help="The column of the texts; default: the obvious one.")
@click.option("--text-pair-column", metavar="NAME", help="The second text of a pair.")
@click.option("--input-format", metavar="FORMAT", help="Of the file; default: by its name.")
@click.option(
    "--target",
    type=float,
    default=0.995,
    metavar="SHARE",
    help="Least share of labels that must agree with fp32; layers are left out until they do.  "
    "[default: 0.995]",
)
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write; it must be new.")
@store_options
@config_option
def quantize(ref: str, texts: str, target: float, output: str, config_path: str | None, **knobs: Any) -> None:
    """Write a new bundle that runs in int8: activation ranges from texts, and the agreement they give.

    Half of the texts give the ranges; on the others the labels of int8 and fp32 are compared.
    """
    from tonewise.cli.quantize import quantize as run
    from tonewise.config import load_config

    run(ref, load_config(knobs, path=config_path), texts=texts, target=target, output=output)


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


@tonewise.command(context_settings=CONTEXT)
@click.argument("ref", default="emotion")
@click.option("--engine", metavar="NAME", help="Measure this one alone.  [default: auto]")
@click.option("--precision", metavar="NAME", help="Measure this one alone.  [default: auto]")
@click.option("--threads", type=int, metavar="N", help="Of the forward passes; default: all processors.")
@store_options
@config_option
def warm(ref: str, config_path: str | None, **knobs: Any) -> None:
    """Build a model's graphs and measure what is fastest here, ahead of its first use.

    What is found is kept in the cache folder, for this machine; an image that runs elsewhere is measured
    again there.
    """
    from tonewise.cli.warm import warm_model
    from tonewise.config import load_config

    warm_model(ref, load_config(knobs, path=config_path))
