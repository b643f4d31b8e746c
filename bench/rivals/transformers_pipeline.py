"""`transformers.pipeline("text-classification")` as its documentation shows it, in either precision."""

from typing import Any

from bench.rivals.protocol import Answer, Job, serve


def opened(job: Job) -> tuple[Answer, dict[str, Any]]:
    import torch
    from transformers import pipeline

    dtype, size = job.options["dtype"], job.options["batch_size"]
    classify = pipeline("text-classification", model=job.model, dtype=getattr(torch, dtype), device="cpu")

    def answer(texts: list[str]) -> list[tuple[str, float]]:
        found = classify(texts, batch_size=size, truncation=True)
        return [(one["label"], one["score"]) for one in found]

    return answer, {"dtype": dtype, "batch_size": size, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    serve(opened, ("transformers", "torch", "tokenizers"))
