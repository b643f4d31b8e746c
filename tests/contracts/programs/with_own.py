"""What our own client makes of two servers, one of them with keys: one JSON object."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from tonewise.client import Client, LabelScore
from tonewise.errors import TonewiseError

task = json.loads(sys.argv[1])
client = Client(task["open"])
text, texts = task["text"], task["texts"]


def elements(found: list[LabelScore]) -> list[list[Any]]:
    return [[one.label, one.score] for one in found]


def raised(ask: Callable[[], Any]) -> str:
    try:
        return f"answered {ask()}"
    except TonewiseError as error:
        return type(error).__name__


def with_key(key: str | None) -> list[list[Any]]:
    with Client(task["closed"], api_key=key) as one:
        return elements(one.text_classification(text))


found = {
    "string": elements(client.text_classification(text)),
    "named": elements(client.text_classification(text, model="tonewise/emotion")),
    "vectors": client.feature_extraction(texts, model="base").tolist(),
    "vector": client.feature_extraction(text, model="base").tolist(),
    "similarity": client.sentence_similarity(text, texts, model="base"),
    "health": client.health_check(),
    "info": client.get_endpoint_info(),
    "right key": with_key(task["key"]),
    "wrong key": raised(lambda: with_key("tw_wrong")),
    "no key": raised(lambda: with_key(None)),
    "no model": raised(lambda: client.text_classification(text, model="nobody/none")),
    "offline": os.environ.get("HF_HUB_OFFLINE"),
    "hub": "huggingface_hub" in sys.modules,
}
print(json.dumps(found))
