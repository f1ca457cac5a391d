"""One thread of a process stands still, as one does whose disk does not answer, while the others go on: ptrace(2)."""
import contextlib
import ctypes
import os

from . import wait

SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, thread):
    if _libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace of thread %d" % thread)


def threads(pid):
    """{id: name}"""
    found = {}
    for thread in os.listdir("/proc/%d/task" % pid):
        with contextlib.suppress(OSError):
            with open("/proc/%d/task/%s/comm" % (pid, thread), encoding="ascii") as f:
                found[int(thread)] = f.read().strip()
    return found


@contextlib.contextmanager
def stalled(pid, name):
    """Inside of it the thread of this name does nothing. To be left by the thread that has entered it. The process may
    end meanwhile."""
    thread = wait.until(lambda: [t for t, n in threads(pid).items() if n == name], "a thread " + name)[0]
    _ptrace(SEIZE, thread)
    try:
        _ptrace(INTERRUPT, thread)
        os.waitpid(thread, WALL)
        yield
    finally:
        try:
            _ptrace(DETACH, thread)
        except ProcessLookupError:
            os.waitpid(thread, WALL)
