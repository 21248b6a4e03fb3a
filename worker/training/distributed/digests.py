"""One digest over many tensors, and what ranks hold compared by it.

torch does not compare: DDP overwrites other ranks' parameters at the start, and never looks again.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from worker.training.distributed.errors import RanksDiffer

SIZE = 32  # bytes of a digest


def of_tensor(tensor: Tensor) -> bytes:
    """Return SHA-256 of dtype, shape and bytes."""
    digest = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}\n".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    digest.update(flat.view(torch.uint8).numpy().data)
    return digest.digest()


def of_all(digests: Mapping[str, bytes]) -> bytes:
    """Return SHA-256 over names and digests, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(digests):
        digest.update(f"{len(name.encode())} {name}".encode() + digests[name])
    return digest.digest()


def compare(own: Mapping[str, bytes], step: int, group: dist.ProcessGroup | None = None) -> None:
    """Hold what this rank has to what the other ranks of a group have.

    Args:
        own: digest of each tensor or fact by its name.
        step: that was done last, for the message.
        group: of ranks that must be alike; all by default. Each rank of it calls this.

    Raises:
        RanksDiffer: they differ; the message names the rank, and the first tensor.
    """
    root = torch.frombuffer(bytearray(of_all(own)), dtype=torch.uint8)
    ranks = dist.get_process_group_ranks(group or dist.group.WORLD)
    roots = torch.empty(len(ranks) * SIZE, dtype=torch.uint8)
    dist.all_gather_single(roots, root, group)
    if all(torch.equal(one, root) for one in roots.view(-1, SIZE)):
        return
    everyone: list[Mapping[str, bytes]] = [{} for _ in ranks]
    dist.all_gather_object(everyone, dict(own), group)
    raise RanksDiffer(
        f"step {step}: {_difference(ranks, everyone)}",
        hint="the last checkpoint is kept; look for another version, file or a failing device",
    )


def require_order(told: bytes, expected: bytes, rank: int, step: int) -> None:
    """Hold the rows that a rank drew to those that it must have drawn.

    Raises:
        RanksDiffer: they are others.
    """
    if told != expected:
        raise RanksDiffer(
            f"step {step}: rank {rank} drew other rows ({_short(told)}, not {_short(expected)})",
            hint="the last checkpoint is kept; look for other files of data or another version",
        )


def _difference(ranks: list[int], everyone: list[Mapping[str, bytes]]) -> str:
    """Name the rank that is alone with what it holds, and the first thing that differs."""
    for name in sorted(set().union(*everyone)):
        held = [one.get(name, b"") for one in everyone]
        (usual, times), *others = Counter(held).most_common()
        if not others:
            continue
        if times == others[0][1]:  # as many say this as say that
            usual = held[0]
        odd = next(place for place, one in enumerate(held) if one != usual)
        against = ranks[held.index(usual)]
        return (
            f"rank {ranks[odd]} has another {name} than rank {against} "
            f"({_short(held[odd])}, not {_short(usual)})"
        )
    raise AssertionError("called when nothing differs")


def _short(digest: bytes) -> str:
    return digest.hex()[:12] or "nothing"
