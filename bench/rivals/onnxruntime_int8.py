"""ONNX Runtime in dynamic int8, as its docs and optimum-onnx's show: padded batches of 32."""

from pathlib import Path
from typing import Any

import numpy as np

from bench.rivals.protocol import MOST_TOKENS, Answer, Job, batches, serve

BATCH_SIZE = 32


def prepare(job: Job) -> None:
    from optimum.onnxruntime import (  # type: ignore[import-not-found]
        ORTModelForSequenceClassification,
        ORTQuantizer,
    )
    from optimum.onnxruntime.configuration import (  # type: ignore[import-not-found]
        AutoQuantizationConfig,
    )
    from transformers import AutoTokenizer

    exported = Path(job.kept) / "exported"
    model = ORTModelForSequenceClassification.from_pretrained(job.model, export=True)
    model.save_pretrained(exported)
    quantizer = ORTQuantizer.from_pretrained(exported)
    how = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)
    quantizer.quantize(save_dir=Path(job.kept), quantization_config=how)
    AutoTokenizer.from_pretrained(job.model).save_pretrained(job.kept)


def opened(job: Job) -> tuple[Answer, dict[str, Any]]:
    import onnxruntime
    from transformers import AutoConfig, AutoTokenizer

    session = onnxruntime.InferenceSession(Path(job.kept) / "model_quantized.onnx")
    wanted = {entry.name for entry in session.get_inputs()}
    tokenizer = AutoTokenizer.from_pretrained(job.kept)
    labels = AutoConfig.from_pretrained(job.model).id2label

    def answer(texts: list[str]) -> list[tuple[str, float]]:
        found = []
        for some in batches(texts, BATCH_SIZE):
            tokens = tokenizer(
                some, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="np"
            )
            feed = {name: tokens[name].astype(np.int64) for name in wanted}
            logits = session.run(None, feed)[0]
            found += best(logits, labels)
        return found

    return answer, {"batch_size": BATCH_SIZE, "quantization": "dynamic, avx512_vnni, per tensor"}


def best(logits: Any, labels: dict[int, str]) -> list[tuple[str, float]]:
    """The label with the highest softmax, and that, for each row of float32[B, L]."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = exponents / exponents.sum(axis=1, keepdims=True)
    places = scores.argmax(axis=1)
    return [(labels[int(i)], float(row[i])) for i, row in zip(places, scores, strict=True)]


if __name__ == "__main__":
    serve(opened, ("onnxruntime", "optimum-onnx", "transformers", "tokenizers"), prepare)
