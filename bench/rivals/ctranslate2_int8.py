"""CTranslate2's encoder in int8, in batches of 32 over as many workers as processors; the head in numpy."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.rivals.onnxruntime_int8 import best
from bench.rivals.protocol import MOST_TOKENS, Answer, Job, batches, serve

BATCH_SIZE = 32


def prepare(job: Job) -> None:
    from ctranslate2.converters import TransformersConverter  # type: ignore[import-not-found]

    TransformersConverter(job.model).convert(str(Path(job.kept) / "model"), quantization="int8")


def opened(job: Job) -> tuple[Answer, dict[str, Any]]:
    import ctranslate2  # type: ignore[import-not-found]
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer
    from transformers import AutoConfig

    # A worker a processor: as documented, that serves many batches sooner than many threads on each.
    workers = len(os.sched_getaffinity(0))
    encoder = ctranslate2.Encoder(
        str(Path(job.kept) / "model"), compute_type="int8", inter_threads=workers, intra_threads=1
    )
    pool = ThreadPoolExecutor(workers)
    tokenizer = Tokenizer.from_file(str(Path(job.model) / "tokenizer.json"))
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.no_padding()
    config = AutoConfig.from_pretrained(job.model)
    logits = _head(load_file(Path(job.model) / "model.safetensors"), config.model_type)

    def encoded(some: list[str]) -> list[tuple[str, float]]:
        ids = [encoding.ids for encoding in tokenizer.encode_batch(some)]
        states = np.asarray(encoder.forward_batch(ids).last_hidden_state)
        return best(logits(states[:, 0]), config.id2label)

    def answer(texts: list[str]) -> list[tuple[str, float]]:
        found = pool.map(encoded, batches(texts, BATCH_SIZE))
        return [one for some in found for one in some]

    return answer, {"batch_size": BATCH_SIZE, "inter_threads": workers, "intra_threads": 1}


def _head(tensors: dict[str, Any], family: str) -> Any:
    """float32[B, H] of the first token → float32[B, L], as the family's classifier does."""
    dense = {"bert": "bert.pooler.dense", "distilbert": "pre_classifier"}[family]
    first, second = ((tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]) for name in (dense, "classifier"))

    def logits(states: Any) -> Any:
        inner = states @ first[0] + first[1]
        inner = np.tanh(inner) if family == "bert" else np.maximum(inner, 0)
        return inner @ second[0] + second[1]

    return logits


if __name__ == "__main__":
    serve(opened, ("ctranslate2", "transformers", "tokenizers"), prepare)
