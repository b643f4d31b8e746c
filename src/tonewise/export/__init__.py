"""A model in other formats, each read again by its own runtime and proved before it gets its name."""

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import tonewise
from tonewise.config import StoreConfig
from tonewise.encoder.int8 import GraphPrecision
from tonewise.engines.compiled import failure
from tonewise.errors import ConfigError, MissingExtraError, TonewiseError
from tonewise.export.folder import add_card, add_documents, add_report, check_place
from tonewise.export.network import Network
from tonewise.export.proof import Proof, Run, prove
from tonewise.store import Bundle, resolve
from tonewise.store.writing import new_folder

__all__ = ["FORMATS", "Exported", "Format", "Proof", "export"]


@dataclass(frozen=True, slots=True)
class Format:
    """What is known of a format before its runtime is imported.

    title       as people call it
    modules     that write and read it
    extra       that installs them; none for the core's
    precisions  it is written in
    """

    title: str
    modules: tuple[str, ...]
    extra: str | None
    precisions: tuple[GraphPrecision, ...] = ("fp32",)


FORMATS: Mapping[str, Format] = {
    "transformers": Format("transformers", ("torch", "transformers"), "transformers"),
    "onnx": Format("ONNX", ("onnx", "onnxruntime"), None, ("fp32", "int8")),
    "openvino": Format("OpenVINO", ("openvino",), "openvino", ("fp32", "int8")),
    "tensorflow": Format("TensorFlow", ("tensorflow",), "tensorflow"),
    "jax": Format("JAX", ("jax",), "jax"),
}


class Writer(Protocol):
    """What the module of a format supplies.

    USE  Python that uses the folder from inside it, for `str.format`
    """

    USE: str

    def write(self, network: Network, folder: Path) -> None:
        """Write the network into the folder."""
        ...

    def open_again(self, network: Network, folder: Path) -> Run:
        """Open what was written, with the format's own runtime and nothing else."""
        ...


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: its place, bytes and files, and how near it came to the oracle."""

    ref: str
    to: str
    precision: GraphPrecision
    folder: Path
    files: int
    size: int
    proof: Proof


def export(
    ref: str | Path,
    to: str,
    output: str | Path,
    *,
    precision: GraphPrecision = "fp32",
    store: StoreConfig | None = None,
) -> Exported:
    """Write a model to the new folder `output` as one of `FORMATS`, its head inside.

    The folder is opened again by the format's own runtime and compared with the float64 oracle before it
    gets its name: nothing is left behind where that fails. Raises ConfigError for another format or
    precision, MissingExtraError, ModelError and its kin as `resolve` does and for what the format cannot
    hold, OutputError for a folder that cannot be made or is not empty, EngineError when the runtime fails
    or answers otherwise.
    """
    kind = _check(to, precision)
    place = Path(output)
    check_place(place)
    bundle = resolve(ref, store)
    network = Network.read(bundle, precision)
    with new_folder(place) as folder, _told(kind):
        writer = _writer(to)
        add_documents(network, folder, to)
        writer.write(network, folder)
        proof = prove(network, writer.open_again(network, folder))
        add_report(folder, _report(network, to, kind, proof))
        add_card(network, folder, writer.USE, _summary(network, kind, proof))
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Exported(bundle.ref, to, precision, place, len(sizes), sum(sizes), proof)


def _check(to: str, precision: str) -> Format:
    if to not in FORMATS:
        raise ConfigError(f"no format '{to}'; there are: {', '.join(FORMATS)}")
    kind = FORMATS[to]
    if precision not in kind.precisions:
        having = [name for name, one in FORMATS.items() if precision in one.precisions]
        told = f"choose {' or '.join(having)}" if having else f"there is {' and '.join(kind.precisions)}"
        raise ConfigError(f"{to} is not exported in {precision}; {told}")
    for module in kind.modules:
        if kind.extra and find_spec(module) is None:
            raise MissingExtraError(module, kind.extra)
    return kind


def _writer(to: str) -> Writer:
    match to:
        case "transformers":
            from tonewise.export import transformers

            return transformers
        case "onnx":
            from tonewise.export import onnx

            return onnx
        case "openvino":
            from tonewise.export import openvino

            return openvino
        case "tensorflow":
            from tonewise.export import tensorflow

            return tensorflow
        case _:
            from tonewise.export import jax

            return jax


@contextmanager
def _told(kind: Format) -> Iterator[None]:
    """Whatever a runtime raises, as one of our errors."""
    try:
        yield
    except (TonewiseError, OSError):
        raise
    except Exception as error:  # the runtimes' exceptions share no base but Exception
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        raise failure(kind.title, error, memory=False) from None


def _report(network: Network, to: str, kind: Format, proof: Proof) -> dict[str, Any]:
    bundle, head = network.bundle, network.head
    versions = {name: str(sys.modules[name].__version__) for name in kind.modules}
    return {
        "format": 1,
        "to": to,
        "precision": network.precision,
        "source": {"ref": bundle.ref, "digest": bundle.digest, **_terms(bundle)},
        "head": {"name": head.name, **asdict(head.spec)} if head else None,
        "embedding": None if head else {"pooling": network.pooling, "normalize": network.normalize},
        "inputs": list(network.inputs),
        "output": network.output,
        "versions": {"tonewise": tonewise.__version__, **versions},
        "proof": asdict(proof),
    }


def _terms(bundle: Bundle) -> dict[str, str | None]:
    return {"licence": bundle.manifest.licence, "data_terms": bundle.manifest.data_terms}


def _summary(network: Network, kind: Format, proof: Proof) -> str:
    told = f"it came within {proof.greatest_difference:.1g} of the same network in float64"
    if network.ranges:
        told = (
            f"{proof.close_rows} of {proof.rows} rows were those of the same network in float64, rounded "
            f"alike, and the others came within {proof.greatest_difference:.1g}"
        )
    return (
        f"For {kind.title}, in {network.precision}, written by Tonewise {tonewise.__version__} from the "
        f"model {network.bundle.digest}.\n"
        f"Read again and run on {proof.batches} batches of random tokens, {told}."
    )
