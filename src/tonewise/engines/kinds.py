"""Which engines there are, what each can do, and how one is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from tonewise.engines.base import Engine, Options
from tonewise.errors import ConfigError, EngineError, MissingExtraError
from tonewise.store import Bundle, Pooling


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of an engine before its runtime is imported.

    module      that must be installed; none for our own
    extra       that installs it; none for the core's
    precisions  it computes in
    devices     it runs on
    """

    module: str | None
    extra: str | None
    precisions: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)

    @property
    def installed(self) -> bool:
        """Whether its runtime can be imported."""
        return self.module is None or find_spec(self.module) is not None


ENGINES: Mapping[str, Kind] = {
    "openvino": Kind("openvino", "openvino", ("int8", "bf16", "fp32")),
    "onnxruntime": Kind("onnxruntime", None, ("int8", "fp32"), ("cpu", "cuda")),
    "torch": Kind("torch", "torch", ("bf16", "fp32"), ("cpu", "cuda")),
    "jax": Kind("jax", "jax", ("fp32",)),
    "tensorflow": Kind("tensorflow", "tensorflow", ("fp32",)),
    "reference": Kind(None, None, ("fp32",)),
    "stub": Kind(None, None, ("fp32",)),
}


def check_engine(name: str) -> Kind:
    """What is known of the engine. Raises ConfigError for one that does not exist, MissingExtraError."""
    if name not in ENGINES:
        raise ConfigError(f"no engine '{name}'; there are: auto, {', '.join(ENGINES)}")
    kind = ENGINES[name]
    if not kind.installed:
        raise MissingExtraError(str(kind.module), kind.extra)
    return kind


def open_named(name: str, bundle: Bundle, poolings: Sequence[Pooling], options: Options) -> Engine:
    """Open one of `ENGINES` as told.

    Raises ModelError when the weights do not fit, EngineError when the runtime does not start.
    """
    try:
        return _opened(name, bundle, poolings, options)
    except ImportError as error:  # it is installed, but not whole, or not for this machine
        raise EngineError(f"{name} cannot be imported: {' '.join(str(error).split())}") from None


def _opened(  # noqa: PLR0911  # one return an engine
    name: str, bundle: Bundle, poolings: Sequence[Pooling], options: Options
) -> Engine:
    match name:
        case "openvino":
            from tonewise.engines.openvino import OpenVinoEngine

            return OpenVinoEngine(bundle, poolings, options)
        case "onnxruntime":
            from tonewise.engines.onnxruntime import OnnxRuntimeEngine

            return OnnxRuntimeEngine(bundle, poolings, options)
        case "torch":
            from tonewise.engines.torch import TorchEngine

            return TorchEngine(bundle, poolings, options)
        case "jax":
            from tonewise.engines.jax import JaxEngine

            return JaxEngine(bundle, poolings, options)
        case "tensorflow":
            from tonewise.engines.tensorflow import TensorFlowEngine

            return TensorFlowEngine(bundle, poolings, options)
        case "reference":
            from tonewise.engines.reference import ReferenceEngine

            return ReferenceEngine(bundle, poolings)
        case "stub":
            from tonewise.encoder.weights import NetworkSpec
            from tonewise.engines.stub import StubEngine

            spec = NetworkSpec.from_config(bundle.network, bundle.ref)
            return StubEngine(poolings, spec.hidden_size)
    raise ConfigError(f"no engine '{name}'; there are: {', '.join(ENGINES)}")
