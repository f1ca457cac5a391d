"""Processes of the bench: start, wait until they listen, read what they cost, stop. Linux only (/proc)."""

import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_S = 15
STOP_S = 10


class Failed(Exception):
    """Something that the bench needs did not work; the text says what."""


def connect(address):
    """A connection to "unix:/path" or "host:port"; OSError when it fails."""
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.connect(address[len("unix:") :])
        except OSError:
            s.close()
            raise
        return s
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def program(*names):
    """The path of the first of these programs that is installed, or None. Daemons are in sbin, which few have in PATH."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    return None


def nobody_group():
    return grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name


class Place:
    """A temporary directory and the processes that live in it; leaving it ends them and removes it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="weir-bench.")
        self.running = []
        self.root = os.geteuid() == 0
        if self.root:
            os.chmod(self.dir, 0o711)  # the daemons give up root, and must still get here

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            stop(process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def unix(self, name):
        return "unix:" + self.path(name + ".sock")

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def folder(self, name):
        """A directory that a daemon may write to after it gave up root."""
        os.makedirs(self.path(name), exist_ok=True)
        if self.root:
            shutil.chown(self.path(name), "nobody")
        return self.path(name)

    def start(self, name, argv, listens):
        """Starts a program and waits until it takes connections at `listens`."""
        if not os.path.exists(argv[0]):
            raise Failed("%s: %s is not built or not installed" % (name, os.path.basename(argv[0])))
        with open(self.path(name + ".out"), "ab") as out:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=self.dir
            )
        self.running.append(process)
        end = time.monotonic() + START_S
        while True:
            try:
                connect(listens).close()
                return process
            except OSError as error:
                if process.poll() is not None or time.monotonic() > end:
                    raise Failed("%s did not start (%s)\n%s" % (name, error, self.log_tail(name)))
            time.sleep(0.02)

    def stop(self, process, wait_s=STOP_S):
        self.running.remove(process)
        stop(process, wait_s)

    def kill(self, process):
        """As a crash does."""
        self.running.remove(process)
        process.kill()
        stop(process)

    def log_tail(self, name):
        lines = []
        for suffix in (".out", ".log"):
            if os.path.exists(self.path(name + suffix)):
                with open(self.path(name + suffix), errors="replace") as f:
                    lines += f.read().splitlines()[-10:]
        return "\n".join(lines)


def stop(process, wait_s=STOP_S):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            pass
    try:  # its process group: itself and what it left behind
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


# --- what a process costs ---


def stat_fields(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rpartition(")")[2].split()  # behind the name, which may hold blanks


def tree(pid):
    """The process and all below it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents.setdefault(int(stat_fields(int(name))[1]), []).append(int(name))
            except OSError:
                pass
    found = [pid]
    for p in found:
        found += parents.get(p, [])
    return found


def cpu_seconds(pid):
    """utime + stime of all threads of the process and of its children."""
    ticks = 0
    for p in tree(pid):
        fields = stat_fields(p)
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise Failed("/proc/%d/smaps_rollup has no Rss" % pid)


def open_files(pid):
    return len(os.listdir("/proc/%d/fd" % pid))
