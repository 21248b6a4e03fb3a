"""What `doctor` is told about the device, and that a parent of forks never imports torch."""

import subprocess
import sys

import pytest
import torch

from worker import device, infer_process


def test_describe__this_machine__names_it():
    described = device.describe()
    assert described.kind == ("cuda:0" if torch.cuda.is_available() else "cpu")
    assert described.memory_bytes > 2**28
    assert described.cores >= 1
    assert described.onnxruntime
    assert described.torch in str(described)


def test_processes__no_gpu_to_be_used__one_a_core_up_to_four(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert 1 <= infer_process.processes() <= 4


@pytest.mark.parametrize(("visible", "count"), [("0", 1), ("0,1,5", 3), ("GPU-8932f937,GPU-1", 2)])
def test_processes__gpus_to_be_used__one_each(monkeypatch, visible, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert infer_process.processes() == count


def test_import__main_process_of_the_worker__leaves_torch_out():
    modules = "worker.app"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
