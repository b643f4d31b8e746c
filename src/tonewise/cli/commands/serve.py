"""`tonewise serve` and `tonewise key`, and their options."""

from typing import Any

import click

from tonewise.cli.commands.group import (
    CONTEXT,
    config_option,
    engine_options,
    options,
    store_options,
    tonewise,
    too_long_option,
)

limit_options = options(
    click.option("--max-queue-tokens", type=int, metavar="N", help="Let in at once; beyond, 429."),
    click.option(
        "--max-queue-seconds", type=float, metavar="S", help="Of work that waits in a storm.  [default: 1]"
    ),
    click.option("--max-body-bytes", type=int, metavar="N", help="Of a request.  [default: 2000000]"),
    click.option("--max-texts", type=int, metavar="N", help="Of a request.  [default: 1024]"),
    click.option("--max-model-bytes", type=int, metavar="N", help="Of all models in memory."),
    click.option("--cache-bytes", type=int, metavar="N", help="Of kept answers; 0 keeps none."),
    click.option("--timeout-seconds", type=float, metavar="S", help="For an answer.  [default: 30]"),
    click.option("--hang-seconds", type=float, metavar="S", help="For a batch.  [default: 20]"),
    click.option("--grace-seconds", type=float, metavar="S", help="To finish at the end.  [default: 20]"),
)


@tonewise.command(context_settings=CONTEXT)
@click.argument("models", nargs=-1, metavar="[REF | NAME=REF]…")
@click.option("--host", metavar="ADDRESS", help="To listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, metavar="N", help="To listen on; 0 takes a free one.  [default: 8321]")
@click.option("--keys", metavar="FILE", help="Keys that 'tonewise key' made; default: anyone may ask.")
@click.option(
    "--without-keys",
    is_flag=True,
    default=None,
    help="Listen beyond this machine although there are no keys.",
)
@click.option("--cors-origins", metavar="URLS", help="Pages of other origins that may ask; '*' for all.")
@click.option("--log-texts", is_flag=True, default=None, help="Write texts to the log too.")
@engine_options
@too_long_option
@click.option("--streams", type=int, metavar="N", help="Batches at once; default: one a thread.")
@click.option("--tune", is_flag=True, default=None, help="Measure first which engine is fastest here.")
@limit_options
@store_options
@config_option
def serve(models: tuple[str, ...], config_path: str | None, **knobs: Any) -> None:
    """Serve models over HTTP, to the clients of Hugging Face, TEI and OpenAI as well as our own.

    The first model answers where a request names none; default: emotion. A page for a browser is at /, the
    routes are told at /docs.
    """
    from tonewise.cli.serve import serve as run
    from tonewise.config import load_config

    run(load_config({**knobs, "models": models or None}, path=config_path))


@tonewise.command(context_settings=CONTEXT)
@click.argument("name")
@click.option("--keys", metavar="FILE", required=True, help="Where its hash is added.")
@click.option("--admin", is_flag=True, help="It may load and unload models, too.")
@click.option("--requests-per-minute", type=click.IntRange(1), metavar="N", help="Default: no limit.")
@click.option("--tokens-per-minute", type=click.IntRange(1), metavar="N", help="Default: no limit.")
def key(
    name: str, keys: str, admin: bool, requests_per_minute: int | None, tokens_per_minute: int | None
) -> None:
    """Make a key for a server, and print it; only its hash is kept."""
    from tonewise.cli.serve import make_key

    make_key(keys, name, admin, requests_per_minute, tokens_per_minute)
