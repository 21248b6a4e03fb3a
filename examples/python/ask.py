"""Ask a model of images about a file of them, and say what the answers are and what they cost.

    python -m examples.python.ask digits-cnn build/samples.json --wallet requester

Needs a network (`tallystick up`), a prepaid balance and TALLYSTICK_PASSWORD_FILE.
"""

import argparse
import json
from pathlib import Path

import tallystick


def main() -> None:
    """Ask about the first images and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("images", type=Path, help='JSON: {"images": [...], "labels": [...]}')
    parser.add_argument("--wallet", default="requester")
    parser.add_argument("--count", type=int, default=4)
    given = parser.parse_args()
    samples = json.loads(given.images.read_text())
    images, truth = samples["images"][: given.count], samples["labels"][: given.count]

    with tallystick.connect(wallet=given.wallet) as network:
        quote = network.quote(given.model, images)
        missing = quote.fee - quote.balance
        if missing > 0:
            network.deposit(tallystick.dollars(missing))
        answer = network.ask(given.model, images, max_fee=tallystick.dollars(quote.fee))
        for label, right in zip(answer.labels, truth, strict=True):
            print(f"read {label}, written {right}")
        print(f"{tallystick.dollars(answer.cost)} dollars to {answer.operator}")
        print(f"verdict: {answer.verify().verdict.value}")


if __name__ == "__main__":
    main()
