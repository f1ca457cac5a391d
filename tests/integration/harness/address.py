"""Addresses as weir writes them ("127.0.0.1:9001", "[::1]:9001", "unix:/path"): free ones, sockets to and for them."""
import errno
import os
import socket
import time

from . import wait

_given = {}  # port: what keeps other runs from it


def _take(port):
    """No other run of the tests has it."""
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind("\0weir-test-port-%d" % port)
    except OSError:
        lock.close()
        return False
    _given[port] = lock
    return True


def free_port(family=socket.AF_INET):
    """A port that nobody listens on and that this process did not hand out before. The ports lie below the range that
    the kernel draws from for outgoing connections, and each process of the runner has a slice of its own."""
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    slice_ = int(os.environ.get("WEIR_TEST_SLICE", "0"))
    base = 12000 + slice_ * 2500
    for port in range(base, base + 2500):
        if port in _given or not _take(port):
            continue
        with socket.socket(family) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def tcp():
    return "127.0.0.1:%d" % free_port()


def tcp6():
    return "[::1]:%d" % free_port(socket.AF_INET6)


def split(text):
    """(family, what connect() and bind() take)"""
    if text.startswith("unix:"):
        return socket.AF_UNIX, text[5:]
    host, _, port = text.rpartition(":")
    if host.startswith("["):
        return socket.AF_INET6, (host[1:-1], int(port))
    return socket.AF_INET, (host, int(port))


def connect(text, timeout=wait.BOUND):
    family, where = split(text)
    s = socket.socket(family)
    s.settimeout(timeout)
    end = time.monotonic() + timeout
    try:
        while True:
            try:
                s.connect(where)
                break
            except BlockingIOError:  # a Unix socket's backlog is full
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
    except BaseException:
        s.close()
        raise
    if family != socket.AF_UNIX:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def listen(text, backlog=128):
    family, where = split(text)
    s = socket.socket(family)
    try:
        if family != socket.AF_UNIX:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(where)
        if family == socket.AF_UNIX:
            os.chmod(where, 0o666)
        s.listen(backlog)
    except BaseException:
        s.close()
        raise
    return s


def accepts(text):
    """Whether somebody accepts connections there."""
    try:
        connect(text, 2).close()
        return True
    except OSError as error:
        # EACCES: bound, and its mode is not set yet.
        if error.errno in (errno.ECONNREFUSED, errno.ENOENT, errno.EAGAIN, errno.EACCES, None):
            return False
        raise


def refuses(text):
    """Whether nobody listens there any more: not the same as nobody accepting, which leaves clients hanging."""
    try:
        connect(text, 2).close()
    except OSError as error:
        return error.errno in (errno.ECONNREFUSED, errno.ENOENT)
    return False


def wait_accepts(text, process=None, bound=wait.BOUND):
    def ready():
        if process is not None and process.poll() is not None:
            raise AssertionError("%s ended with %s before it listened on %s\n%s" %
                                 (process.name, process.poll(), text, process.log()))
        return accepts(text)
    wait.until(ready, lambda: "%s accepts connections\n%s" % (text, process.log() if process else ""), bound)
