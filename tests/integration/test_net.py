"""The networks that cluster tests run in: what is cut is cut, what is mended is mended, and nothing is left."""
import os
import signal
import socket
import subprocess
import sys
import time
import unittest

from harness import case, net, process, wait


class Namespaces(case.Case):
    def setUp(self):
        super().setUp()
        if net.why_not():
            self.skipTest("no network namespaces: " + net.why_not())
        self.net = net.Net(self.scope)
        self.a, self.b, self.c = (self.net.host(n) for n in "abc")

    def listener(self, host, port=7400):
        s = host.listen(port)
        self.addCleanup(s.close)
        return s

    def pair(self, source, target, listener, port=7400):
        """Both ends of a connection."""
        s = source.connect(target, port)
        self.addCleanup(s.close)
        other = listener.accept()[0]
        self.addCleanup(other.close)
        return s, other

    def comes(self, source, target):
        source.sendall(b"x")
        target.settimeout(wait.BOUND)
        self.assertEqual(target.recv(1), b"x")

    def does_not_come(self, source, target, data=b"y"):
        source.sendall(data)
        target.settimeout(0.5)
        with self.assertRaises(TimeoutError):
            target.recv(1)


class TestNamespaces(Namespaces):
    def test_each_has_an_address(self):
        self.assertEqual(len({h.address for h in self.net.hosts.values()}), 3)
        s, other = self.pair(self.a, self.b, self.listener(self.b))
        self.assertEqual(other.getpeername()[0], self.a.address)
        self.comes(s, other)
        self.comes(other, s)

    def test_who_listens_nowhere_refuses(self):
        with self.assertRaises(ConnectionRefusedError):
            self.a.connect(self.b, 7400)

    def test_cut_one_way(self):
        s, other = self.pair(self.a, self.b, self.listener(self.b))
        self.net.cut("a", "b", both=False)
        self.comes(other, s)  # its acknowledgement is lost, and nobody minds
        self.does_not_come(s, other)
        with self.assertRaises(TimeoutError):
            self.a.connect(self.b, 7400, 0.5)
        self.net.mend("b", "a")
        other.settimeout(wait.BOUND)
        self.assertEqual(other.recv(1), b"y")

    def test_cut_both_ways(self):
        listener = self.listener(self.b)
        s, other = self.pair(self.a, self.b, listener)
        third, its = self.pair(self.c, self.b, listener)
        self.net.cut("a", "b")
        self.does_not_come(s, other)
        self.does_not_come(other, s)
        self.comes(third, its)
        self.net.mend()
        s.settimeout(wait.BOUND)
        self.assertEqual(s.recv(1), b"y")

    def test_isolate(self):
        at_a, at_c = self.listener(self.a), self.listener(self.c)
        self.net.isolate(["a", "b"])
        self.pair(self.b, self.a, at_a)
        with self.assertRaises(TimeoutError):
            self.b.connect(self.c, 7400, 0.5)
        self.net.mend()
        self.pair(self.b, self.c, at_c)

    def test_mend_one_of_two(self):
        listener = self.listener(self.b)
        self.net.cut("a", "b")
        self.net.cut("c", "b")
        self.net.mend("a", "b")
        self.pair(self.a, self.b, listener)
        with self.assertRaises(TimeoutError):
            self.c.connect(self.b, 7400, 0.5)

    def test_refuse(self):
        listener = self.listener(self.b)
        s, _ = self.pair(self.a, self.b, listener)
        self.net.refuse("a", "b", 7400)
        with self.assertRaises(ConnectionRefusedError):
            self.a.connect(self.b, 7400)
        self.pair(self.c, self.b, listener)
        s.sendall(b"x")
        with self.assertRaises(ConnectionResetError):
            s.recv(1)
        self.net.mend("a", "b")
        self.pair(self.a, self.b, listener)

    def test_delay(self):
        s, other = self.pair(self.a, self.b, self.listener(self.b))
        self.net.delay("a", 200)
        began = time.monotonic()
        self.comes(s, other)
        self.assertGreater(time.monotonic() - began, 0.15)

    def test_a_program_is_started_there(self):
        p = process.Process("ip", self.a.argv(["ip", "-o", "address"]), self.scope.fresh("log"))
        p.wait()
        p.stop()
        self.assertIn(self.a.address, p.log())
        p = process.Process("sleep", self.a.argv(["sleep", "1000"]), self.scope.fresh("log"))
        wait.until(lambda: os.readlink("/proc/%d/exe" % p.pid).endswith("sleep"), "the program itself")
        self.assertEqual(p.stop(), -signal.SIGTERM)  # the program itself, not what entered

    def test_two_at_once(self):
        """The same addresses, and no connection between them."""
        other = net.Net(self.scope)
        theirs = other.host("a")
        self.assertEqual(theirs.address, self.a.address)
        self.listener(self.b)
        with self.assertRaises(OSError):
            theirs.connect(self.b, 7400, 0.5)


SCRIPT = """
import sys, time
sys.path.insert(0, %r)
from harness import case, net
n = net.Net(case.Scope())
for name in "ab":
    n.host(name)
print(*[s.pid for s in n._spaces], flush=True)
time.sleep(1000)
"""


class TestEnds(case.Case):
    """However the test run ends, its namespaces end with it."""

    def setUp(self):
        super().setUp()
        if net.why_not():
            self.skipTest("no network namespaces: " + net.why_not())

    def holders(self, number):
        child = subprocess.Popen([sys.executable, "-c", SCRIPT % case.HERE], stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, env=dict(os.environ, WEIR_TEST_TMP=self.scope.dir))
        self.addCleanup(child.stdout.close)
        pids = [int(p) for p in child.stdout.readline().split()]
        self.assertEqual(len(pids), 3)
        for pid in pids:
            self.assertTrue(process.alive(pid))
        child.send_signal(number)
        child.wait(wait.BOUND)
        return pids

    def test_killed(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with self.subTest(signal=number):
                for pid in self.holders(number):
                    wait.until(lambda: not process.alive(pid), "the end of what held a namespace")

    def test_closed(self):
        scope = case.Scope()
        n = net.Net(scope)
        n.host("a")
        pids = [s.pid for s in n._spaces]
        self.assertEqual(scope.close(), [])
        scope.remove()
        self.assertFalse([p for p in pids if process.alive(p)])


class TestLoopback(case.Case):
    def test_addresses(self):
        n, other = net.Net(self.scope, "loopback"), net.Net(self.scope, "loopback")
        a, b, c = n.host("a"), n.host("b"), other.host("c")
        self.assertEqual(len({h.address for h in (a, b, c)}), 3)
        for h in (a, b, c):
            self.assertRegex(h.address, r"^127\.")
        listener = b.listen(7400)
        self.addCleanup(listener.close)
        with a.connect(b, 7400) as s:
            self.assertEqual(s.getsockname()[0], a.address)
        self.assertEqual(a.argv(["true"]), ["true"])

    def test_cutting_is_skipped(self):
        n = net.Net(self.scope, "loopback")
        for name in "ab":
            n.host(name)
        for function, args in ((n.cut, ("a", "b")), (n.isolate, (["a"],)), (n.refuse, ("a", "b", 1)), (n.delay, ("a", 1))):
            with self.assertRaisesRegex(unittest.SkipTest, "needs network namespaces"):
                function(*args)
        n.mend()

    def test_a_block_is_nobody_elses(self):
        n = net.Net(self.scope, "loopback")
        lock = socket.socket(socket.AF_UNIX)
        self.addCleanup(lock.close)
        with self.assertRaises(OSError):
            lock.bind("\0weir-test-" + n.host("a").address.rpartition(".")[0])
