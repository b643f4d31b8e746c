"""TensorFlow's SavedModel: `serving_default` at any shape, weights as variables, loaded again."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonewise.engines import tensorflow as engine
from tonewise.engines.compiled import parameters
from tonewise.export.network import Finish, Network, answer
from tonewise.export.proof import Feeds, Run

tf = engine.tf  # type: ignore[attr-defined]  # imported there in silence
SIGNATURE = "serving_default"
USE = """import tensorflow as tf
{tokens}
run = tf.saved_model.load(".").signatures["serving_default"]
names = run.structured_input_signature[1]
{output} = run(**{{name: tf.constant([given[name]], tf.int32) for name in names}})["{output}"].numpy()
"""
FINISH: Finish[Any] = Finish(
    activations={"tanh": tf.tanh, "relu": tf.nn.relu, "none": lambda x: x},
    unit=lambda x: x / tf.maximum(tf.norm(x, axis=-1, keepdims=True), np.float32(1e-12)),
    zeros=tf.zeros_like,
)


def write(network: Network, folder: Path) -> None:
    """Write the SavedModel into the folder itself: `saved_model.pb` and `variables/`, in fp32."""
    with tf.device("CPU:0"), _quiet():
        module = tf.Module()
        module.weights = {name: tf.Variable(array) for name, array in parameters(network.weights).items()}

        def serve(**inputs: Any) -> dict[str, Any]:
            ordered = [inputs[name] for name in network.inputs]
            found = answer(network, engine.TensorFlowOps(network.spec, module.weights), FINISH, ordered)
            return {network.output: found[:, 0]}

        kinds = {name: tf.TensorSpec((None, None), tf.int32, name) for name in network.inputs}
        program = tf.function(serve, autograph=False).get_concrete_function(**kinds)
        tf.saved_model.save(module, str(folder), signatures={SIGNATURE: program})


def open_again(network: Network, folder: Path) -> Run:
    """Load the SavedModel on the processor."""
    with tf.device("CPU:0"):
        loaded = tf.saved_model.load(str(folder))
    serve = loaded.signatures[SIGNATURE]

    def run(feeds: Feeds) -> NDArray[np.float32]:
        with tf.device("CPU:0"):
            found = serve(**{name: tf.constant(array) for name, array in feeds.items()})
        result: NDArray[np.float32] = found[network.output].numpy()
        return result

    run.keeps = loaded  # type: ignore[attr-defined]  # a signature does not keep its variables
    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow logs where it has written, which is not yet where it will be."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
