"""What `doctor` is told about the device, and that a parent of forks never imports torch."""

import subprocess
import sys

import torch

from worker import device, infer_process


def test_describe__this_machine__names_it():
    described = device.describe()
    assert described.kind == ("cuda" if torch.cuda.is_available() else "cpu")
    assert described.memory_bytes > 2**28
    assert described.cores >= 1
    assert described.onnxruntime
    assert described.torch in str(described)


def test_processes__any_machine__at_least_one():
    assert 1 <= infer_process.processes() <= 4


def test_import__main_process_of_the_worker__leaves_torch_out():
    modules = "worker.app"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
