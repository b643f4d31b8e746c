"""Stage 4 · interchangeable runtimes behind one contract; `open_engine` opens the one that is asked for."""

from collections.abc import Sequence

from tonewise.config import EngineConfig, StoreConfig
from tonewise.engines.base import Engine, Options, States
from tonewise.engines.feed import Budget, feed
from tonewise.engines.kinds import ENGINES, open_named
from tonewise.engines.select import Choice, choose, choose_threads
from tonewise.engines.trial import Cost
from tonewise.store import Bundle, Pooling

__all__ = [
    "ENGINES",
    "Budget",
    "Choice",
    "Cost",
    "Engine",
    "Options",
    "States",
    "choose",
    "choose_threads",
    "feed",
    "open_engine",
    "open_named",
]


def open_engine(
    bundle: Bundle,
    poolings: Sequence[Pooling],
    config: EngineConfig | None = None,
    store: StoreConfig | None = None,
) -> Engine:
    """Open the configured runtime on a bundle's encoder; it returns one state per pooling.

    Raises ConfigError for an unknown engine or a precision it does not have, MissingExtraError for a
    runtime that is not installed, ModelError when the weights do not fit, EngineError when the runtime
    does not start.
    """
    choice = choose(config or EngineConfig(), bundle, poolings, (store or StoreConfig()).cache_dir)
    return open_named(choice.name, bundle, poolings, choice.options)
