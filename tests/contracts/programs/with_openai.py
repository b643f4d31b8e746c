"""What the official openai client makes of two servers, one of them with keys: one JSON object."""

import json
import sys
from collections.abc import Callable
from typing import Any

import openai

task = json.loads(sys.argv[1])
client = openai.OpenAI(base_url=f"{task['open']}/v1", api_key="any", max_retries=0)


def vectors(**options: Any) -> list[list[float]]:
    found = client.embeddings.create(model="tonewise/base", input=task["texts"], **options)
    assert [one.index for one in found.data] == list(range(len(found.data)))
    return [list(one.embedding) for one in found.data]


def raised(ask: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"answered": str(ask())}
    except openai.APIStatusError as error:
        told = {"kind": type(error).__name__, "status": error.status_code, "told": error.message}
        return {**told, "code": error.code, "type": error.type}


def with_key(key: str) -> list[str]:
    closed = openai.OpenAI(base_url=f"{task['closed']}/v1", api_key=key, max_retries=0)
    return [one.id for one in closed.models.list()]


one = client.embeddings.create(model="base", input=task["text"])
print(
    json.dumps(
        {
            "version": openai.__version__,
            "default": vectors(),
            "float": vectors(encoding_format="float"),
            "short": vectors(dimensions=8),
            "string": one.data[0].embedding,
            "usage": [one.usage.prompt_tokens, one.usage.total_tokens],
            "right key": with_key(task["key"]),
            "model": client.models.retrieve("tonewise/base").id,
            "wrong key": raised(lambda: with_key("tw_wrong")),
            "no model": raised(lambda: client.embeddings.create(model="none", input=task["text"])),
            "nothing": raised(lambda: client.embeddings.create(model="base", input=[])),
        }
    )
)
