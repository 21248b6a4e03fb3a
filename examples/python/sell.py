"""Publish a folder as a model, let an operator serve it, and say what it has earned.

    python -m examples.python.sell build/digits --operator alpha --wallet owner

Needs a network (`tallystick up`) and TALLYSTICK_PASSWORD_FILE. May be run again: what is done
stays done.
"""

import argparse
from pathlib import Path

import tallystick


def main() -> None:
    """Publish, authorize, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--operator", default="alpha")
    parser.add_argument("--wallet", default="owner")
    parser.add_argument("--fee", default="0.05", help="dollars for one answer")
    given = parser.parse_args()

    with tallystick.connect(wallet=given.wallet) as network:
        done = network.publish(given.folder, fee=given.fee)
        network.authorize(done.model_id, given.operator)
        verified = network.verify_model(done.model_id)
        earned = network.model(done.model_id).model.owner_earnings
        print(f"model {done.model_id} version {done.version}: {done.name}")
        print(f"history of {len(verified.versions)} version(s) fits, every byte of it")
        print(f"earned and not collected: {tallystick.dollars(earned)} dollars")


if __name__ == "__main__":
    main()
