"""Takes from a process what a parser does not need, before it opens a stranger's file.

Limits hold everywhere: memory, processor time, the size of files. On Linux (5.13 or newer, x86-64
or arm64) the kernel also keeps it from sockets, other programs, other people's files, and from
writing anywhere but to one folder. Nothing of it can be undone, and no privilege is needed.
Imports nothing but the standard library.
Source: https://docs.kernel.org/userspace-api/landlock.html, seccomp_filter.html.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

MEMORY = 12 * 2**30  # bytes of address space; TensorFlow alone reserves three
SECONDS = 600  # of processor time
FILE_BYTES = 2**32
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/sys", "/dev", "/opt")
_SET_SECCOMP, _NO_NEW_PRIVS, _FILTER = 22, 38, 2
# Landlock, the same on both machines: create_ruleset, add_rule, restrict_self
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ = 0b1101  # execute, read file, read directory
_WRITE = 0b1111111110010 & ~_READ  # write, remove, make
# Devices, sockets, pipes, links: whoever reads the folder would read another file, or wait for ever
_SPECIAL = 0b1111001000000
_ABI2, _ABI3 = 1 << 13, 1 << 14  # move between folders, cut short
_FILE_ONLY = 0b111 | _ABI3  # what may be allowed of a file
# By machine: its audit number, and the numbers of socket, execve, execveat, ptrace
_MACHINES = {
    "x86_64": (0xC000003E, (41, 59, 322, 101)),
    "aarch64": (0xC00000B7, (198, 221, 281, 117)),
}
_CAPABILITIES = 0x20080522  # version 3 of capget and capset: 64 bits in two halves
_FILES_OF_OTHERS = 0b110  # what root keeps: to read what it could read before
_IO_URING = 425  # it makes sockets without `socket`


def confine(writable: Path, readable: Iterable[Path]) -> bool:
    """Confine this process for ever; return whether the kernel does more than limits.

    Args:
        writable: the only folder that it may write to.
        readable: what it may read beside that, the system and its own Python.
    """
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CPU, SECONDS)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    if platform.system() != "Linux" or platform.machine() not in _MACHINES:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    own = {sys.prefix, sys.base_prefix, *(place for place in sys.path if place)}
    places = [Path(place) for place in (*_SYSTEM, *own)] + list(readable)
    done = [_without_privileges(libc), _landlock(libc, writable, places), _seccomp(libc)]
    return all(done)  # each holds without the others


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _without_privileges(libc: ctypes.CDLL) -> bool:
    """Give up root's capabilities: with them /proc shows the environment of other processes."""
    header = ctypes.create_string_buffer(struct.pack("<Ii", _CAPABILITIES, 0))
    held = ctypes.create_string_buffer(24)  # effective, permitted, inheritable of either half
    if libc.capget(header, held):
        return False
    effective, permitted = (one & _FILES_OF_OTHERS for one in struct.unpack_from("<2I", held))
    left = ctypes.create_string_buffer(struct.pack("<6I", effective, permitted, 0, 0, 0, 0))
    done: bool = libc.capset(header, left) == 0
    return done


def _landlock(libc: ctypes.CDLL, writable: Path, readable: Iterable[Path]) -> bool:
    abi = libc.syscall(_CREATE, None, 0, 1)
    if abi < 1:
        return False
    handled = _READ | _WRITE | (_ABI2 if abi >= 2 else 0) | (_ABI3 if abi >= 3 else 0)
    asked = ctypes.create_string_buffer(struct.pack("<Q", handled))
    rules = libc.syscall(_CREATE, asked, 8, 0)
    if rules < 0:
        return False
    allowed = [(place, _READ) for place in readable]
    allowed += [(writable, handled & ~_SPECIAL), (Path("/dev/null"), _READ | 0b10)]
    for place, rights in allowed:
        try:
            opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # what is not there needs no permission
        known = handled if place.is_dir() else _FILE_ONLY & handled
        rule = ctypes.create_string_buffer(struct.pack("<Qi", rights & known, opened))
        failed = libc.syscall(_ADD, rules, 1, rule, 0)
        os.close(opened)
        if failed:
            return False
    done: bool = libc.syscall(_RESTRICT, rules, 0) == 0
    os.close(rules)
    return done


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _seccomp(libc: ctypes.CDLL) -> bool:
    audit, refused = _MACHINES[platform.machine()]
    numbers = (*refused, _IO_URING)
    load, equal, above, answer = 0x20, 0x15, 0x35, 0x06
    refuse, allow = 0x00050000 | errno.EACCES, 0x7FFF0000
    steps = [
        (load, 0, 0, 4), (equal, 1, 0, audit), (answer, 0, 0, refuse),  # another machine's calls
        (load, 0, 0, 0), (above, 0, 1, 0x40000000), (answer, 0, 0, refuse),  # x32's
    ]  # fmt: skip
    for number in numbers:
        steps += [(equal, 0, 1, number), (answer, 0, 0, refuse)]
    steps.append((answer, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    done: bool = libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0
    return done
