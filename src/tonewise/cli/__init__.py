"""The command line: thin commands; errors become exit statuses here and only here."""

import logging
import os
import signal
import sys
from contextlib import suppress

from tonewise.errors import OutputError, TonewiseError


def main() -> None:
    """Run `tonewise`. Exits 0, or with the error's own status after one line on stderr."""
    try:
        logging.basicConfig(format="tonewise: %(message)s", level=logging.WARNING)
        status = run(sys.argv[1:])
        with suppress(OSError):
            sys.stdout.flush()
    except KeyboardInterrupt:  # before or after the command itself
        _say("interrupted")
        status = 128 + signal.SIGINT
    # Taking the runtimes down would cost a tenth of a second, and a reader may still be inside one.
    os._exit(status)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    import click

    from tonewise.cli.statuses import SIGNALLED
    from tonewise.store.files import reason

    try:
        _invoke(arguments)
    except click.exceptions.Exit as wish:
        return wish.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "tonewise"
        _say(f"{error.format_message().rstrip('.')}; see: {where} --help")
        return error.exit_code
    except TonewiseError as error:
        _say(str(error))
        return error.exit_status
    except KeyboardInterrupt as stop:
        _say(str(stop) or "interrupted")
        return SIGNALLED + getattr(stop, "number", signal.SIGINT)
    except BrokenPipeError:
        # whoever read the output has enough
        _discard_stdout()
    except OSError as error:  # the rooms tell their own; what is left is stdout
        _say(f"cannot write {error.filename or 'stdout'}: {reason(error)}")
        _discard_stdout()
        return OutputError.exit_status
    return 0


def _invoke(arguments: list[str]) -> None:
    """The command itself, without what click's own `main` makes of interrupts and closed pipes."""
    from tonewise.cli.commands import tonewise

    if "_TONEWISE_COMPLETE" in os.environ:  # a shell asks how a word goes on
        tonewise.main(arguments, prog_name="tonewise")
    with tonewise.make_context("tonewise", list(arguments) or ["--help"]) as context:
        tonewise.invoke(context)
    sys.stdout.flush()


def _discard_stdout() -> None:
    """Let python close stdout in peace, whatever is still in its buffer."""
    with suppress(OSError):  # it may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(words: str) -> None:
    print("tonewise:", " ".join(words.split()), file=sys.stderr)
