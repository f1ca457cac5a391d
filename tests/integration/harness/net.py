"""Networks for nodes: each has an address of its own, and what goes from one to another can be cut, refused or delayed.

Of the kind `namespaces` each host is a network namespace, held by a process that ends with the test run, however that
ends; so nothing is left behind, and nothing has a name that two runs could both want. Where they are not permitted the
kind is `loopback`: addresses of 127.0.0.0/8, between which nothing can be cut. WEIR_TEST_NETWORK=loopback asks for it."""
import ctypes
import os
import random
import select
import socket
import subprocess
import threading
import unittest

from . import process, wait

CLONE_NEWNET = 0x40000000


def run(argv, given=None, must=True):
    """(exit code, what it said)"""
    done = subprocess.run([process.find(argv[0]), *argv[1:]], input=given, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=wait.BOUND, text=True)
    if must and done.returncode != 0:
        raise AssertionError("%s: %s" % (" ".join(argv), done.stdout))
    return done.returncode, done.stdout


class _Space:
    """A network namespace, and the process that holds it."""

    def __init__(self):
        # `cat` ends when the pipe to it is closed, which the kernel does whatever becomes of us; and it says when it
        # is there.
        self._holder = subprocess.Popen(process.leashed(["unshare", "--net", "--", "sh", "-c", "echo there; exec cat"]),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True)
        ready = select.select([self._holder.stdout], [], [], wait.BOUND)[0]
        said = self._holder.stdout.readline().decode() if ready else "nothing"
        if said != "there\n":
            self.close()
            raise OSError("a network namespace: " + said.strip())
        self.pid = self._holder.pid

    @property
    def path(self):
        return "/proc/%d/ns/net" % self.pid

    def argv(self, argv):
        """The same program, but in there; it replaces what enters, so the process is the program's."""
        return [process.find("nsenter"), "--net=" + self.path, "--", process.find(argv[0]), *argv[1:]]

    def run(self, *argv, given=None, must=True):
        return run(self.argv(list(argv)), given, must)

    def close(self):
        self._holder.stdin.close()
        try:
            self._holder.wait(wait.BOUND)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()
        self._holder.stdout.close()


_why_not = None


def why_not():
    """Why there can be no namespaces; empty: there can."""
    global _why_not
    if _why_not is None:
        _why_not = _try()
    return _why_not


def _try():
    if os.environ.get("WEIR_TEST_NETWORK") == "loopback":
        return "WEIR_TEST_NETWORK=loopback"
    try:
        space = _Space()
    except OSError as error:
        return str(error)
    try:
        for argv in (["ip", "link", "add", "bridge", "type", "bridge"],
                     ["ip", "link", "add", "one", "type", "veth", "peer", "name", "other"]):
            code, said = space.run(*argv, must=False)
            if code != 0:
                return "%s: %s" % (" ".join(argv), said.strip())
        return ""
    finally:
        space.close()


class Host:
    def __init__(self, net, name, address, space):
        self.net, self.name, self.address, self.space = net, name, address, space

    def argv(self, argv):
        """How a program is started there."""
        return self.space.argv(argv) if self.space else list(argv)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        """A socket of that host. A thread enters the namespace and makes it; the socket stays there."""
        if self.space is None:
            return self._bound(socket.socket(family, kind))
        made = []

        def body():
            with open(self.space.path) as f:
                if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET) != 0:
                    made.append(OSError(ctypes.get_errno(), "setns"))
                else:
                    made.append(socket.socket(family, kind))
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def _bound(self, s):
        # The address that others see.
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((self.address, 0))
        return s

    def connect(self, to, port, timeout=wait.BOUND):
        s = self.socket()
        try:
            s.settimeout(timeout)
            s.connect((to.address, port))
        except BaseException:
            s.close()
            raise
        return s

    def listen(self, port, backlog=64):
        s = socket.socket() if self.space is None else self.socket()
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((self.address, port))
            s.listen(backlog)
        except BaseException:
            s.close()
            raise
        return s


class Net:
    """Hosts that reach each other. Ends with the scope."""

    def __init__(self, scope, kind=None):
        self.kind = kind or ("loopback" if why_not() else "namespaces")
        self.hosts = {}
        self._dropped, self._refused = set(), set()
        self._spaces = []
        scope.at_end(self.close)
        if self.kind == "namespaces":
            self._bridge = self._space()
            self._ip(self._bridge, "link", "add", "bridge", "type", "bridge")
            self._ip(self._bridge, "link", "set", "bridge", "up")
        else:
            self._block, self._lock = _own_block()

    def _space(self):
        space = _Space()
        self._spaces.append(space)
        return space

    @staticmethod
    def _ip(space, *words):
        space.run("ip", *words)

    def host(self, name):
        if len(self.hosts) == 250:
            raise AssertionError("no address is left")
        number = len(self.hosts) + 1
        if self.kind == "namespaces":
            space, address = self._space(), "10.77.0.%d" % number
            port = "port%d" % number
            self._ip(self._bridge, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(space.pid))
            self._ip(self._bridge, "link", "set", port, "master", "bridge", "up")
            self._ip(space, "link", "set", "lo", "up")
            self._ip(space, "address", "add", address + "/24", "dev", "eth0")
            self._ip(space, "link", "set", "eth0", "up")
        else:
            space, address = None, self._block % number
        self.hosts[name] = Host(self, name, address, space)
        return self.hosts[name]

    # --- faults: hosts by name; what one set_up did undoes `mend`.

    def _needs_namespaces(self, what):
        if self.kind != "namespaces":
            raise unittest.SkipTest("%s needs network namespaces: %s" % (what, why_not() or "kind = loopback"))

    def cut(self, source, target, both=True):
        """What goes from source to target is lost, without a word; both: and back."""
        self._needs_namespaces("cutting links")
        self._dropped.add((source, target))
        if both:
            self._dropped.add((target, source))
        self._apply([source, target])

    def isolate(self, names):
        """These hear each other and nobody else, and nobody else hears them."""
        self._needs_namespaces("cutting links")
        rest = [n for n in self.hosts if n not in names]
        for one in names:
            for other in rest:
                self._dropped.update({(one, other), (other, one)})
        self._apply(list(self.hosts))

    def refuse(self, source, target, port):
        """New and old connections from source to that port of target are answered with a reset."""
        self._needs_namespaces("refusing connections")
        self._refused.add((source, target, port))
        self._apply([target])

    def mend(self, source=None, target=None):
        """All faults between these two, or all there are."""
        def hit(pair):
            return source is None or set(pair) == {source, target}
        self._dropped = {d for d in self._dropped if not hit(d)}
        self._refused = {r for r in self._refused if not hit(r[:2])}
        if self.kind == "namespaces":
            self._apply(list(self.hosts))

    def delay(self, name, ms):
        """What leaves the host takes that long; 0: as without."""
        self._needs_namespaces("a delay")
        space = self.hosts[name].space
        if ms == 0:
            space.run("tc", "qdisc", "del", "dev", "eth0", "root", must=False)
            return
        code, said = space.run("tc", "qdisc", "replace", "dev", "eth0", "root", "netem", "delay", "%dms" % ms, must=False)
        if code != 0:
            raise unittest.SkipTest("a delay needs the kernel's netem: " + said.strip())

    def _apply(self, names):
        """The whole table of each host at once: there is no moment with half of it."""
        for name in names:
            rules = ["ip saddr %s drop" % self.hosts[s].address for s, t in sorted(self._dropped) if t == name]
            rules += ["ip saddr %s tcp dport %d reject with tcp reset" % (self.hosts[s].address, port)
                      for s, t, port in sorted(self._refused) if t == name]
            text = "table ip weir { }\ndelete table ip weir\n"
            text += "table ip weir {\n chain in {\n  type filter hook input priority 0;\n"
            text += "".join("  %s\n" % r for r in rules) + " }\n}\n"
            self.hosts[name].space.run("nft", "-f", "-", given=text)

    def close(self):
        while self._spaces:
            self._spaces.pop().close()
        if self.kind == "loopback":
            self._lock.close()


def _own_block():
    """("127.a.b.%d", what keeps others from it while it is open)"""
    for _ in range(1000):
        block = "127.%d.%d" % (random.randrange(1, 255), random.randrange(0, 255))
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind("\0weir-test-" + block)
            return block + ".%d", lock
        except OSError:
            lock.close()
    raise AssertionError("no addresses are left")
