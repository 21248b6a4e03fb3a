"""Ask a model and pay for the answer with x402: its client as it is, no account and no API key.

```sh
pip install 'x402[evm,httpx]==2.25.0'
python examples/x402_client.py http://127.0.0.1:8551/v2/models/digits-cnn/infer \
    question.json payer.key --at-most 100000 \
    --asset eip155:31337/0x5FbDB2315678afecb367f032d93F642f64180aa3
```
The key's account needs tokens, and no currency for gas. A client pays in its default assets alone
until another token is allowed by name: `--asset` is what you checked, not what a server says.
"""

import argparse
import asyncio
import base64
import json
from pathlib import Path

from eth_account import Account
from x402 import SchemeRegistration, x402Client, x402ClientConfig
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm.exact import ExactEvmScheme
from x402.mechanisms.evm.signers import EthAccountSigner


async def main() -> None:
    """Print the answer, and what was paid."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("question", type=Path, help="body of the request, as JSON")
    parser.add_argument("key", type=Path, help="file with the payer's private key, as hex")
    parser.add_argument("--asset", required=True, help="NETWORK/TOKEN that may be paid in")
    parser.add_argument("--at-most", required=True, help="token units for one answer")
    given = parser.parse_args()

    network, _, token = given.asset.partition("/")
    payer = Account.from_key(given.key.read_text().strip())
    client = x402Client.from_config(
        x402ClientConfig(
            schemes=[
                SchemeRegistration(network=network, client=ExactEvmScheme(EthAccountSigner(payer)))
            ],
            spend_controls={
                "allowed_assets": [
                    {
                        "network": network,
                        "asset": token,
                        "max_amount_per_payment": given.at_most,
                    }
                ]
            },
        )
    )
    async with x402HttpxClient(client, timeout=120) as http:
        answer = await http.post(given.url, json=json.loads(given.question.read_text()))
    if refused := answer.headers.get("payment-required"):  # the payment was not taken: it says why
        raise SystemExit(f"not paid: {json.loads(base64.b64decode(refused)).get('error')}")
    answer.raise_for_status()
    paid = json.loads(base64.b64decode(answer.headers["payment-response"]))
    print(json.dumps({"answer": answer.json(), "paid": paid}, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
