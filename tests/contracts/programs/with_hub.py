"""What huggingface_hub's InferenceClient makes of two servers, one of them with keys: one JSON object."""

import json
import sys
from collections.abc import Callable
from typing import Any

import huggingface_hub
from huggingface_hub import InferenceClient

task = json.loads(sys.argv[1])
client = InferenceClient(base_url=task["open"], provider="hf-inference")
text, texts = task["text"], task["texts"]


def of(model: str, pipeline: str = "") -> str:
    return f"{task['open']}/models/{model}{pipeline}"


def elements(found: Any) -> Any:
    """Labels and scores where it is a list of elements, the kind's name where it is not."""
    if not isinstance(found, list):
        return type(found).__name__
    return [[one.label, one.score] for one in found]


def raised(ask: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"answered": str(ask())}
    except Exception as error:
        response = getattr(error, "response", None)
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"kinds": kinds, "status": getattr(response, "status_code", None), "told": str(error)}


def with_key(key: str | None) -> Any:
    one = InferenceClient(base_url=task["closed"], provider="hf-inference", api_key=key)
    return elements(one.text_classification(text))


found: dict[str, Any] = {
    "version": huggingface_hub.__version__,
    "string": elements(client.text_classification(text)),
    "top_k": elements(client.text_classification(text, top_k=2)),
    "softmax": elements(client.text_classification(text, function_to_apply="softmax")),
    "list": elements(client.text_classification(texts)),
    "named": elements(client.text_classification(text, model=of("tonewise/emotion"))),
    "predict": elements(client.text_classification(text, model=f"{task['open']}/predict")),
    "vectors": client.feature_extraction(texts, model=of("tonewise/base")).tolist(),
    "vector": client.feature_extraction(text, model=of("base", "/pipeline/feature-extraction")).tolist(),
    "raw": client.feature_extraction(text, model=of("base"), normalize=False, truncate=True).tolist(),
    "similarity": client.sentence_similarity(text, texts, model=of("base")),
    "health": client.health_check(),
    "info": client.get_endpoint_info(),
    "right key": with_key(task["key"]),
    "wrong key": raised(lambda: with_key("tw_wrong")),
    "no model": raised(lambda: client.text_classification(text, model=of("nobody/none"))),
    "too long": raised(lambda: client.feature_extraction(task["long"], model=of("base"), truncate=False)),
    "no text": raised(lambda: client.sentence_similarity(text, [], model=of("base"))),
}
print(json.dumps(found))
