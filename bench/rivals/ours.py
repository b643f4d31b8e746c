"""Tonewise through its public API: texts in one list, in the streams that bulk work is given."""

from importlib.util import find_spec
from typing import Any

from bench.rivals.protocol import MOST_TOKENS, Answer, Job, serve
from tonewise import Classifier

PACKAGES = ("tonewise", "numpy", "tokenizers", "onnxruntime", "openvino", "torch")


def opened(job: Job) -> tuple[Answer, dict[str, Any]]:
    classifier = Classifier.load(
        job.options["ref"],
        engine=job.options["engine"],
        precision=job.options["precision"],
        streams=2,
        tune=True,
        max_length=MOST_TOKENS,
        too_long="truncate",
    )

    def classified(texts: list[str]) -> list[tuple[str, float]]:
        return [(one.label, one.score) for one in classifier.classify(texts)]

    chosen = {"engine": classifier.engine.name, "precision": classifier.engine.precision, "streams": 2}
    return classifier.embed if job.options.get("embed") else classified, chosen


if __name__ == "__main__":
    serve(opened, [name for name in PACKAGES if find_spec(name)])
