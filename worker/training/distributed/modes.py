"""How ranks share a step: DDP, FSDP2, DiLoCo between groups, a pipeline.

| mode | a rank holds | draws | exchanges |
|---|---|---|---|
| ddp | all parameters | its part of the rows | gradients, each step |
| fsdp | a slice of each parameter | its part of the rows | parameters and gradients, each step |
| diloco | all parameters | its part of the rows | in its group as ddp; deltas every H steps |
| pipeline | some layers | all rows | activations and their gradients, each step |
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from oracle.errors import InputInvalid
from worker.training.distributed import digests
from worker.training.distributed.job import TrainingJob
from worker.training.distributed.model import LOSSES, optimizer_of, weights_of

Group = dist.ProcessGroup | None
Named = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class RankPlace:
    """Where a rank stands. `groups`: of DiLoCo, else 1."""

    rank: int
    ranks: int
    groups: int
    device: str


class Ddp:
    """Every rank holds all parameters; the mean of all gradients is one step."""

    def __init__(
        self, job: TrainingJob, place: RankPlace, model: nn.Module, split: int, group: Group = None
    ) -> None:
        """Wrap a module that holds its weights already; `split`: micro-batches of a step."""
        self.job, self.place, self._split = job, place, split
        self.model = model
        self.net = self._wrapped(model, group)
        self.optimizer = optimizer_of(job.optimizer, list(self.model.parameters()))
        self._loss_of = LOSSES[job.loss]

    def _wrapped(self, model: nn.Module, group: Group) -> nn.Module:
        # Weights were compared: torch would overwrite what differs, and say nothing
        return DistributedDataParallel(model, init_sync=False, process_group=group)

    @staticmethod
    def part_of(rank: int, ranks: int) -> tuple[int, int]:
        """Return which part of how many a rank draws its rows from."""
        return rank, ranks

    @property
    def optimizer_group(self) -> int:
        """Which of several optimizers this rank has."""
        return 0

    def warm_up(self, inputs: Sequence[Tensor], target: Tensor) -> None:
        """Run a batch for nothing, as DDP regroups gradients after its first one.

        Sums of three ranks and more depend on the grouping, and runs that go on must be alike.
        """
        kept = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        self._backward(inputs, target)
        self.optimizer.zero_grad()
        for name, buffer in self.model.named_buffers():
            buffer.copy_(kept[name])

    def step(self, inputs: Sequence[Tensor], target: Tensor, done: int) -> Tensor | None:
        """Do one step and return this rank's loss; `done` counts it."""
        self.optimizer.zero_grad()
        loss = self._backward(inputs, target)
        self.optimizer.step()
        return loss

    def _backward(self, inputs: Sequence[Tensor], target: Tensor) -> Tensor:
        if self._split == 1:
            loss = self._loss_of(self.net(*inputs), target)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        total = torch.zeros((), device=self.place.device)
        pieces = list(
            zip(*(t.tensor_split(self._split) for t in (*inputs, target)), strict=True)
        )  # fmt: skip
        for number, (*given, wanted) in enumerate(pieces, start=1):
            with nullcontext() if number == len(pieces) else self._alone():
                loss = self._loss_of(self.net(*given), wanted) * (len(wanted) / len(target))
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _alone(self) -> Any:
        assert isinstance(self.net, DistributedDataParallel)
        return self.net.no_sync()

    def alike(self) -> Iterator[tuple[Named, Group]]:
        """Yield tensors that all ranks of a group must hold alike."""
        yield {**self.parameters(), **self.optimizer_state()}, None

    def parameters(self) -> Named:
        """Return what is trained, by name."""
        return {f"model/{name}": p.detach() for name, p in self.model.named_parameters()}

    def optimizer_state(self) -> Named:
        """Return the optimizer's tensors by name."""
        return {
            f"optimizer/{self.optimizer_group}/{name}/{key}": value
            for name, parameter in self.model.named_parameters()
            for key, value in self.optimizer.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }

    def gather(self) -> Named:
        """Return all that a checkpoint holds, whole on rank 0. Every rank calls it."""
        held = {f"model/{name}": tensor for name, tensor in weights_of(self.model).items()}
        return {**held, **self.optimizer_state()}

    def restore(self, path: Path) -> None:
        """Take the optimizer's state out of a checkpoint; a rank reads only what it holds."""
        prefix = f"optimizer/{self.optimizer_group}/"
        parameters = dict(self.model.named_parameters())
        with safe_open(path, "pt") as file:
            names = file.keys()
            for held in names:
                name, _, key = held.removeprefix(prefix).rpartition("/")
                if held.startswith(prefix) and name in parameters:
                    parameter = parameters[name]
                    value = file.get_tensor(held)
                    on = value if key == "step" else value.to(self.place.device)
                    self.optimizer.state[parameter][key] = self._placed(on, parameter)

    def _placed(self, value: Tensor, _parameter: nn.Parameter) -> Tensor:
        return value


class Fsdp(Ddp):
    """Every rank holds a slice of each parameter, of its gradient and of its optimizer state."""

    def _wrapped(self, model: nn.Module, _group: Group) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh  # noqa: PLC0415 - 1 s
        from torch.distributed.fsdp import fully_shard  # noqa: PLC0415 - 1 s

        mesh = init_device_mesh(self.place.device.partition(":")[0], (self.place.ranks,))
        for module in list(model.modules()):
            if isinstance(module, nn.ModuleList | nn.Sequential):
                for block in module:
                    if any(True for _ in block.parameters()):
                        fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model

    def warm_up(self, inputs: Sequence[Tensor], target: Tensor) -> None:
        """Do nothing: FSDP2 groups gradients by module from the first step on."""

    def _alone(self) -> Any:
        return nullcontext()  # sums of slices take less memory than whole gradients

    def alike(self) -> Iterator[tuple[Named, Group]]:
        """Yield what is not sliced; a slice lies on one rank, and none can be held to it."""
        from torch.distributed.tensor import DTensor  # noqa: PLC0415 - 1 s

        whole = {**self.parameters(), **self.optimizer_state()}
        yield {n: tensor for n, tensor in whole.items() if not isinstance(tensor, DTensor)}, None

    def gather(self) -> Named:
        """Return all that a checkpoint holds. Every rank calls it."""
        from torch.distributed.tensor import DTensor  # noqa: PLC0415 - 1 s

        held: Named = {}
        for name, tensor in super().gather().items():
            whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            if self.place.rank == 0:
                held[name] = whole.cpu()
        return held

    def _placed(self, value: Tensor, parameter: nn.Parameter) -> Tensor:
        from torch.distributed.tensor import DTensor, distribute_tensor  # noqa: PLC0415 - 1 s

        if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
            return value
        return distribute_tensor(
            value, parameter.device_mesh, parameter.placements, src_data_rank=None
        )


class DiLoCo(Ddp):
    """Groups take H steps on their own; the mean of their deltas is one outer Nesterov step.

    Source: arXiv:2311.08105.
    """

    def __init__(self, job: TrainingJob, place: RankPlace, model: nn.Module, split: int) -> None:
        size = place.ranks // place.groups
        self._size = size
        for number in range(place.groups):
            group = dist.new_group(list(range(number * size, (number + 1) * size)))
            if place.rank // size == number:
                self._inner = group
        for number in range(size):
            group = dist.new_group(list(range(number, place.ranks, size)))
            if place.rank % size == number:
                self._across = group
        super().__init__(job, place, model, split, self._inner)
        parameters = dict(self.model.named_parameters())
        self._base = {name: p.detach().clone() for name, p in parameters.items()}
        self._momentum = {name: torch.zeros_like(p) for name, p in self._base.items()}

    @property
    def optimizer_group(self) -> int:
        """Which group this rank is of."""
        return self.place.rank // self._size

    def step(self, inputs: Sequence[Tensor], target: Tensor, done: int) -> Tensor | None:
        """Do a local step, and the outer one when it is due."""
        loss = super().step(inputs, target, done)
        if done % self.job.diloco.local_steps == 0:
            self._outer()
        return loss

    @torch.no_grad()
    def _outer(self) -> None:
        told = self.job.diloco
        for name, parameter in self.model.named_parameters():
            base, momentum = self._base[name], self._momentum[name]
            delta = base - parameter
            dist.all_reduce(delta, group=self._across)
            delta /= self.place.groups
            momentum.mul_(told.momentum).add_(delta)
            base.sub_(told.learning_rate * (delta + told.momentum * momentum))
            parameter.copy_(base)

    def alike(self) -> Iterator[tuple[Named, Group]]:
        """Yield parameters and outer momentum for all, the optimizer's state for a group."""
        outer = {f"outer/{name}": tensor for name, tensor in self._momentum.items()}
        yield {**self.parameters(), **outer}, None
        yield self.optimizer_state(), self._inner

    def gather(self) -> Named:
        """Return all that a checkpoint holds, whole on rank 0. Every rank calls it."""
        mine = self.optimizer_state() if self.place.rank % self._size == 0 else {}
        outer = {f"outer/{name}": tensor for name, tensor in self._momentum.items()}
        return {**super().gather(), **outer, **collect(mine, self.place)}

    def restore(self, path: Path) -> None:
        """Take optimizer state and outer momentum out of a checkpoint."""
        super().restore(path)
        with safe_open(path, "pt") as file:
            held = set(file.keys())
            for name, momentum in self._momentum.items():
                if f"outer/{name}" in held:
                    momentum.copy_(file.get_tensor(f"outer/{name}"))


class GPipe(Ddp):
    """Each rank holds some layers of a Sequential; micro-batches go through (GPipe)."""

    def __init__(self, job: TrainingJob, place: RankPlace, model: nn.Module, split: int) -> None:
        from torch.distributed.pipelining import (  # noqa: PLC0415 - 1 s
            PipelineStage,
            ScheduleGPipe,
        )

        stage = stages(model, place.ranks)[place.rank]
        super().__init__(job, place, stage, 1)
        self._first, self._last = place.rank == 0, place.rank == place.ranks - 1
        self._schedule = ScheduleGPipe(
            PipelineStage(stage, place.rank, place.ranks, torch.device(place.device)),
            n_microbatches=job.microbatches * split,
            loss_fn=self._loss_of,
        )

    def _wrapped(self, model: nn.Module, _group: Group) -> nn.Module:
        return model

    @staticmethod
    def part_of(rank: int, ranks: int) -> tuple[int, int]:
        """Return that every rank goes through all rows."""
        return 0, 1

    def warm_up(self, inputs: Sequence[Tensor], target: Tensor) -> None:
        """Do nothing: a pipeline adds micro-batches in one order."""

    def step(self, inputs: Sequence[Tensor], target: Tensor, done: int) -> Tensor | None:
        """Do one step; the last rank returns the loss."""
        self.optimizer.zero_grad()
        losses: list[Tensor] = []
        told: dict[str, Any] = {"target": target, "losses": losses} if self._last else {}
        self._schedule.step(*(inputs if self._first else ()), **told)
        self.optimizer.step()
        return torch.stack(losses).mean().detach() if self._last else None

    def alike(self) -> Iterator[tuple[Named, Group]]:
        """Yield nothing: a layer lies on one rank, and none can be held to it."""
        yield from ()

    def gather(self) -> Named:
        """Return all that a checkpoint holds, whole on rank 0. Every rank calls it."""
        return collect(super().gather(), self.place)


MODES: Mapping[str, type[Ddp]] = {
    "ddp": Ddp, "fsdp": Fsdp, "pipeline": GPipe, "diloco": DiLoCo,
}  # fmt: skip


def stages(model: nn.Module, count: int) -> list[nn.Sequential]:
    """Split a Sequential into stages of about as many parameters; names stay.

    Raises:
        InputInvalid: it is no Sequential, or has fewer layers than there are stages.
    """
    if not isinstance(model, nn.Sequential) or len(model) < count:
        raise InputInvalid(
            f"a pipeline of {count} ranks needs a torch.nn.Sequential of as many layers, not "
            f"{type(model).__name__}",
            hint="let the builder return a Sequential, or train with --mode fsdp",
        )
    layers = list(model.named_children())
    sizes = [1 + sum(p.numel() for p in layer.parameters()) for _, layer in layers]
    found: list[nn.Sequential] = []
    begin, left = 0, sum(sizes)
    for after in range(count - 1, -1, -1):
        end, taken = begin + 1, sizes[begin]
        while after and len(layers) - end > after and taken + sizes[end] / 2 < left / (after + 1):
            taken += sizes[end]
            end += 1
        end = end if after else len(layers)
        stage = nn.Sequential()
        for name, layer in layers[begin:end]:
            stage.add_module(name, layer)
        found.append(stage)
        begin, left = end, left - taken
    return found


def collect(own: Named, place: RankPlace) -> Named:
    """Return the tensors of all ranks on rank 0, and nothing elsewhere. Every rank calls it."""
    mine = {name: tensor.detach().cpu().contiguous() for name, tensor in own.items()}
    heads = [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in mine.items()]
    everyone: list[Any] | None = [None] * place.ranks if place.rank == 0 else None
    dist.gather_object(heads, everyone)
    if everyone is None:
        for tensor in mine.values():
            dist.send(tensor, 0)
        return {}
    for rank, told in enumerate(everyone[1:], start=1):
        for name, shape, dtype in told:
            mine[name] = torch.empty(shape, dtype=dtype)
            dist.recv(mine[name], rank)
    return mine


def digests_of(named: Named) -> dict[str, bytes]:
    """Return the digest of each tensor."""
    return {name: digests.of_tensor(tensor) for name, tensor in named.items()}
