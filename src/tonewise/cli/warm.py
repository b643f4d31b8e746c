"""`tonewise warm`: graphs built and engines measured ahead of a model's first use."""

from dataclasses import replace

from tonewise.classifier import Classifier
from tonewise.cli.classify import for_few
from tonewise.config import Config
from tonewise.engines import choose_threads
from tonewise.store.files import cache_folder


def warm_model(ref: str, config: Config) -> None:
    """Open the model as files, programs and texts in a command want it, and print what runs it best."""
    many = config.engine.streams or choose_threads(config.engine.threads)
    opened = _open(ref, _tuned(config, many))
    told = f"{opened.engine.streams} streams, batches of {opened.config.batch.budget:,} tokens"
    print(f"many texts: {_what(opened)}, {told}")
    print(f"one text: {_what(_open(ref, _tuned(config, config.engine.streams or 1)))}")
    print(f"one text in a command: {_what(_open(ref, for_few(config)))}")
    print(f"kept in {cache_folder(config.store.cache_dir)}")


def _tuned(config: Config, streams: int) -> Config:
    return replace(config, engine=replace(config.engine, streams=streams, tune=True))


def _open(ref: str, config: Config) -> Classifier:
    """A classifier that was open: what it ran on can still be told."""
    with Classifier.load(ref, config=config) as classifier:
        return classifier


def _what(classifier: Classifier) -> str:
    return f"{classifier.engine.name} in {classifier.engine.precision}"
