"""What a whole process takes for one text, and what `import tonewise` adds to bare Python."""

import sys
import tempfile
from pathlib import Path

from bench.measure import TONEWISE, median_seconds, write
from bench.peer import write_float_folder

BARE_RUNTIME = """
import numpy as np, onnxruntime as ort, tokenizers
from pathlib import Path
from tonewise.store import resolve
from tonewise.engines.graph_cache import cached_graph
from tonewise.store.files import cache_folder
bundle = resolve("emotion")
raw = tokenizers.Tokenizer.from_file(str(bundle.folder / "tokenizer.json"))
session = ort.InferenceSession(cached_graph(bundle, ("first",), "int8", "onnxruntime", cache_folder()))
ids = np.array([raw.encode("I am glad").ids], np.int32)
zeros, ones = np.zeros_like(ids), np.ones_like(ids)
session.run(None, {"input_ids": ids, "attention_mask": ones, "token_type_ids": zeros})
"""


def main() -> None:
    python = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        model = write_float_folder(Path(folder) / "model")
        peer = (
            "from transformers import pipeline\n"
            f"pipeline('text-classification', model={str(model)!r})('I am glad')"
        )
        bare = median_seconds((python, "-c", "pass"), 15)
        imported = median_seconds((python, "-c", "import tonewise"), 15)
        figures = {
            "classify_one_text_seconds": round(median_seconds((*TONEWISE, "classify", "I am glad"), 15), 3),
            "bound_classify_one_text_seconds": 0.7,
            "bare_onnxruntime_seconds": round(median_seconds((python, "-c", BARE_RUNTIME), 7), 3),
            "transformers_pipeline_seconds": round(median_seconds((python, "-c", peer), 3), 3),
            "import_above_bare_python_seconds": round(imported - bare, 3),
            "bound_import_above_bare_python_seconds": 0.15,
        }
    write("startup", figures)


if __name__ == "__main__":
    main()
