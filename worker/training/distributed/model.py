"""The job's module, its loss and its optimizer."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from oracle.errors import ConfigInvalid, InputInvalid, NotFound
from worker.errors import ModelFailed, ModelUnsupported, WeightsInvalid
from worker.runtimes import guard, safetensors_arch
from worker.runtimes.architectures import ARCHITECTURES, Architecture
from worker.training.distributed.data import Array
from worker.training.distributed.job import ModelSpec, OptimizerSpec, TrainingJob

LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": nn.functional.cross_entropy,
    "mse": nn.functional.mse_loss,
}


class _ByPlace(nn.Module):
    """An architecture that takes its inputs by place, and returns its first output."""

    def __init__(self, model: Architecture) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        names = [spec.name for spec in self.model.inputs]
        given = dict(zip(names, inputs, strict=True))
        return self.model.answer(given, {})[self.model.outputs[0].name]


def trust(spec: ModelSpec, trusted: bool) -> None:
    """Refuse code that nobody allowed.

    Raises:
        ConfigInvalid: the job names a builder, and it is not trusted.
    """
    if spec.builder and not trusted:
        raise ConfigInvalid(
            f"the job runs code: {spec.builder}", hint="say --trust-builder when you know it"
        )


def build(job: TrainingJob, base: Path) -> nn.Module:
    """Return the module with its first weights: of a file, or drawn from the seed.

    Args:
        job: what to build; its builder is called, see `trust`.
        base: folder that the job's paths begin at.

    Raises:
        NotFound: no such builder or file.
        ModelUnsupported, WeightsInvalid: an architecture, option or tensor does not fit.
        ModelFailed: the builder raised an error.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        model = _built(job.model)
    if job.model.weights:
        _load(model, base / job.model.weights)
    return model


def plain(model: nn.Module) -> nn.Module:
    """Return the module whose names a file of weights has."""
    return model.model if isinstance(model, _ByPlace) else model


def _built(spec: ModelSpec) -> nn.Module:
    if spec.architecture:
        if spec.architecture not in ARCHITECTURES:
            raise ModelUnsupported(
                f"architecture {spec.architecture:.80} is not registered",
                hint=f"known: {', '.join(sorted(ARCHITECTURES))}; or name a builder",
            )
        return _ByPlace(ARCHITECTURES[spec.architecture](spec.options))
    name, _, function = spec.builder.partition(":")
    try:
        builder = getattr(importlib.import_module(name), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise NotFound(
            f"there is no builder {spec.builder}: {error}", hint="it is written module:function"
        ) from error
    try:
        model = builder(**spec.options)
    except Exception as error:  # somebody's code
        raise ModelFailed(f"{spec.builder} failed: {error:.300}") from error
    if not isinstance(model, nn.Module):
        raise ModelFailed(f"{spec.builder} returned no torch module")
    return model


def _load(model: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise NotFound(f"there is no {path}", hint="the job's `weights` names it")
    header = guard.read_safetensors_header(path)
    inner = plain(model)
    if isinstance(inner, Architecture):
        names = safetensors_arch.match(inner, header)
    else:
        names = {name: name for name in header}
    tensors = load_file(path)
    try:
        inner.load_state_dict({ours: tensors[name] for name, ours in names.items()})
    except RuntimeError as error:
        raise WeightsInvalid(f"{path.name} does not fit the module: {error}") from error


def tensors_of(
    arrays: Mapping[str, Array], job: TrainingJob, device: str
) -> tuple[list[Tensor], Tensor]:
    """Return the module's arguments and the target of some rows, on a device."""
    given = [torch.from_numpy(arrays[name]).to(device) for name in job.inputs]
    target = torch.from_numpy(arrays[job.target])
    return given, (target.long() if job.loss == "cross_entropy" else target).to(device)


def require_fit(model: nn.Module, job: TrainingJob, arrays: Mapping[str, Array]) -> None:
    """Run the module on a few rows, so that what does not fit is said before ranks start.

    Raises:
        InputInvalid: the module or the loss does not take these rows.
    """
    was = model.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            inputs, target = tensors_of(arrays, job, "cpu")
            LOSSES[job.loss](model.eval()(*inputs), target)
    except Exception as error:  # somebody's code, and every way of shapes not to fit
        shapes = {name: list(array.shape) for name, array in arrays.items()}
        raise InputInvalid(
            f"the module or its loss does not take rows {shapes}: {str(error).strip():.300}",
            hint="check inputs, target and loss of the job",
        ) from error
    finally:
        model.train(was)


def optimizer_of(spec: OptimizerSpec, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Return torch's optimizer over these parameters."""
    if spec.name == "adamw":
        return torch.optim.AdamW(
            parameters, spec.learning_rate, weight_decay=spec.weight_decay
        )  # fmt: skip
    return torch.optim.SGD(
        parameters, spec.learning_rate, spec.momentum, weight_decay=spec.weight_decay
    )  # fmt: skip


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and lasting buffers by name, tied ones once; they share memory."""
    lasting = model.state_dict(keep_vars=True).keys()
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach() for name, tensor in named if name in lasting}
