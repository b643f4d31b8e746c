"""The commands about models as they lie there: list, show, pull, verify."""

from typing import Any

import click

from tonewise.cli.commands.group import CONTEXT, config_option, store_options, tonewise


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
