"""infinity_emb's Python engine, classifying; `optimum` finds the int8 graph that its models bring along."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.rivals import onnxruntime_int8
from bench.rivals.protocol import MOST_TOKENS, Answer, Job, serve


def prepare(job: Job) -> None:
    """Lay the quantized graph beside the weights, in a copy of the folder."""
    folder = Path(job.kept) / "model"
    shutil.copytree(job.model, folder, dirs_exist_ok=True)
    if job.options["engine"] == "optimum":
        onnxruntime_int8.prepare(job)
        shutil.copy(Path(job.kept) / "model_quantized.onnx", folder)


def opened(job: Job) -> tuple[Answer, dict[str, Any]]:
    # Opened as `.`: it hands on a graph's path where optimum 2 takes a bare name; and as what it optimized is
    # kept by the model's name, each has a cache of its own.
    os.environ["HF_HUB_CACHE"] = str(Path(job.kept) / "hub")
    os.chdir(Path(job.kept) / "model")
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs  # type: ignore[import-not-found]

    # The runner warms every rival; the engine's own texts for that are longer than `optimum` can read.
    how = {"engine": job.options["engine"], "device": "cpu", "batch_size": 32, "model_warmup": False}
    engine = AsyncEmbeddingEngine.from_args(EngineArgs(model_name_or_path=".", **how))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(engine.astart())

    cut = _cutter(Path(job.model)) if job.options["engine"] == "optimum" else lambda text: text

    def answer(texts: list[str]) -> list[tuple[str, float]]:
        found, _ = loop.run_until_complete(engine.classify(sentences=list(map(cut, texts))))
        tops = (max(scores, key=lambda one: one["score"]) for scores in found)
        return [(top["label"], top["score"]) for top in tops]

    return answer, how


def _cutter(model: Path) -> Callable[[str], str]:
    """Cuts a text to the tokens that fit: what is longer would leave the engine waiting for ever."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    room = MOST_TOKENS - 2  # the special tokens

    def cut(text: str) -> str:
        if len(text) <= room:  # a token is a character at least
            return text
        found = tokenizer.encode(text, add_special_tokens=False)
        return text if len(found.ids) <= room else text[: found.offsets[room - 1][1]]

    return cut


if __name__ == "__main__":
    serve(opened, ("infinity-emb", "optimum", "onnxruntime", "transformers", "torch"), prepare)
