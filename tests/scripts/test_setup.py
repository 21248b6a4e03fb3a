"""What the environment of a clone holds."""

import subprocess
import sys


def test_import__from_beside_a_clone_of_that_name__is_the_package(tmp_path):
    (tmp_path / "tallystick" / "docs").mkdir(parents=True)  # a clone's folder, without __init__.py
    code = "import tallystick; tallystick.connect"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={})
