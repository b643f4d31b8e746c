"""`tonewise train` and its options."""

from typing import Any

import click

from tonewise.cli.commands.group import (
    CONTEXT,
    config_option,
    label_options,
    labelled_file_options,
    options,
    store_options,
    tonewise,
)

head_options = options(
    click.option(
        "--validation",
        metavar="FILE",
        help="Rows to choose and measure on; default: a tenth, under 1,000 rows out of fold.",
    ),
    click.option(
        "--head",
        "heads",
        multiple=True,
        metavar="NAME=FILE",
        help="One of several heads, in place of DATA; again for each.",
    ),
    click.option(
        "--multi-head",
        "multi_heads",
        multiple=True,
        metavar="NAME=FILE",
        help="The same, multi label; where there is one, --label-separator is about these heads alone.",
    ),
    click.option("--head-validation", multiple=True, metavar="NAME=FILE", help="--validation of a head."),
    click.option("--base", metavar="REF", help="The model to begin with.  [default: base]"),
    click.option(
        "--retain",
        metavar="REF[:FILE]",
        help="Begin with this model and keep its heads as good as they are; FILE is --retain-data.",
    ),
    click.option("--retain-data", metavar="FILE", help="Labelled texts of that model, to practise on."),
)
recipe_options = options(
    click.option("--epochs", type=int, metavar="N", help="Passes over the data; default: 5, of few 10."),
    click.option(
        "--learning-rate", type=float, metavar="X", help="The greatest; default: by size and number."
    ),
    click.option("--head-rate", type=float, metavar="X", help="Times as much for new layers.  [default: 5]"),
    click.option("--layer-decay", type=float, metavar="X", help="Of the rate, a layer down.  [default: 1]"),
    click.option("--batch-size", type=int, metavar="N", help="Texts of a step; default: 32, of few 16."),
    click.option("--batch-tokens", type=int, metavar="N", help="Tokens computed at once.  [default: 4096]"),
    click.option("--warmup", type=float, metavar="SHARE", help="Of steps, rate rising.  [default: 0.1]"),
    click.option("--weight-decay", type=float, metavar="X", help="Of matrices.  [default: 0.01]"),
    click.option("--clip-norm", type=float, metavar="X", help="Of a step's gradient.  [default: 1]"),
    click.option("--dropout", type=float, metavar="SHARE", help="Of activations.  [default: 0.1]"),
    click.option("--label-smoothing", type=float, metavar="SHARE", help="Spread evenly.  [default: 0]"),
    click.option(
        "--class-weights",
        type=float,
        metavar="POWER",
        help="Weight rare labels by (mean count / count) to this power; 0 is none.  [default: 0]",
    ),
    click.option("--patience", type=int, metavar="N", help="Epochs without a better one.  [default: 3]"),
    click.option("--frozen-layers", type=int, metavar="N", help="From below, as they are.  [default: 0]"),
    click.option("--freeze-encoder", is_flag=True, default=None, help="Only heads learn; takes seconds."),
    click.option(
        "--lora", "lora_rank", type=int, metavar="RANK", help="Low-rank updates, merged at the end."
    ),
    click.option("--average", type=float, metavar="SHARE", help="Mean of the last steps.  [default: 0]"),
    click.option("--pooling", metavar="HOW", help="auto | first | mean: what heads read.  [default: auto]"),
    click.option("--max-length", type=int, metavar="N", help="Tokens of a text; default: the model's limit."),
    click.option("--precision", metavar="NAME", help="auto | fp32 | bf16  [default: auto]"),
    click.option("--seed", type=int, metavar="N", help="Of all that is drawn.  [default: 0]"),
)
run_options = options(
    click.option("--device", metavar="NAME", help="cpu | cuda  [default: cpu]"),
    click.option("--resume", is_flag=True, help="Go on where an interrupted run of the same command was."),
    click.option("--tune", type=int, metavar="N", help="Try N recipes first, and train by the best."),
    click.option("--study", metavar="FILE", help="Keep the trials there (SQLite); default: OUTPUT.study.db."),
    click.option("--no-int8", is_flag=True, help="Leave out the activation ranges that int8 needs."),
)
card_options = options(
    click.option("--name", metavar="NAME", help="Of the model, on its card; default: the folder's."),
    click.option("--licence", metavar="NAME", help="Of the model; default: its base's."),
    click.option(
        "--data-name",
        multiple=True,
        metavar="NAME",
        help="Of the data, on the card; default: the file's. Of several heads HEAD=NAME, for each.",
    ),
    click.option(
        "--data-licence",
        multiple=True,
        metavar="NAME",
        help="Of the labelled texts. Of several heads HEAD=NAME, for each.",
    ),
    click.option(
        "--data-terms", metavar="WORDS", help="What they may be used for, where that is restricted."
    ),
)


@tonewise.command(context_settings=CONTEXT)
@click.argument("data", nargs=-1, metavar="[DATA…]")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write; it must be new.")
@head_options
@label_options
@labelled_file_options
@recipe_options
@run_options
@card_options
@store_options
@config_option
def train(
    *,
    config_path: str | None,
    **rest: Any,
) -> None:
    """Train a model on labelled files: fine-tuned, calibrated, measured, ready for int8, with its card.

    DATA are files with a column of texts and one of labels; with several heads each names its own. A run
    that was interrupted goes on with --resume, to the same weights.
    """
    from tonewise.cli.labels import labels_of
    from tonewise.cli.train import Wish, train_model
    from tonewise.config import load_config

    told = labels_of(rest)
    wish = Wish.taken_from(rest)
    train_model(wish, load_config(rest, path=config_path), told)
