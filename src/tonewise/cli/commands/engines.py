"""The commands about running a model: bench, warm, quantize, export."""

from typing import Any

import click

from tonewise.cli.commands.group import CONTEXT, config_option, store_options, tonewise


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
