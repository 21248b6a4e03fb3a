"""Takes from a process what a parser does not need, before it opens a stranger's file.

Limits hold everywhere: memory, processor time, the size of files. On Linux (5.13 or newer, x86-64
or arm64) the kernel also keeps it from sockets, other processes, other people's files, and from
writing anywhere but to one folder. It signals nobody but itself; who may start programs signals
them too, and on a kernel before 6.12 also others. Nothing of it can be undone, and no privilege is
needed. It dies with whoever started it, and cannot leave its process group, which is ended with it.
Confine before anything that starts threads: Landlock holds the calling thread, and those that it
starts later.
Imports nothing but the standard library.
Source: https://docs.kernel.org/userspace-api/landlock.html, seccomp_filter.html.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MEMORY = 12 * 2**30  # bytes of address space; TensorFlow alone reserves three
SECONDS = 600  # of processor time
FILE_BYTES = 2**32
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/sys", "/dev", "/opt")
_DIE_WITH_PARENT, _NO_NEW_PRIVS = 1, 38  # of prctl
_SET_FILTER, _ALL_THREADS = 1, 1  # of seccomp
# Landlock, the same on both machines: create_ruleset, add_rule, restrict_self
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ = 0b1101  # execute, read file, read directory
_WRITE = 0b1111111110010 & ~_READ  # write, remove, make
# Devices, sockets, pipes, links: whoever reads the folder would read another file, or wait for ever
_SPECIAL = 0b1111001000000
_SOCKET = 1 << 9  # of these: to make a socket
_KIND = 0xF  # of a socket: flags stand above it
_ABI2, _ABI3 = 1 << 13, 1 << 14  # move between folders, cut short
_SCOPE = 0b11  # of the sixth: abstract sockets and signals reach only what is confined with it
_FILE_ONLY = 0b111 | _ABI3  # what may be allowed of a file
_NEW_USER, _NEW_NETWORK, _THREAD = 0x10000000, 0x40000000, 0x10000  # of clone and unshare
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # of a network interface


class _Machine(NamedTuple):
    """The numbers of a machine: for audit, and of its system calls."""

    audit: int
    seccomp: int
    clone: int
    socket: int
    connect: int
    group: tuple[int, ...]  # setpgid, setsid
    programs: tuple[int, ...]  # execve, execveat, fork, vfork
    others: tuple[int, ...]  # ptrace, process_vm_readv, process_vm_writev: another's memory
    signals: tuple[int, ...]  # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
    limits: int  # prlimit64


_MACHINES = {
    "x86_64": _Machine(
        0xC000003E, 317, 56, 41, 42, (109, 112), (59, 322, 57, 58), (101, 310, 311),
        (62, 200, 234, 129, 297), 302,
    ),
    "aarch64": _Machine(
        0xC00000B7, 277, 220, 198, 203, (154, 157), (221, 281), (117, 270, 271),
        (129, 130, 131, 138, 240), 261,
    ),
}  # fmt: skip
_BY_HANDLE = (424, 438)  # pidfd_send_signal, pidfd_getfd
_CLONE3 = 435  # its flags lie where no filter looks; C libraries then take `clone`
_CAPABILITIES = 0x20080522  # version 3 of capget and capset: 64 bits in two halves
_FILES_OF_OTHERS = 0b110  # what root keeps: to read what it could read before
_IO_URING = 425  # it makes sockets without `socket`


def confine(
    writable: Path,
    readable: Iterable[Path],
    *,
    programs: bool = False,
    serves: bool = False,
    memory: int = MEMORY,
) -> bool:
    """Confine this process for ever; return whether the kernel does more than limits.

    Args:
        writable: the only folder that it may write to; made when it is missing.
        readable: what it may read beside that, the system and its own Python.
        programs: it may start programs, and talk to them over a loopback of its own, which is what
            a Java machine needs; where the system gives no such loopback, over the network.
        serves: it lives on until its stdin ends, and may listen at a path in its folder.
        memory: bytes of address space.
    """
    writable.mkdir(parents=True, exist_ok=True)
    _limit(resource.RLIMIT_AS, memory)
    if not serves:
        _limit(resource.RLIMIT_CPU, SECONDS)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    if platform.system() != "Linux" or platform.machine() not in _MACHINES:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    # "Parent" is the thread that started it: one that serves outlives that
    done = [serves or libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0) == 0]
    if programs:
        done.append(_loopback(libc))
    own = {sys.prefix, sys.base_prefix, *(place for place in sys.path if place)}
    places = [Path(place) for place in (*_SYSTEM, *own)] + list(readable)
    done += [_without_privileges(libc), _landlock(libc, writable, places, serves)]
    done.append(_seccomp(libc, programs, serves))
    return all(done)  # each holds without the others


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _loopback(libc: ctypes.CDLL) -> bool:
    """Leave the network for one that has nothing but a loopback."""
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_NETWORK):
        return False
    with contextlib.suppress(OSError):  # without them it has the numbers of nobody
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    try:
        with socket.socket() as any_socket:
            flags = fcntl.ioctl(any_socket, _GET_FLAGS, struct.pack("16sH14x", b"lo", 0))
            up = struct.unpack_from("H", flags, 16)[0] | _UP
            fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", up))
    except OSError:
        return False
    return True


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


def _landlock(libc: ctypes.CDLL, writable: Path, readable: Iterable[Path], serves: bool) -> bool:
    abi = libc.syscall(_CREATE, None, 0, 1)
    if abi < 1:
        return False
    handled = _READ | _WRITE | (_ABI2 if abi >= 2 else 0) | (_ABI3 if abi >= 3 else 0)
    parts = (handled, 0, _SCOPE) if abi >= 6 else (handled,)  # files, network, scope
    asked = struct.pack(f"<{len(parts)}Q", *parts)
    rules = libc.syscall(_CREATE, ctypes.create_string_buffer(asked, len(asked)), len(asked), 0)
    if rules < 0:
        return False
    allowed = [(place, _READ) for place in readable]
    special = _SPECIAL & ~_SOCKET if serves else _SPECIAL
    allowed += [(writable, handled & ~special), (Path("/dev/null"), _READ | 0b10)]
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


def _seccomp(libc: ctypes.CDLL, programs: bool, serves: bool) -> bool:
    machine = _MACHINES[platform.machine()]
    load, equal, above, some, masked, answer = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
    refuse, unknown, allow = (0x00050000 | errno.EACCES, 0x00050000 | errno.ENOSYS, 0x7FFF0000)
    first_argument = 16
    steps = [
        (load, 0, 0, 4), (equal, 1, 0, machine.audit), (answer, 0, 0, refuse),  # another machine's
        (load, 0, 0, 0), (above, 0, 1, 0x40000000), (answer, 0, 0, refuse),  # x32's
        (equal, 0, 1, _CLONE3), (answer, 0, 0, unknown),
    ]  # fmt: skip
    if serves:  # a socket to listen on, not to go anywhere: `connect` is refused
        steps += [
            (equal, 0, 1, machine.connect), (answer, 0, 0, refuse),
            (equal, 0, 7, machine.socket), (load, 0, 0, first_argument),
            (equal, 0, 4, socket.AF_UNIX), (load, 0, 0, first_argument + 8),
            (masked, 0, 0, _KIND), (equal, 0, 1, socket.SOCK_STREAM), (answer, 0, 0, allow),
            (answer, 0, 0, refuse),
        ]  # fmt: skip
    refused = [*machine.group, *machine.others, _IO_URING]
    alone = [machine.socket, *machine.programs, *_BY_HANDLE]
    for number in refused if programs else refused + alone:
        steps += [(equal, 0, 1, number), (answer, 0, 0, refuse)]
    if programs:
        steps += [
            (equal, 0, 4, machine.socket), (load, 0, 0, first_argument),
            (equal, 2, 0, socket.AF_INET), (equal, 1, 0, socket.AF_INET6), (answer, 0, 0, refuse),
        ]  # fmt: skip
    else:
        steps += [
            (equal, 0, 3, machine.clone), (load, 0, 0, first_argument),
            (some, 1, 0, _THREAD), (answer, 0, 0, refuse), (load, 0, 0, 0),
        ]  # fmt: skip
        own = os.getpid()  # what aborts signals itself; 0 of a limit is who asks, of a signal many
        for number, named in (*((one, own) for one in machine.signals), (machine.limits, 0)):
            steps += [
                (equal, 0, 5, number), (load, 0, 0, first_argument), (equal, 1, 0, named),
                (equal, 0, 1, own), (answer, 0, 0, allow), (answer, 0, 0, refuse),
            ]  # fmt: skip
    steps.append((answer, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    found: int = libc.syscall(machine.seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(program))
    return found == 0
