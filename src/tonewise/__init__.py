"""Classify text on your own machine: fast, pinned, licensed, offline."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "Classifier": "classifier",
    "Client": "client",
    "Config": "config",
    "ConfigError": "errors",
    "Encoding": "tokenizer",
    "EngineError": "errors",
    "Example": "source",
    "HubError": "errors",
    "InputError": "errors",
    "IntegrityError": "errors",
    "LicenceError": "errors",
    "MissingExtraError": "errors",
    "ModelError": "errors",
    "OutputError": "errors",
    "Prediction": "head",
    "RowError": "errors",
    "StubEngine": "engines.stub",
    "TonewiseError": "errors",
    "load_config": "config",
    "pipeline": "pipelines",
}

__all__ = ["__version__", *_PLACES]  # noqa: PLE0604  names that are fetched on first use


def __getattr__(name: str) -> Any:
    """Fetch a public name when it is first used, so that `import tonewise` stays instant."""
    if name not in _PLACES:
        raise AttributeError(f"module 'tonewise' has no attribute '{name}'")
    value = getattr(import_module(f"tonewise.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
