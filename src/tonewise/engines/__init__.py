"""Stage 4 · interchangeable runtimes behind one contract; `open_engine` opens the one that is asked for."""

from collections.abc import Sequence

from tonewise.config import EngineConfig, StoreConfig
from tonewise.engines.base import Engine, States
from tonewise.engines.feed import feed
from tonewise.engines.select import ENGINES, choose_engine, choose_precision, choose_threads
from tonewise.errors import ConfigError
from tonewise.store import Bundle, Pooling
from tonewise.store.files import cache_folder

__all__ = ["ENGINES", "Engine", "States", "choose_threads", "feed", "open_engine"]


def open_engine(
    bundle: Bundle,
    poolings: Sequence[Pooling],
    config: EngineConfig | None = None,
    store: StoreConfig | None = None,
) -> Engine:
    """Open the configured runtime on a bundle's encoder; it returns one state per pooling.

    Raises ConfigError for an unknown engine or a precision it does not have, ModelError when the
    weights do not fit, EngineError when the runtime does not start.
    """
    config, store = config or EngineConfig(), store or StoreConfig()
    name = choose_engine(config.engine)
    if name == "onnxruntime":
        from tonewise.engines.onnxruntime import OnnxRuntimeEngine

        precision = choose_precision(config.precision, bundle)
        threads, streams = choose_threads(config.threads), config.streams or 1
        cache = cache_folder(store.cache_dir)
        return OnnxRuntimeEngine(bundle, poolings, precision, cache, threads=threads, streams=streams)
    if config.precision == "int8":
        raise ConfigError(f"the {name} engine has no int8; leave out the precision, or choose onnxruntime")
    if name == "reference":
        from tonewise.engines.reference import ReferenceEngine

        return ReferenceEngine(bundle, poolings)
    from tonewise.encoder.weights import NetworkSpec
    from tonewise.engines.stub import StubEngine

    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    return StubEngine(poolings, spec.hidden_size)
