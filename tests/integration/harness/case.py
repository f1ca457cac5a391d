"""The base of all test classes: a directory of its own, things that are stopped at the end, logs when it failed."""
import os
import shutil
import sys
import tempfile
import threading
import time
import unittest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
HERE = os.path.join(TREE, "tests", "integration")


class Scope:
    """What was started, and how it ends: last in, first out."""

    def __init__(self):
        # Short: the path of a Unix socket has room for 107 bytes.
        self.dir = tempfile.mkdtemp(prefix="weir-", dir=os.environ.get("WEIR_TEST_TMP"))
        os.chmod(self.dir, 0o755)
        self._ends = []
        self._logs = []
        self._serial = 0

    def path(self, name):
        return os.path.join(self.dir, name)

    def fresh(self, name):
        """A path that was not handed out before."""
        self._serial += 1
        return self.path("%d-%s" % (self._serial, name))

    def write(self, name, text):
        path = self.path(name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def unix(self, name="s"):
        return "unix:" + self.fresh(name)

    def at_end(self, function, *args):
        self._ends.append((function, args))

    def show(self, process):
        """Its log is printed when the test fails."""
        self._logs.append(process)

    def logs(self):
        return "".join("--- log of %s\n%s\n" % (p.name, _tail(p.log())) for p in self._logs)

    def close(self):
        """The errors of the ends, all of which ran."""
        errors = []
        while self._ends:
            function, args = self._ends.pop()
            try:
                function(*args)
            except Exception as error:  # every other end must still run
                errors.append(error)
        return errors

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def _tail(text, limit=12000):
    return text if len(text) <= limit else "... (cut)\n" + text[-limit:]


class Case(unittest.TestCase):
    """self.scope lives as long as one test; self.shared as long as the class (for what is dear to start)."""

    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.shared = Scope()
        try:
            cls.start_shared(cls.shared)
        except BaseException:
            cls.shared.close()
            sys.stderr.write(cls.shared.logs())
            cls.shared.remove()
            raise

    @classmethod
    def tearDownClass(cls):
        errors = cls.shared.close()
        if errors:
            sys.stderr.write(cls.shared.logs())
        cls.shared.remove()
        if errors:
            raise errors[0]

    @classmethod
    def start_shared(cls, scope):
        """Starts what all tests of the class use."""

    def run(self, result=None):
        self.scope = Scope()
        before = self._problems(result)
        self._scope_errors = []
        try:
            return super().run(result)
        finally:
            if self._problems(result) != before:
                sys.stderr.write("=== %s failed\n%s%s" % (self.id(), self.scope.logs(), self.shared.logs()))
            self.scope.close()
            self.scope.remove()

    @staticmethod
    def _problems(result):
        return len(result.failures) + len(result.errors) if result is not None else 0

    def setUp(self):
        # Runs last of all clean-ups: a daemon that did not end well fails the test that used it.
        self.addCleanup(self._close_scope)

    def _close_scope(self):
        errors = self.scope.close()
        if errors:
            raise errors[0]


class Parallel:
    """Runs functions at once and hands back what they answered; an exception of one is raised in join()."""

    def __init__(self):
        self._threads = []
        self._results = []
        self._errors = []

    def start(self, function, *args, **kwargs):
        slot = len(self._results)
        self._results.append(None)

        def body():
            try:
                self._results[slot] = function(*args, **kwargs)
            except BaseException as error:
                self._errors.append(error)
        thread = threading.Thread(target=body, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def join(self, bound=120):
        end = time.monotonic() + bound
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                raise AssertionError("a parallel request is still running after %d s" % bound)
        if self._errors:
            raise self._errors[0]
        return self._results
