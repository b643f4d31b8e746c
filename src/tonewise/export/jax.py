"""JAX's StableHLO at any shape: `model.stablehlo`, its weights beside it as safetensors, called again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from tonewise.engines.compiled import parameters
from tonewise.engines.jax import JaxOps
from tonewise.export.network import Finish, Network, answer
from tonewise.export.proof import Feeds, Run

FILE, WEIGHTS = "model.stablehlo", "weights.safetensors"
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
USE = """from pathlib import Path
import jax, numpy as np
from jax import export
from safetensors.numpy import load_file
{tokens}
names = {inputs}
run = jax.jit(export.deserialize(bytearray(Path("model.stablehlo").read_bytes())).call)
{output} = run(load_file("weights.safetensors"), *(np.array([given[name]], np.int32) for name in names))
"""
_kind: Any = jax.ShapeDtypeStruct
FINISH: Finish[Any] = Finish(
    activations={"tanh": jnp.tanh, "relu": lambda x: jnp.maximum(x, 0), "none": lambda x: x},
    unit=lambda x: x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), np.float32(1e-12)),
    zeros=jnp.zeros_like,
)


def write(network: Network, folder: Path) -> None:
    """Write the program, of symbolic batch and length for every platform, and its first argument, in fp32."""

    def program(named: Mapping[str, Any], *inputs: Any) -> Any:
        return answer(network, JaxOps(network.spec, named), FINISH, inputs)[:, 0]

    named = {name: np.ascontiguousarray(array) for name, array in parameters(network.weights).items()}
    ids = _kind(jax.export.symbolic_shape("B, T"), np.int32)
    weights = {name: _kind(array.shape, np.float32) for name, array in named.items()}
    exported = jax.export.export(jax.jit(program), platforms=PLATFORMS)(weights, *[ids] * len(network.inputs))
    (folder / FILE).write_bytes(exported.serialize())
    (folder / WEIGHTS).write_bytes(save(named))


def open_again(network: Network, folder: Path) -> Run:
    """Read both files and call the program on the processor."""
    exported: Any = jax.export.deserialize(bytearray((folder / FILE).read_bytes()))
    processor = jax.devices("cpu")[0]
    program = jax.jit(exported.call)
    weights = jax.device_put(load_file(folder / WEIGHTS), processor)

    def run(feeds: Feeds) -> NDArray[np.float32]:
        with jax.default_device(processor):
            return np.array(program(weights, *(feeds[name] for name in network.inputs)))

    return run
