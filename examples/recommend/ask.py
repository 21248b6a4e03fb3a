"""Recommend films to a person: two paid answers, and a table that says why.

    python -m examples.recommend.ask --age 25–34 --gender F --occupation programmer \
        --liked "Fargo (1996)" --liked "Clerks (1994)"

`films-two-tower` finds films among all, `films-deepfm` judges each of them. Publish both first
(examples/recommend/README.md). Needs a network (`tallystick up`) and TALLYSTICK_PASSWORD_FILE.
"""

import argparse

import tallystick
from examples.recommend.films import FAVOURITES, UNKNOWN

REASONS = 3


def main() -> None:
    """Ask both models and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--finder", default="films-two-tower", help="scores all films of a person")
    parser.add_argument("--ranker", default="films-deepfm", help="scores one film of a person")
    for name in ("age", "gender", "occupation"):
        parser.add_argument(f"--{name}", default=UNKNOWN)
    parser.add_argument(
        "--liked", action="append", default=[], help="title and year; three at most"
    )
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--wallet", default="requester")
    given = parser.parse_args()
    if len(given.liked) > FAVOURITES:
        parser.error(f"{len(given.liked)} liked films: {FAVOURITES} at most")

    person = {name: getattr(given, name) for name in ("age", "gender", "occupation")}
    for at in range(FAVOURITES):
        person[f"liked film {at + 1}"] = (*given.liked, *(UNKNOWN,) * FAVOURITES)[at]
    with tallystick.connect(wallet=given.wallet) as network:
        found = network.ask(given.finder, [person])
        films = network.model(given.finder).manifest.labels or ()
        scores = dict(zip(films, found.outputs["scores"][0], strict=True))
        for film in given.liked:
            del scores[film]
        best = sorted(scores, key=lambda film: -scores[film])[: given.count]
        ranked = network.ask(given.ranker, [{**person, "film": film} for film in best])
        columns = network.model(given.ranker).manifest.features
        order = ranked.outputs["scores"][:, 0].argsort()[::-1]
        print(f"{'film':44} found  ranked  because of")
        for row in order:
            effects = zip(
                (c.name for c in columns), ranked.outputs["reasons"][row, :, 0], strict=True
            )
            main = sorted(effects, key=lambda pair: -abs(pair[1]))[:REASONS]
            because = ", ".join(f"{name} {effect:+.2f}" for name, effect in main if effect)
            score = ranked.outputs["scores"][row, 0]
            print(f"{best[row]:44.44} {scores[best[row]]:+5.2f}  {score:+6.2f}  {because}")
        paid = tallystick.dollars(found.cost + ranked.cost)
        print(f"{paid} dollars; proofs: {found.request_id}, {ranked.request_id}")


if __name__ == "__main__":
    main()
