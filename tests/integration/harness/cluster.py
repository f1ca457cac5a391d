"""A cluster of real nodes, each in a network namespace of its own (harness/net.py), with certificates of one authority.

What `weirctl` and the admin socket answer here:
  cluster --json  name id node state epoch coordinator majority members voters apps
  view --json     the installed view alone, which is the same on all nodes
  buckets APP --json  ranges of buckets: first count manager lost
  links --json    what each link does"""
import json
import os
import signal
import subprocess

from . import address, admin, authority, case, history, net, process, wait, weir

PORT = 7400
CLOCK = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def missing():
    """Why no cluster can be tested; empty: it can."""
    code, out, _ = admin.weirctl("-h")
    if code != 0 or not any(line.split(" ")[0] == "cluster" for line in out.splitlines()):
        return "this weirctl knows no cluster"
    return ""


class Corner:
    """A node's part of a test's scope: paths of its own."""

    def __init__(self, scope, name):
        self.scope, self.name = scope, name
        os.makedirs(scope.path(name), exist_ok=True)
        self.at_end, self.show = scope.at_end, scope.show

    def path(self, name):
        return self.scope.path(os.path.join(self.name, name))

    def fresh(self, name):
        return self.scope.fresh("%s-%s" % (self.name, name))

    def unix(self, name="s"):
        return "unix:" + self.fresh(name)


class Node(weir.Weir):
    """One node. Its options are those of the section cluster, as {"votes": "no"}; None takes one out."""

    def __init__(self, cluster, name, apps=None, **options):
        self.cluster, self.name = cluster, name
        self.host = cluster.net.host(name)
        self.scope = Corner(cluster.scope, name)
        self.where = self.scope.unix("front")
        self.addresses = [] if options.get("witness") == "yes" else [self.where]
        self.apps = cluster.apps if apps is None else apps
        self.identity = cluster.authority.issue(name)
        self.options = dict(cluster.options, **options)
        self.config, self.program, self.check = self.scope.path("weir.conf"), weir.binary(), True
        self.env = weir.environment()
        self.process, self._stopped = None, True
        self.logs = []  # one for each process there was
        self.paused = False

    # --- its file

    def text(self):
        certificate, key = self.identity
        said = {"listen": '"%s:%d"' % (self.host.address, PORT), "certificate": '"%s"' % certificate, "key": '"%s"' % key,
                "ca": '"%s"' % self.cluster.authority.ca, "crl": '"%s"' % self.cluster.authority.crl,
                "peers": self.cluster.peers()}
        said.update((k.replace("_", "-"), v) for k, v in self.options.items())
        lines = ["  %s = %s" % (k, v) for k, v in said.items() if v]
        text = weir.node(self.scope).replace('"test"', '"%s"' % self.name, 1)
        text += "".join('listen "%s" { protocol = fastcgi }\n' % a for a in self.addresses)
        if self.options.get("witness") != "yes":
            text += "".join(self.apps)
        text += 'cluster "%s" {\n%s\n}\n' % (self.cluster.name, "\n".join(lines))
        return text + "admin { open = always }\nlog { level = debug  to = stderr }\n"

    def write(self):
        with open(self.config, "w") as f:
            f.write(self.text())

    def set(self, **options):
        """Into the file, for the next start or reload."""
        self.options.update(options)
        self.write()

    def reload(self):
        """With the file as it must be now; what weirctl says of it."""
        self.write()
        return self.weirctl("reload")

    # --- its life

    def start(self):
        self.begin()
        self.wait_up()

    def begin(self):
        self.write()
        path = self.scope.fresh("weir.log")
        self.logs.append(path)
        self.process = process.Process("weir " + self.name, self.host.argv([self.program, "-c", self.config]), path,
                                       env=self.env)
        if self._stopped and len(self.logs) == 1:
            self.scope.at_end(self.stop)
        self._stopped = self.paused = False
        self.scope.show(self.process)

    def wait_up(self):
        for where in self.addresses:
            address.wait_accepts(where, self.process)
        admin.wait_open(self)

    def stop(self, number=signal.SIGTERM, code=0):
        if self.paused:
            self.resume()
        super().stop(number, code)

    def kill(self):
        """As a power cut."""
        self.process.send(signal.SIGKILL)
        self.wait_killed()

    def wait_killed(self):
        """It was sent SIGKILL, and had not ended by itself before."""
        code = self.process.wait()
        self.process.stop()
        self._stopped, self.paused = True, False
        if code != -signal.SIGKILL:
            raise AssertionError("%s ended by itself with %d:\n%s" % (self.name, code, self.process.log()[-8000:]))

    def pause(self):
        self.process.send(signal.SIGSTOP)
        self.paused = True
        wait.until(lambda: process.state(self.pid) == "T", "%s stands still" % self.name)

    def resume(self):
        self.process.send(signal.SIGCONT)
        self.paused = False

    def use_clock(self, offset):
        """From the next start on its clock is off by so much, as "+5m"; what measures time goes on as it does. Not with
        a sanitizer, which wants to be the first library."""
        if not os.path.exists(CLOCK):
            raise AssertionError("faketime is not installed: the integration tests need it")
        self.program = weir.release_binary()
        self.env = dict(self.env, LD_PRELOAD=CLOCK, FAKETIME=offset, FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_NO_CACHE="1")

    @property
    def running(self):
        return not self._stopped and not self.paused

    # --- what it says

    def weirctl(self, *words):
        return admin.weirctl("-s", admin.path_of(self), *words)

    def ask(self, *words):
        """The document that it answers; None while it cannot. Not by weirctl, which is a process for each question."""
        try:
            with admin.Client(admin.path_of(self)) as client:
                client.send(" ".join((*words, "--json")) + "\n")
                reply = client.reply()
        except OSError:
            return None
        return reply.json if reply and reply.code == "ok" else None

    def show(self):
        return self.ask("cluster")

    def view(self):
        return self.ask("view")

    def buckets(self, app):
        """[manager] by bucket; None: it has none."""
        all_ = []
        for row in self.ask("buckets", app)["buckets"]:
            if row["first"] != len(all_):
                raise AssertionError("a gap before bucket %d" % row["first"])
            all_ += [row["manager"] or None] * row["count"]
        return all_

    def wait_state(self, *states):
        def reached():
            shown = self.show()
            return shown and shown["state"] in states and shown
        return wait.until(reached, lambda: "%s is %s: %r" % (self.name, " or ".join(states), self.show()))


class Cluster:
    """Nodes by name; `start` starts those that were added. At the end of the test the logs must hold what must hold."""

    def __init__(self, scope, names=(), name="eu", apps=None, kind=None, **options):
        self.scope, self.name = scope, name
        self.net = net.Net(scope, kind)
        self.authority = authority.Authority(scope, name)
        self.apps = [weir.app("shop", ['backend "unix:%s" { }' % scope.path("nobody")])] if apps is None else apps
        # Faults are seen soon; with sanitizers and a busy machine not sooner.
        self.options = dict({"failure-timeout": "2s", "buckets": "64"}, **options)
        self.nodes = {}
        self.founders = list(names)
        # Who shall never be let in; and {node: {(epoch, coordinator)}}, what nodes said that they go by.
        self.strangers, self.seen = set(), {}
        scope.at_end(self.check)
        for n in names:
            self.add(n)

    def add(self, name, **options):
        self.nodes[name] = Node(self, name, **options)
        return self.nodes[name]

    def peers(self):
        """One list for all: of who was there at first."""
        known = [self.nodes[n].host.address for n in self.founders if n in self.nodes]
        return "{ %s }" % ", ".join('"%s:%d"' % (a, PORT) for a in known) if known else ""

    def __getitem__(self, name):
        return self.nodes[name]

    def __iter__(self):
        return iter(self.nodes.values())

    def start(self, *names):
        # All at once, but from this thread: what it starts ends with it.
        for n in names or list(self.nodes):
            self.nodes[n].begin()
        for n in names or list(self.nodes):
            self.nodes[n].wait_up()

    @property
    def running(self):
        return [n.name for n in self if n.running]

    # --- waiting

    def agree(self, members, on=None):
        """The view of all these nodes, when it is one: these are its members, and each of them knows itself in it."""
        views = {}
        for name in on or members:
            shown, view = self.nodes[name].show(), self.nodes[name].view()
            if not shown or not view or shown["state"] != "member" or shown["epoch"] != view["epoch"]:
                return None
            views[name] = view
        one = next(iter(views.values()))
        good = {m["name"] for m in one["members"]} == set(members) and one["coordinator"] in members
        if not good or any(v != one for v in views.values()):
            return None
        for name in views:
            self.seen.setdefault(name, set()).add((one["epoch"], one["coordinator"]))
        return one

    def wait_agree(self, members, on=None, bound=None):
        def shown():
            return "one view with %s on %s; they show:\n%s" % (
                list(members), list(on or members), "\n".join("%s: %r" % (n.name, n.show()) for n in self if n.running))
        return wait.until(lambda: self.agree(list(members), on), shown, bound or 2 * wait.BOUND, 0.05)

    def wait_voters(self, names):
        return wait.until(lambda: all((self.nodes[n].view() or {}).get("voters") == sorted(names) for n in self.running),
                          lambda: "voters %s: %r" % (names, [self.nodes[n].view() for n in self.running]), pause=0.05)

    def wait_fenced(self, *names):
        for n in names:
            self.nodes[n].wait_state("fenced", "seeking")

    def coordinator(self, on):
        return self.nodes[self.nodes[on].view()["coordinator"]]

    def others(self, *names):
        return [n.name for n in self if n.name not in names and n.running]

    def mend(self):
        """As it is when all is well: every node there, heard, a member and, as far as there are votes, a voter."""
        self.net.mend()
        for node in self:
            if node.paused:
                node.resume()
            elif not node.running:
                node.start()
        self.wait_agree(self.nodes)
        self.wait_voters(self.nodes)

    # --- at the end

    def logs(self):
        found = {}
        for n in self:
            for i, path in enumerate(n.logs):
                with open(path, encoding="utf-8", errors="replace") as f:
                    found["%s %d" % (n.name, i)] = f.read()
        return found

    def begin_anew(self):
        """What it was until now has been what it must be; from now on it is another cluster, whose numbers begin anew."""
        self.check()
        self.seen.clear()
        for n in self:
            n.logs.clear()

    def check(self):
        history.check(self.logs(), self.strangers, self.seen)


def openssl_client(host, to, *more, given=b""):
    """openssl s_client from a host to a node's port: what it said until the node has ended it. TLS 1.3 lets it finish
    its handshake before the node has looked at its certificate."""
    argv = host.argv(["openssl", "s_client", "-connect", "%s:%d" % (to.address, PORT), "-tls1_3", "-ign_eof", *more])
    done = subprocess.run(argv, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=wait.BOUND)
    return done.stdout.decode("utf-8", "replace")


class Case(case.Case):
    """Tests of clusters that form: skipped, visibly, where weir has none."""

    def setUp(self):
        super().setUp()
        why = missing()
        if why:
            self.skipTest(why)

    def cluster(self, *names, **options):
        return Cluster(self.scope, names, **options)

    def formed(self, *names, **options):
        """One that is there, with its first view of all."""
        c = self.cluster(*names, **options)
        c.start()
        c.wait_agree(names)
        return c


class Shared(Case):
    """One cluster for all tests of a class, with its votes. What a test did to it is mended before the next one."""

    names = ""
    options = {}

    @classmethod
    def start_shared(cls, scope):
        cls.c = None if missing() else Cluster(scope, cls.names, apps=cls.apps(scope), **cls.options)
        if cls.c:
            cls.c.start()

    @classmethod
    def apps(cls, scope):
        """Texts; None: those of Cluster."""

    def setUp(self):
        super().setUp()
        self.c.mend()
        self.addCleanup(self.c.check)

    def one(self):
        """The name of a member that does not coordinate."""
        return self.c.others(self.coordinator())[0]

    def coordinator(self):
        return self.c.coordinator(self.c.running[0]).name
