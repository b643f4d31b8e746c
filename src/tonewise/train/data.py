"""What training asks of its data before a minute is spent: the checks, the split, the folds."""

from collections.abc import Iterable

from tonewise.errors import InputError
from tonewise.source.checks import Finding, check
from tonewise.source.split import folds, split

__all__ = ["Finding", "check", "folds", "raise_fatal", "split"]


def raise_fatal(findings: Iterable[Finding], head: str | None = None) -> None:
    """Raise InputError, in one line, when a finding is fatal, with the head's name; warnings pass."""
    fatal = [one for one in findings if one.severity == "fatal"]
    if fatal:
        rows = f" ({fatal[0].rows[0]} and on)" if fatal[0].rows else ""
        of = f"{head}: " if head else ""
        raise InputError(of + "; ".join(one.message for one in fatal) + rows)
