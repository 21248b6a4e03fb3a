"""An engine's process that a stranger's file has taken over: it begins well, then says anything."""

import sys

if __name__ == "__main__":
    sys.stdout.write('{"id": 0}\n')
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write("[]\n")
    sys.stdout.flush()
    sys.stdin.read()
