"""What a process gives up when it begins: leaving cores, being looked into, and gaining privileges.

A private key is in the memory of whoever serves with it, and what can be read of that memory can be read of the key.
"""

import os
import resource
import sys

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
"""prctl(2): the numbers of linux/prctl.h."""


def harden() -> tuple[str, ...]:
    """Give it up, for this process and whatever it forks; for good. To be called before there is a key.

    The kernel makes no core of such a process then, whatever core_pattern says, and nobody reads its memory, its
    environment or its files through /proc or traces it, but who has CAP_SYS_PTRACE: in a pod whose containers share
    their processes or their user that is the app beside it.

    Returns:
        What could not be given up and why, one line each; where there is no Linux, cores alone are.
    """
    # A pipe in core_pattern is handed cores whatever the limit is; other systems know the limit alone.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return ()
    given_up = {"cores and traces": (_PR_SET_DUMPABLE, 0), "new privileges": (_PR_SET_NO_NEW_PRIVS, 1)}
    return tuple(f"{what} can't be given up: {why}" for what, option in given_up.items() if (why := _prctl(*option)))


def _prctl(option: int, value: int) -> str:
    """Why the kernel would not; empty when it did."""
    try:
        import ctypes  # noqa: PLC0415 - not every Python is built with it
    except ImportError as error:
        return str(error)
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    failed: int = libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero)
    return os.strerror(ctypes.get_errno()) if failed else ""
