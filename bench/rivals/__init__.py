"""The rivals: for each its program here, the packages of its environment, and how it is opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field

TORCH = "torch==2.13.0"
"""Pinned: a range would bring the CUDA build, which is several GB and idle on a processor."""


@dataclass(frozen=True)
class Rival:
    """One way to answer texts.

    program      module of this folder that serves it
    environment  that it runs in; None for ours, which is this one
    options      passed to the program
    slow         reads every fourth text: the same lengths, a quarter of the wait
    embeds       gives vectors, no labels
    """

    program: str
    environment: str | None
    options: Mapping[str, str | int] = field(default_factory=dict)
    slow: bool = False
    embeds: bool = False


ENVIRONMENTS: Mapping[str, tuple[str, ...]] = {
    "transformers": (TORCH, "transformers"),
    "onnxruntime": (TORCH, "optimum-onnx[onnxruntime]"),
    "openvino": (TORCH, "optimum-intel[openvino]", "nncf", "datasets"),
    "ctranslate2": (TORCH, "transformers", "ctranslate2"),
    "infinity": (TORCH, "infinity-emb[torch,optimum,server]==0.0.78"),
    "litserve": (TORCH, "transformers", "litserve==0.2.19"),
    "sentence-transformers": (TORCH, "sentence-transformers"),
    "setfit": (TORCH, "setfit==1.2.0"),
    "http": ("fastapi", "granian", "httptools", "litestar", "msgspec", "starlette", "uvicorn", "uvloop"),
}

UNWANTED: Mapping[str, tuple[str, ...]] = {"openvino": ("torchvision",)}
"""Taken out again: built for CUDA, it breaks every import beside a processor's torch; images need it."""

OURS = "tonewise"
OUR_VECTORS = "tonewise embed"
BASELINES = ("transformers fp32, batch 1", "transformers fp32, batch 32")

RIVALS: Mapping[str, Rival] = {
    OURS: Rival("ours", None),
    **{
        f"transformers {precision}, batch {size}": Rival(
            "transformers_pipeline", "transformers", {"dtype": dtype, "batch_size": size}, slow=True
        )
        for precision, dtype in (("fp32", "float32"), ("bf16", "bfloat16"))
        for size in (1, 32)
    },
    "onnxruntime int8": Rival("onnxruntime_int8", "onnxruntime"),
    "openvino int8": Rival("openvino_int8", "openvino"),
    "ctranslate2 int8": Rival("ctranslate2_int8", "ctranslate2"),
    "infinity torch": Rival("infinity", "infinity", {"engine": "torch"}, slow=True),
    "infinity optimum": Rival("infinity", "infinity", {"engine": "optimum"}),
    OUR_VECTORS: Rival("ours", None, {"embed": 1}, embeds=True),
    **{
        f"sentence-transformers {precision}": Rival(
            "sentence_encode", "sentence-transformers", {"dtype": dtype}, slow=True, embeds=True
        )
        for precision, dtype in (("fp32", "float32"), ("bf16", "bfloat16"))
    },
}
