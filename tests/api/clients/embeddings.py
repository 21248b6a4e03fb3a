"""OpenAI's client, unchanged: arguments URL and key; writes what it found as JSON."""

import asyncio
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


def requests_of(response):
    """How many paid requests a call became."""
    return len(response.model_extra["tallystick"]["requests"])


def sentences(count, word):
    return [f"{word} {number} of many." for number in range(count)]


def rows_of(response):
    return np.array([item.embedding for item in response.data])


async def at_once(count):
    """So many calls at the same time."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, timeout=600) as many:
        asked = (
            many.embeddings.create(model=NAME, input=text) for text in sentences(count, "Call")
        )
        return await asyncio.gather(*asked)


def impatient():
    """A client that gives up and repeats, until the answer is there; it is paid once."""
    hasty = openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=0.05, max_retries=3)
    try:
        return hasty.embeddings.create(model=NAME, input="Not patient at all.")
    except openai.APITimeoutError:
        return client.embeddings.create(model=NAME, input="Not patient at all.")


default = client.embeddings.create(model=NAME, input=TEXTS)  # asks for base64 and decodes it
floats = client.embeddings.create(model=NAME, input=TEXTS, encoding_format="float")
one = client.embeddings.create(model=f"{NAME}@1", input=TEXTS[0])
tokens = client.embeddings.create(model=NAME, input=[[101, 1037, 4937, 102]])
rows = np.array([item.embedding for item in default.data])
raw = client.embeddings.with_raw_response.create(model=NAME, input=TEXTS[1])
few, many = (
    client.embeddings.create(model=NAME, input=sentences(count, "Row"), timeout=900)
    for count in (200, 2048)
)
short = client.embeddings.create(model=NAME, input=TEXTS, dimensions=64)
cut = rows[:, :64] / np.linalg.norm(rows[:, :64], axis=1, keepdims=True)
twice = client.embeddings.create(model=NAME, input=[TEXTS[0], TEXTS[1], TEXTS[0]])
calls = asyncio.run(at_once(64))
impatient()
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
            "few": [rows_of(few).shape, requests_of(few)],
            "many": [rows_of(many).shape, requests_of(many)],
            "same_in_both": bool(np.allclose(rows_of(few), rows_of(many)[:200], atol=1e-5)),
            "shortened": [rows_of(short).shape, bool(np.allclose(rows_of(short), cut, atol=1e-6))],
            "twice": bool(np.array_equal(*rows_of(twice)[[0, 2]])),
            "calls": len({item.data[0].embedding[0] for item in calls}),
            "too_long": refusal(
                lambda: client.embeddings.create(model=NAME, input=["short", "word " * 2000])
            ),
            "too_many_rows": refusal(
                lambda: client.embeddings.create(model=NAME, input=sentences(2049, "x"))
            ),
            "too_wide": refusal(
                lambda: client.embeddings.create(model=NAME, input=TEXTS, dimensions=385)
            ),
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
