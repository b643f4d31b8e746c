"""sentence-transformers' `encode`: the mean over the tokens, normalized; it sorts by length itself."""

from typing import Any

from bench.rivals.protocol import MOST_TOKENS, Answer, Job, serve


def opened(job: Job) -> tuple[Answer, dict[str, Any]]:
    import torch
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]

    dtype = job.options["dtype"]
    model = SentenceTransformer(job.model, device="cpu", model_kwargs={"dtype": getattr(torch, dtype)})
    model.max_seq_length = MOST_TOKENS

    def answer(texts: list[str]) -> Any:
        return model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)

    return answer, {"dtype": dtype, "batch_size": 32, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    serve(opened, ("sentence-transformers", "transformers", "torch"))
