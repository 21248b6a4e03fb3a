"""Two-tower and DeepFM recommenders: what they compute, how they learn, and why they say it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from examples.exact.reach import DeepFm
from examples.recommend.films import FAVOURITES, Field, Ratings
from worker.exact import floats

WIDTH = 16  # of the vectors of people and films
BATCH = 1024
FORGOTTEN = 0.15  # of the fields of a row, in training: so that every field may be unknown


class TwoTower(nn.Module):
    """A vector of the person and one of each film; their product says how the two fit.

    Covington et al., doi:10.1145/2959100.2959190; Yi et al., doi:10.1145/3298689.3346996.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        super().__init__()
        *person, film = [len(field.values) for field in fields]
        self.traits = nn.ModuleList(nn.Embedding(count, WIDTH) for count in person[:-FAVOURITES])
        self.liked = nn.Embedding(film, WIDTH)  # one table: in which order makes no difference
        self.tower = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.films = nn.Embedding(film, WIDTH)
        self.bias = nn.Embedding(film, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Return scores [n, films] of people [n, 6]; film 0, the unknown one, has none."""
        person: Tensor = self.liked(ids[:, -FAVOURITES:]).sum(1)
        for at, table in enumerate(self.traits):
            person = person + table(ids[:, at])
        person = person + self.tower(person)
        return person @ self.films.weight[1:].T + self.bias.weight[1:, 0]  # type: ignore[no-any-return]

    def score(self, ids: Tensor) -> Tensor:
        """Return scores [n] of people with a film each [n, 7]."""
        return self(ids[:, :-1]).gather(1, ids[:, -1:].clamp(min=1) - 1)[:, 0]


class Ranker(DeepFm):
    """The DeepFM of examples/exact, on people and films."""

    def __init__(self, fields: Sequence[Field]) -> None:
        super().__init__([len(field.values) for field in fields], 8)

    def score(self, ids: Tensor) -> Tensor:
        """Return scores [n] of people with a film each [n, 7]."""
        return self(ids)[:, 0]  # type: ignore[no-any-return]


class WithReasons(nn.Module):
    """A recommender that also says what each field did: its scores less those without the field.

    Occlusion, as in Zeiler and Fergus (arXiv:1311.2901): anyone can ask with a field unknown.
    """

    def __init__(self, model: nn.Module, fields: int) -> None:
        super().__init__()
        self.model, self.fields = model, fields

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores [n, k] and reasons [n, fields, k] of ids [n, fields]."""
        scores = self.model(ids)
        kept = 1 - torch.eye(self.fields, dtype=ids.dtype)
        without = [self.model(ids * kept[at]) for at in range(self.fields)]
        return scores, scores.unsqueeze(1) - torch.stack(without, 1)


def train(
    make: Callable[[Sequence[Field]], TwoTower | Ranker],
    data: Ratings,
    epochs: int,
    report: Callable[[str, int, int], None],
) -> TwoTower | Ranker:
    """Return a trained model, in eval mode; the seed is fixed, and one thread computes."""
    ids, likes = torch.from_numpy(data.ids), torch.from_numpy(data.likes).float()
    with torch.random.fork_rng(), floats.one_thread():
        torch.manual_seed(0)
        model = make(data.fields)
        for weight in model.parameters():
            if weight.shape[0] > WIDTH:
                nn.init.normal_(weight, std=0.05 if weight.shape[1] > 1 else 0.0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1.0)
        for epoch in range(epochs):
            for rows in torch.randperm(len(likes)).split(BATCH):  # type: ignore[no-untyped-call]
                known = (torch.rand(len(rows), ids.shape[1]) > FORGOTTEN).long()
                known[:, -1] = 1  # the film
                loss = nn.functional.binary_cross_entropy_with_logits(
                    model.score(ids[rows] * known), likes[rows]
                )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            report("train", epoch + 1, epochs)
    return model.eval()
