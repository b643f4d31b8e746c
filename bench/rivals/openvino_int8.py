"""OpenVINO in static int8, fitted by NNCF as optimum-intel's docs show: padded batches of 32."""

from typing import Any

from bench.rivals.onnxruntime_int8 import best
from bench.rivals.protocol import MOST_TOKENS, Answer, Job, batches, read_texts, serve

BATCH_SIZE = 32
CALIBRATION_TEXTS = 300


def prepare(job: Job) -> None:
    from datasets import Dataset
    from optimum.intel import (  # type: ignore[import-not-found]
        OVConfig,
        OVModelForSequenceClassification,
        OVQuantizationConfig,
        OVQuantizer,
    )
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.model)
    texts = read_texts(job.calibration)[:CALIBRATION_TEXTS]
    tokens = [tokenizer(text, truncation=True, max_length=MOST_TOKENS) for text in texts]
    model = OVModelForSequenceClassification.from_pretrained(job.model, export=True)
    OVQuantizer.from_pretrained(model).quantize(
        calibration_dataset=Dataset.from_list([dict(one) for one in tokens]),
        save_directory=job.kept,
        ov_config=OVConfig(quantization_config=OVQuantizationConfig(num_samples=len(texts))),
    )
    tokenizer.save_pretrained(job.kept)


def opened(job: Job) -> tuple[Answer, dict[str, Any]]:
    from optimum.intel import OVModelForSequenceClassification
    from transformers import AutoTokenizer

    model = OVModelForSequenceClassification.from_pretrained(job.kept)
    tokenizer = AutoTokenizer.from_pretrained(job.kept)
    labels = model.config.id2label

    def answer(texts: list[str]) -> list[tuple[str, float]]:
        found = []
        for some in batches(texts, BATCH_SIZE):
            tokens = tokenizer(
                some, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="np"
            )
            found += best(model(**tokens).logits, labels)
        return found

    return answer, {"batch_size": BATCH_SIZE, "calibration_texts": CALIBRATION_TEXTS}


if __name__ == "__main__":
    serve(opened, ("openvino", "nncf", "optimum-intel", "transformers", "tokenizers"), prepare)
