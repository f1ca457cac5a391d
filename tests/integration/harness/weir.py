"""The gateway under test: its configuration, its process, what its log must not say."""
import os
import re
import signal
import subprocess

from . import address, case, process, wait

REPORTS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "UndefinedBehaviorSanitizer", "runtime error:",
           "MemorySanitizer")


def binary():
    path = os.environ.get("WEIR") or os.path.join(case.TREE, "build", "asan", "weir")
    if not os.access(path, os.X_OK):
        raise AssertionError("there is no gateway to test: %s (make BUILD=asan, or set WEIR)" % path)
    return path


def release_binary():
    """For memory figures: sanitizers inflate them."""
    path = os.environ.get("WEIR_RELEASE") or os.path.join(case.TREE, "build", "release", "weir")
    return path if os.access(path, os.X_OK) else binary()


def environment():
    return {
        "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:" + os.environ.get("ASAN_OPTIONS", ""),
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=98:" + os.environ.get("UBSAN_OPTIONS", ""),
        "TSAN_OPTIONS": "halt_on_error=1:exitcode=97:suppressions='%s/harness/libdb.tsan':" % case.HERE + os.environ.get("TSAN_OPTIONS", ""),
    }


def instrumented(program, symbol):
    with open(program, "rb") as f:
        return symbol in f.read()


SMALL = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=1:malloc_context_size=2"}
"""For tests that look at memory, in case there is no release build: what was freed does not linger."""


def run(args, bound=wait.BOUND, env=None):
    """weir with these arguments, to its end: (exit code, what it said)."""
    try:
        done = subprocess.run([binary(), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=bound,
                              env={**os.environ, **environment(), **(env or {})})
    except subprocess.TimeoutExpired as error:
        raise wait.TimeOut("weir %s did not end: %s" % (args, error.stdout)) from None
    text = done.stdout.decode("utf-8", "replace")
    for report in REPORTS:
        if report in text:
            raise AssertionError("a sanitizer complains:\n" + text[-8000:])
    return done.returncode, text


def node(scope, workers=1, more=""):
    """The node section. Tests run as root or as anybody; root must be told so."""
    user = '  user = "root"\n' if os.geteuid() == 0 and "user" not in more else ""
    if "drain-timeout" not in more:
        user += "  drain-timeout = 3s\n"
    run, state = scope.path("run"), scope.path("state")
    for path in (run, state):
        os.makedirs(path, exist_ok=True)
    return 'node "test" {\n  workers = %d\n  state-dir = "%s"\n  run-dir = "%s"\n%s%s\n}\n' % (
        workers, state, run, user, more)


def app(name, backends, options="", session="", match=()):
    """An app section; `session` None: no session section; the default session is managed."""
    lines = ['app "%s" {' % name]
    if match:
        lines.append("  match = { %s }" % ", ".join('"%s"' % m for m in match))
    lines += ["  " + b for b in backends]
    lines.append("  " + options)
    if session is not None:
        lines.append("  session { %s }" % session)
    return "\n".join(lines) + "\n}\n"


class Weir:
    """Starts it and waits until all its listeners accept. `stop` checks that it went in good order."""

    def __init__(self, scope, listens, apps, workers=1, node_more="", log=None, program=None, tail="",
                 start=True, check=True, env=None):
        """listens: [(address, protocol, options)]; apps: texts of app sections."""
        self.scope, self.check = scope, check
        self.addresses = [where for where, _, _ in listens]
        text = node(scope, workers, node_more)
        text += "".join('listen "%s" { protocol = %s %s }\n' % entry for entry in listens)
        text += "".join(apps) + tail
        text += "log { %s }\n" % (log or "level = debug  to = stderr")
        self.config = scope.fresh("weir.conf")
        with open(self.config, "w") as f:
            f.write(text)
        self.program = program or binary()
        self.env = dict(environment(), **(env or {}))
        self.process = None
        self._stopped = False
        if start:
            self.start()

    def start(self):
        self.process = process.Process("weir", [self.program, "-c", self.config], self.scope.fresh("weir.log"),
                                       env=self.env)
        self.scope.show(self.process)
        self.scope.at_end(self.stop)
        for where in self.addresses:
            address.wait_accepts(where, self.process)

    def stop(self, number=signal.SIGTERM, code=0):
        if self._stopped or self.process is None:
            return
        self._stopped = True
        early = self.process.poll()
        if early is None and instrumented(self.program, b"__tsan_init"):
            self._stop_tsan(number)
        got = self.process.stop(number, bound=wait.BOUND)
        text = self.process.log()
        for report in REPORTS:
            if report in text:
                raise AssertionError("a sanitizer complains:\n" + text[-8000:])
        if early is not None and self.check:
            raise AssertionError("weir ended by itself with %s:\n%s" % (early, text[-4000:]))
        if self.check and got != code:
            raise AssertionError("weir ended with %s instead of %d:\n%s" % (got, code, text[-4000:]))

    def restart(self, number=signal.SIGTERM, code=0):
        """Ends it with this signal and starts it again with the same configuration."""
        if number == signal.SIGKILL:
            self.process.send(number)
            self.process.wait()
            self.process.stop()
            self._stopped = True
        else:
            self.stop(number, code)
        self._stopped = False
        self.start()

    def _stop_tsan(self, number):
        """ThreadSanitizer keeps a signal that arrives just before a thread blocks until that thread wakes up: once in
        a thousand runs nothing happens. Then it is sent again."""
        self.process.send(number)
        try:
            self.process.wait(8)
        except wait.TimeOut:
            pass

    def wait_exit(self, bound=wait.BOUND):
        """For tests that end it themselves: the exit code, after a look for sanitizer reports."""
        self.process.wait(bound)
        self._stopped = True
        code = self.process.stop()
        text = self.process.log()
        for report in REPORTS:
            if report in text:
                raise AssertionError("a sanitizer complains:\n" + text[-8000:])
        return code

    @property
    def pid(self):
        return self.process.pid

    def rss_kib(self):
        return process.status_kib(self.pid, "VmRSS")

    def peak_kib(self):
        return process.status_kib(self.pid, "VmHWM")

    def lines(self, pattern):
        return [line for line in self.process.log().splitlines() if re.search(pattern, line)]

    def wait_line(self, pattern, count=1):
        wait.until(lambda: len(self.lines(pattern)) >= count,
                   lambda: "%d log line(s) that match %r; the log:\n%s" % (count, pattern, self.process.log()[-3000:]))
        return self.lines(pattern)
