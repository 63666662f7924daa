"""Run a program for which unshare(2) is not permitted, as under the default profile of a container.

``python -m tests.mounted.without_namespaces PROGRAM [ARGUMENT...]``; needs root to set the filter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_UNSHARE = {"x86_64": 272, "aarch64": 97}
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16), ("if_true", ctypes.c_uint8), ("if_false", ctypes.c_uint8),
        ("operand", ctypes.c_uint32),
    )  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def forbid_unshare() -> None:
    """Have unshare(2) answer EPERM in this process and in all that it starts."""
    instructions = (_Instruction * 4)(
        _Instruction(_LOAD_WORD, 0, 0, 0),  # the number of the system call
        _Instruction(_JUMP_IF_EQUAL, 0, 1, _UNSHARE[platform.machine()]),
        _Instruction(_RETURN, 0, 0, _FAIL | errno.EPERM),
        _Instruction(_RETURN, 0, 0, _ALLOW),
    )
    program = _Program(len(instructions), instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    forbid_unshare()
    user = os.environ.get("COPICKFS_TEST_USER")
    if user:
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
