"""Starting and stopping programs: each in a process group of its own, its output in a file, nothing left behind."""
import os
import shutil
import signal
import subprocess

from . import wait

PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/lib/lighttpd"


def find(program):
    """A missing program is a failure: a test that does not run protects nobody."""
    path = shutil.which(program, path=PATH)
    if path is None:
        raise AssertionError("%s is not installed: the integration tests need it" % program)
    return path


def leashed(argv):
    """The same program, but it is told to end when the thread that started it ends: a test run that is killed leaves
    nothing behind either."""
    return [find("setpriv"), "--pdeathsig", "TERM", "--", find(argv[0]), *argv[1:]]


class Process:
    def __init__(self, name, argv, log_path, env=None, cwd=None, stdin=None):
        self.name = name
        self.log_path = log_path
        self._log = open(log_path, "ab")
        full = dict(os.environ)
        full.update(env or {})
        self._popen = subprocess.Popen(leashed(argv), stdout=self._log, stderr=self._log, cwd=cwd, env=full,
                                       stdin=subprocess.DEVNULL if stdin is None else stdin, start_new_session=True)
        self.pid = self._popen.pid

    def poll(self):
        return self._popen.poll()

    def log(self):
        try:
            with open(self.log_path, "rb") as f:
                return f.read().decode("utf-8", "replace")
        except OSError as error:
            return str(error)

    def send(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, bound=wait.BOUND):
        """The exit code; negative: the signal that killed it."""
        try:
            return self._popen.wait(bound)
        except subprocess.TimeoutExpired:
            raise wait.TimeOut("%s did not end within %.0f s\n%s" % (self.name, bound, self.log())) from None

    def stop(self, number=signal.SIGTERM, bound=10):
        """Asks it to end, then makes it; and whatever it started with it. The exit code."""
        try:
            self.send(number)
            try:
                code = self._popen.wait(bound)
            except subprocess.TimeoutExpired:
                code = None
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            return self._popen.wait() if code is None else code
        finally:
            self._log.close()


def state(pid):
    """The letter that the kernel has for it: R, S, T ...; X when it is gone."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def alive(pid):
    """Whether that process runs (a zombie does not)."""
    return state(pid) not in "ZX"


def children(pid):
    """The pids of its children that run."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as f:
                    fields = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] not in "ZX":
                found.append(int(entry))
    return sorted(found)


def status_kib(pid, field):
    """A figure of /proc/PID/status in KiB: VmRSS, VmHWM."""
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise KeyError(field)
