"""OpenAI's client, unchanged: arguments URL and key; writes what it found as JSON."""

import json
import sys

import numpy as np
import openai

url, key = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
NAME = "all-MiniLM-L6-v2"
TEXTS = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose again."]


def refusal(act):
    try:
        act()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.code]
    return "nothing was refused"


default = client.embeddings.create(model=NAME, input=TEXTS)  # asks for base64 and decodes it
floats = client.embeddings.create(model=NAME, input=TEXTS, encoding_format="float")
one = client.embeddings.create(model=f"{NAME}@1", input=TEXTS[0])
tokens = client.embeddings.create(model=NAME, input=[[101, 1037, 4937, 102]])
rows = np.array([item.embedding for item in default.data])
raw = client.embeddings.with_raw_response.create(model=NAME, input=TEXTS[1])
stranger = openai.OpenAI(base_url=f"{url}/v1", api_key="tsk_forged", max_retries=0)
print(
    json.dumps(
        {
            "models": [model.id for model in client.models.list()],
            "model": client.models.retrieve(NAME).id,
            "shape": rows.shape,
            "cosines": [float(rows[0] @ rows[1]), float(rows[0] @ rows[2])],
            "same": bool(np.allclose(rows, [item.embedding for item in floats.data], atol=1e-7)),
            "one": len(one.data),
            "tokens": tokens.usage.prompt_tokens,
            "usage": default.usage.total_tokens,
            "headers": {k: v for k, v in raw.headers.items() if k.startswith("tallystick")},
            "forged": refusal(lambda: stranger.embeddings.create(model=NAME, input="x")),
            "empty": refusal(lambda: client.embeddings.create(model=NAME, input="")),
            "picture": refusal(lambda: client.embeddings.create(model="digits", input="x")),
            "unknown": refusal(lambda: client.embeddings.create(model="nobody", input="x")),
            "chat": refusal(
                lambda: client.chat.completions.create(
                    model=NAME, messages=[{"role": "user", "content": "hello"}]
                )
            ),
        }
    )
)
