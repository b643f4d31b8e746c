"""Built ONNX graphs, kept on disk by digest: never trusted unread, never needed."""

import hashlib
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tonewise import encoder
from tonewise.encoder.int8 import Dialect, GraphPrecision, Quantization
from tonewise.encoder.weights import NetworkSpec, load_weights
from tonewise.store import Bundle, Manifest, Pooling
from tonewise.store.files import reason, replacing

MAGIC = b"tonewise graph\n"

log = logging.getLogger("tonewise")


def cached_graph(
    bundle: Bundle, poolings: Sequence[Pooling], precision: GraphPrecision, dialect: Dialect, folder: Path
) -> bytes:
    """The serialized graph, from the cache or built now and put there.

    A cached file that is cut, altered or unreadable is built again; a cache that cannot be written
    costs a warning. Raises ModelError when the weights do not fit the network.
    """
    path = folder / "graphs" / _name(bundle, poolings, f"{dialect}-{precision}")
    found = _read(path)
    if found is not None:
        return found
    graph = _build(bundle, poolings, precision, dialect)
    try:
        with replacing(path) as file:
            file.writelines((MAGIC, hashlib.sha256(graph).digest(), graph))
    except OSError as error:
        log.warning(
            "the graph cache %s cannot be written (%s); the graph is built at each start",
            folder,
            reason(error),
        )
    return graph


def _name(bundle: Bundle, poolings: Sequence[Pooling], kind: str) -> str:
    digest = bundle.digest.removeprefix("sha256:")[:32]
    return f"{digest}-{kind}-{'-'.join(poolings)}-{_writers()}.onnx"


@cache
def _writers() -> str:
    """A hash of the code that writes graphs: after a change of it, none that it wrote before is found."""
    digest = hashlib.sha256()
    for name in ("forward", "graph", "int8", "weights"):
        digest.update((Path(encoder.__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


def quantization_of(manifest: Manifest) -> Quantization:
    """What a bundle states of its activations."""
    smoothing = {
        name: {int(channel): factor for channel, factor in factors.items()}
        for name, factors in manifest.smoothing.items()
    }
    return Quantization(manifest.activation_ranges, smoothing)


def _read(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + 32
    graph = memoryview(content)[start:]
    if content[: len(MAGIC)] == MAGIC and hashlib.sha256(graph).digest() == content[len(MAGIC) : start]:
        return graph.tobytes()
    log.warning("the cached graph %s is damaged; it is built again", path)
    return None


def _build(bundle: Bundle, poolings: Sequence[Pooling], precision: GraphPrecision, dialect: Dialect) -> bytes:
    from tonewise.encoder.graph import build_graph  # a hit needs no onnx

    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    weights = load_weights(bundle.weights, spec, bundle.ref)
    return build_graph(weights, poolings, precision, quantization_of(bundle.manifest), dialect)
