"""What happens on a terminal: passwords are typed unseen."""

import os
import pty
import subprocess
import sys

TALLYSTICK = (sys.executable, "-c", "import sys; from oracle.cli import main; sys.exit(main())")


def converse(words, home, answers):
    """Run a command on a terminal of its own, answering each prompt; return (code, all it said)."""
    ours, theirs = pty.openpty()
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    process = subprocess.Popen(
        [*TALLYSTICK, *words], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**environ, "TALLYSTICK_HOME": str(home)}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said, left = "", list(answers)
    try:
        while True:
            try:
                text = os.read(ours, 4096).decode()
            except OSError:  # Linux: the other side is closed
                break
            said += text
            # the blank after the colon comes once echo is off and earlier typing was discarded
            if left and left[0][0] in said.rpartition("\n")[2] and said.endswith(": "):
                os.write(ours, (left.pop(0)[1] + "\n").encode())
        return process.wait(), said
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_wallet_new__password_mistyped__asks_again_and_never_shows_it(tmp_path):
    typed = ("correct horse", "correct house", "correct horse", "correct horse")
    prompts = ("Password", "epeat", "Password", "epeat")
    code, said = converse(["wallet", "new", "alice"], tmp_path, zip(prompts, typed, strict=True))
    assert code == 0, said
    assert "do not match" in said
    assert (tmp_path / "keys" / "alice.json").exists()
    assert "correct" not in said
