"""SIGHUP: from one configuration to the next, without a failed request, a leak or a surprise."""
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import unittest

from harness import address, apps, cgi, fcgi, process, servers, wait, web, weir
from harness.backend import Backend, Gate
from harness.case import Case, Parallel
from harness.reload import Load, Refused, Reloading, asker
from harness.site import Front

ROOT = os.geteuid() == 0


def status(answer):
    """None when the connection was closed before the answer was complete."""
    return answer.status if answer.complete else None


class ReloadCase(Case):
    """A gateway on self.where with one app, "main", and scripted backends that say who they are."""

    def backend(self, name="b", gate=None, **kwargs):
        """Answers its name; a request for ?gate waits at self.gate first."""
        def handler(x):
            if "gate" in x.params.get("QUERY_STRING", "") and gate is not None:
                gate.wait()
            x.answer(name, headers=[("X-Backend", name)])
        return Backend(self.scope, handler, **kwargs)

    def launch(self, listens=None, apps_=None, **kwargs):
        self.where = self.scope.unix("f")
        self.first = self.backend("first")
        self.gateway = Reloading(self.scope, listens or [(self.where, "fastcgi", "")],
                                 apps_ or [self.app([self.first])], **kwargs)
        self.gateway.wait_line("event=started")
        return self.gateway

    def app(self, backends, options="", session=None, name="main", match=(), backend=""):
        texts = [b if isinstance(b, str) else b.text(backend) for b in backends]
        return weir.app(name, texts, options, session, match)

    def front(self, where=None, protocol="fastcgi"):
        return Front(where or self.where, protocol, self.gateway)

    def ask(self, query="", where=None, **kwargs):
        return self.front(where).ask(query, **kwargs)

    def who(self, **kwargs):
        answer = self.ask(**kwargs)
        self.assertEqual(status(answer), 200, answer)
        return answer.body.decode()

    def client(self, where=None):
        client = fcgi.Client(where or self.where)
        self.scope.at_end(client.close)
        return client


class TestBadFile(ReloadCase):
    """It changes nothing and says why."""

    def check_as_before(self, inode):
        self.assertEqual(self.who(), "first")
        self.assertEqual(os.stat(self.where[5:]).st_ino, inode)
        self.assertEqual(self.gateway.count("reloaded"), 0)
        self.assertEqual(self.gateway.count("generation_ended"), 0)

    def setUp(self):
        super().setUp()
        self.launch()
        self.inode = os.stat(self.where[5:]).st_ino

    def test_every_error_of_the_file(self):
        text = self.gateway.text() + 'app "b" {\n  timeout = soon\n  backend "nonsense" { }\n  colour = 1\n}\n'
        line = {word: n for n, row in enumerate(text.split("\n"), 1) for word in ("soon", "nonsense", "colour")
                if word in row}
        lines = self.gateway.refused(text, 3)
        for word, number in line.items():
            self.assertEqual(len([row for row in lines if word in row and ":%d: " % number in row]), 1, lines)
        self.assertTrue(all("level=error" in row for row in lines))
        self.check_as_before(self.inode)

    def test_no_file(self):
        os.rename(self.gateway.config, self.gateway.config + ".away")
        self.gateway.hup()
        self.gateway.wait_line("event=reload_refused.*cannot be read")
        self.check_as_before(self.inode)

    def test_what_the_machine_does_not_give(self):
        """All of it is said at once, and what could be had is given back: the good listener, the good socket."""
        taken = address.tcp()
        listener = address.listen(taken)
        self.scope.at_end(listener.close)
        good, absent = self.scope.unix("good"), self.scope.path("absent/socket")
        spawned = ['backend "spawn:%s" { }' % apps.built("echo"), self.first.text()]
        lines = self.gateway.refused(
            count=3, log='level = info  to = "%s"' % self.scope.path("absent/log"),
            listens=[(self.where, "fastcgi", ""), (good, "fastcgi", ""), (taken, "fastcgi", ""),
                     ("unix:" + absent, "fastcgi", "")],
            apps=[self.app(spawned)])
        for word in (taken, absent, "absent/log"):
            self.assertEqual(len([row for row in lines if word in row]), 1, lines)
        self.assertTrue(address.refuses(good))
        self.assertFalse(os.path.exists(good[5:]))
        self.assertEqual(os.listdir(self.scope.path("run")), ["weir.pid"])
        self.assertEqual(process.children(self.gateway.pid), [])
        self.check_as_before(self.inode)
        self.gateway.reload(listens=[(self.where, "fastcgi", ""), (good, "fastcgi", "")])
        self.assertEqual(self.who(where=good), "first")

    def test_a_spawned_socket_that_cannot_be_made(self):
        """A file of somebody else is in its place."""
        with open(self.scope.path("run/main-0.sock"), "w") as f:
            f.write("precious")
        lines = self.gateway.refused(apps=[self.app(['backend "spawn:%s" { }' % apps.built("echo")])])
        self.assertIn("main-0.sock", lines[0])
        with open(self.scope.path("run/main-0.sock")) as f:
            self.assertEqual(f.read(), "precious")
        self.check_as_before(self.inode)

    def test_after_a_bad_one_a_good_one(self):
        for _ in range(3):
            self.gateway.refused(text="node {\n")
        second = self.backend("second")
        self.gateway.reload(apps=[self.app([second])])
        self.assertEqual(self.who(), "second")
        self.assertIn("generation=2", self.gateway.lines("event=reloaded")[0])


@unittest.skipUnless(ROOT, "only root has privileges to drop")
class TestUnprivileged(ReloadCase):
    """What root could do at the start, the user cannot do at a reload."""

    def launch(self, node=""):
        for name in ("run", "state"):
            os.makedirs(self.scope.path(name), exist_ok=True)
            shutil.chown(self.scope.path(name), "nobody", "nogroup")
        gateway = super().launch(node_more='user = "nobody"\n' + node)
        os.chmod(gateway.config, 0o644)
        return gateway

    def test_a_privileged_port(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as f:
            if int(f.read()) < 1000:
                self.skipTest("every user may bind every port here")
        gateway = self.launch()
        lines = gateway.refused(listens=[(self.where, "fastcgi", ""), ("127.0.0.1:999", "fastcgi", "")])
        self.assertRegex(lines[0], "127.0.0.1:999.*root")
        self.assertEqual(self.who(), "first")

    def test_an_owner_that_is_not_permitted(self):
        gateway = self.launch()
        gateway.reload(listens=[(self.where, "fastcgi", 'owner = "daemon"')])
        gateway.wait_line("event=listener_not_changed.*reason=.*permitted")
        self.assertEqual(self.who(), "first")

    def test_a_file_that_cannot_be_read(self):
        gateway = self.launch()
        os.chmod(gateway.config, 0o600)
        gateway.hup()
        gateway.wait_line("event=reload_refused.*Permission denied")
        self.assertEqual(self.who(), "first")

    def test_the_pid_file(self):
        """In a folder of root it cannot be removed; it says nothing false then."""
        path = self.scope.path("weir.pid")
        gateway = self.launch('pid-file = "%s"' % path)
        self.assertEqual(os.stat(path).st_uid, pwd.getpwnam("nobody").pw_uid)
        gateway.stop()
        with open(path) as f:
            self.assertEqual(f.read(), "")


class TestNeedsRestart(ReloadCase):
    def workers(self):
        names = []
        for task in os.listdir("/proc/%d/task" % self.gateway.pid):
            with open("/proc/%d/task/%s/comm" % (self.gateway.pid, task)) as f:
                names.append(f.read().strip())
        return names.count("weir-worker")

    def test_reported_and_the_rest_is_done(self):
        gateway = self.launch(tail="store { disk { cache = 16M } }\n")
        second = self.backend("second")
        text = gateway.text().replace('node "test"', 'node "other"').replace("workers = 2", "workers = 3")
        text = text.replace(self.scope.path("state"), self.scope.path("elsewhere")).replace("16M", "32M")
        text = text.replace("workers = 3", "scheduling = normal\n  workers = 3\n  pid-file = \"/tmp/other.pid\"")
        text = text.replace(self.first.where, second.where)
        before = gateway.count("reloaded")
        gateway.write_text(text)
        gateway.hup()
        gateway.wait_line("event=reloaded", before + 1)
        told = [row.split("option=")[1] for row in gateway.lines("event=reload_needs_restart")]
        self.assertEqual(sorted(told), ["node", "node.pid-file", "node.scheduling", "node.state-dir", "node.workers",
                                        "store.disk.cache"])
        self.assertEqual(self.workers(), 2)
        self.assertEqual(self.who(), "second")
        self.assertFalse(os.path.exists("/tmp/other.pid"))
        self.assertFalse(os.path.exists(self.scope.path("elsewhere")))
        gateway.hup()  # what is in force is what counts, not what the file said last time
        gateway.wait_line("event=reload_needs_restart option=node.workers", 2)
        gateway.stop()
        self.assertIn("node=test", gateway.lines("event=stopped")[0])

    def test_a_disk_store_comes_and_goes(self):
        gateway = self.launch(tail="store { disk { max = 0 } }\n")
        gateway.reload(tail="store { disk { max = 100M } }\n")
        gateway.wait_line("event=reload_needs_restart option=store.disk.max")
        gateway.stop()
        gateway = self.launch(tail="store { disk { max = 100M } }\n")
        gateway.reload(tail="store { disk { max = 200M } }\n")
        self.assertEqual(gateway.lines("reload_needs_restart"), [])
        gateway.reload(tail="store { disk { max = 0 } }\n")
        gateway.wait_line("event=reload_needs_restart option=store.disk.max")

    def test_nothing_to_say(self):
        gateway = self.launch()
        for _ in range(3):
            gateway.reload()
        self.assertEqual(gateway.lines("needs_restart"), [])


class TestUnderLoad(ReloadCase):
    """Clients ask all the time, and none of them may notice anything."""

    def variants(self):
        a, b, c = (self.backend(n) for n in "abc")
        php, spare = self.scope.unix("php"), self.scope.unix("spare")
        listens = [(self.where, "fastcgi", "")]
        shop = self.app([c], name="shop", match=["path:/shop"])
        return [
            {"apps": [self.app([self.first, a])]},
            {"apps": [self.app([a, b], backend="connections = 3"), shop]},
            {"listens": listens + [(spare, "fastcgi", "")]},
            {"apps": [self.app([b], backend="connections = 2 weight = 3"), shop]},
            {"listens": [(self.where, "fastcgi", "max-params = 8k mode = 0600"), (php, "scgi", "")]},
            {"apps": [self.app([c, a, b], backend="keep-alive = no")]},
            {"listens": listens, "apps": [self.app([self.first])]},
            {"log": "level = info  to = stderr"},
            {"log": 'level = debug  to = "%s"' % self.scope.path("log")},
            {"log": None},
        ]

    def test_raw_clients(self):
        gateway = self.launch()
        load = Load(asker(self.where), 6)
        load.wait_more()
        count = 0
        for _ in range(3):
            for change in self.variants():
                gateway.write(**change)
                gateway.hup()
                load.wait_more(2)
                count += 1
        self.assertGreater(load.stop(), 2 * 6 * count)
        gateway.reload()
        gateway.wait_line(r"event=generation_ended", int(gateway.lines("event=reloaded")[-1].split("generation=")[1]
                                                        .split()[0]) - 1 - self.hidden(gateway))

    def hidden(self, gateway):
        """Generations whose end was logged elsewhere."""
        with open(self.scope.path("log")) as f:
            return f.read().count("event=generation_ended")

    def test_storm_of_signals(self):
        """More of them than can be done, and while one is done."""
        gateway = self.launch()
        load = Load(asker(self.where), 4)
        for i in range(100):
            gateway.write(apps=[self.app([self.first], backend="connections = %d" % (2 + i % 5))])
            gateway.hup()
            if i % 10 == 0:
                load.wait_more()
        load.wait_more(3)
        load.stop()
        second = self.backend("second")
        gateway.reload(apps=[self.app([second])])
        wait.until(lambda: self.who() == "second", "the last file to be in force")

    def test_the_last_file_counts(self):
        """A signal that comes while a reload is done is not forgotten."""
        gateway = self.launch()
        a, b = self.backend("a"), self.backend("b")
        for i in range(60):
            gateway.write(apps=[self.app([a], "queue = %d" % (10 + i))])
            gateway.hup()
            gateway.write(apps=[self.app([b], "queue = %d" % (10 + i))])
            gateway.hup()
            wait.until(lambda: self.who() == "b", "the last file to be in force", pause=0.002)

    def test_through_nginx(self):
        listen = address.tcp()
        gateway = self.launch([(listen, "fastcgi", "")])
        nginx = servers.Nginx(self.scope, listen, apps.APPS)
        browsers = [web.Browser(nginx.where) for _ in range(4)]
        self.addCleanup(lambda: [b.connection.close() for b in browsers])

        def ask(i):
            answer = browsers[i].ask("/", "POST" if i == 3 else "GET", b"x" * 1000 if i == 3 else None)
            if answer.status != 200:
                raise AssertionError(answer)
        load = Load(ask, 4)
        load.wait_more()
        a, b = self.backend("a"), self.backend("b")
        for i in range(30):
            gateway.reload(apps=[self.app([[a], [b], [a, b], [self.first]][i % 4], backend="connections = 4")],
                           listens=[(listen, "fastcgi", "idle-timeout = %ds" % (i % 3 * 100))])
            load.wait_more()
        load.stop()

    def test_a_spawned_application_that_changes(self):
        """Old and new processes, under load: php-fpm's kind of application, one connection a process."""
        def text(processes):
            return self.app(['backend "spawn:%s" { processes = %d }' % (apps.built("echo"), processes)],
                            "queue-wait = 20s")
        gateway = self.launch(apps_=[text(2)])
        load = Load(asker(self.where), 5)
        load.wait_more()
        for i in range(20):
            gateway.reload(apps=[text(1 + i % 3)])
            load.wait_more()
        load.stop()
        wait.until(lambda: len(process.children(gateway.pid)) == 1 + 19 % 3, "the processes of the last file only")
        wait.until(lambda: len([n for n in os.listdir(self.scope.path("run")) if n.endswith(".sock")]) == 1,
                   "one socket only")

    def test_php_fpm_keeps_its_processes_busy(self):
        """An idle connection of an old generation would pin a process; as many would be missing."""
        fpm = apps.PhpFpm(self.scope, processes=2)
        gateway = self.launch(apps_=[self.app([fpm], "timeout = 10s")])
        params = cgi.params("/app.php", SCRIPT_FILENAME=os.path.join(apps.APPS, "app.php"))
        load = Load(asker(self.where, params), 4)
        for _ in range(15):
            load.wait_more()
            gateway.reload()
        load.wait_more(3)
        load.stop()


class TestGenerations(ReloadCase):
    """Requests end in the one in which they began."""

    def launch_gated(self, **kwargs):
        self.gate = Gate()
        self.scope.at_end(self.gate.open)
        self.where = self.scope.unix("f")
        self.old, self.new = self.backend("old", self.gate), self.backend("new", self.gate)
        self.gateway = Reloading(self.scope, [(self.where, "fastcgi", "")], [self.app([self.old])], **kwargs)
        return self.gateway

    def start(self, query="gate"):
        client = self.client()
        client.start(cgi.params(query=query))
        return client

    def test_a_long_one(self):
        gateway = self.launch_gated()
        long = self.start()
        self.old.wait_requests(1)
        gateway.reload(apps=[self.app([self.new])])
        self.assertEqual(self.who(), "new")
        self.assertEqual(gateway.count("generation_ended"), 0)
        self.gate.open()
        self.assertEqual(long.response().body, b"old")
        gateway.wait_ended(1)
        self.old.wait_open(0)
        self.assertEqual(long.ask(cgi.params()).body, b"new")  # the connection went over

    def test_body_and_answer_go_on(self):
        """Half of the body before the reload, half after; the application has left the file."""
        gateway = self.launch_gated()
        stream = Backend(self.scope, lambda x: x.answer(b"".join(x.body_pieces())), stream=True)
        gateway.reload(apps=[self.app([stream])])
        client = self.client()
        params = cgi.params(method="POST", body_length=200000)
        whole = fcgi.request(params, os.urandom(200000))
        client.send(whole[:100000])
        stream.wait_requests(1)
        gateway.reload(apps=[self.app([self.new])])
        client.send(whole[100000:])
        self.assertEqual(len(client.response().body), 200000)
        gateway.wait_ended(2)

    def test_waiting_for_a_lock(self):
        """Of one session, one before and one after the reload: the lock knows no generations."""
        self.launch_gated()
        gate = Gate()

        def handler(x):
            n = int(x.params.get("SESSION_DATA") or 0)
            if "gate" in x.params["QUERY_STRING"]:
                gate.wait()
            x.answer(str(n + 1), headers=[("Weir-Session-Data", str(n + 1))])
        backend = Backend(self.scope, handler)
        app = self.app([backend], session="")
        self.gateway.reload(apps=[app])
        jar = cgi.Jar()
        self.assertEqual(self.ask(jar=jar).body, b"1")
        parallel = Parallel()
        parallel.start(self.ask, "gate", jar=jar)
        backend.wait_requests(2)
        self.gateway.reload(apps=[app, self.app([self.new], name="more", match=["path:/more"])])
        parallel.start(self.ask, "", jar=jar)
        gate.open()
        self.assertEqual(sorted(a.body for a in parallel.join()), [b"2", b"3"])
        self.assertEqual(self.ask(jar=jar).body, b"4")

    def test_kept_connections_are_closed_at_the_switch(self):
        """Not only when the last request of the old generation is done."""
        gateway = self.launch_gated(workers=1)
        long = self.start()
        self.old.wait_requests(1)
        self.who()
        self.old.wait_open(2)
        gateway.reload(apps=[self.app([self.new])])
        self.old.wait_open(1)
        self.who()
        gateway.reload()
        self.new.wait_open(0)  # also where the backend stays
        self.who()
        self.assertEqual(len(self.new.connections), 2)
        self.gate.open()
        self.assertEqual(long.response().body, b"old")

    def test_the_bound_of_connections_is_one_over_generations(self):
        gateway = self.launch_gated()
        gateway.reload(apps=[self.app([self.old], backend="connections = 2")])
        long = [self.start(), self.start()]
        self.old.wait_requests(2)
        gateway.reload()
        more = [self.start("more=%d" % i) for i in range(3)]
        gateway.reload()
        self.assertEqual(self.old.open, 2)
        self.gate.open()
        for client in long + more:
            self.assertEqual(client.response().body, b"old")
        self.assertEqual(self.old.max_open, 2)
        gateway.wait_ended(2)

    def test_a_lower_bound(self):
        """What is over it goes with the requests that have it."""
        gateway = self.launch_gated()
        gateway.reload(apps=[self.app([self.old], backend="connections = 4")])
        long = [self.start() for _ in range(4)]
        self.old.wait_requests(4)
        gateway.reload(apps=[self.app([self.old], backend="connections = 1")])
        load = Load(asker(self.where, keep=False), 3)
        self.gate.open()
        for client in long:
            self.assertEqual(status(client.response()), 200)
        load.wait_more(2)
        wait.until(lambda: self.old.open <= 1, "one connection only")
        self.old.max_open = 0
        load.wait_more(5)
        load.stop()
        self.assertEqual(self.old.max_open, 1)

    def test_a_higher_bound(self):
        """Also for those who have waited since before."""
        gateway = self.launch_gated()
        gateway.reload(apps=[self.app([self.old], "queue-wait = 600s", backend="connections = 1")])
        clients = [self.start() for _ in range(3)]
        for client in clients:
            self.wait_read(client)
        self.old.wait_requests(1)
        gateway.reload(apps=[self.app([self.old], "queue-wait = 600s", backend="connections = 3")])
        self.old.wait_requests(3)
        self.gate.open()
        self.assertEqual([status(c.response()) for c in clients], [200] * 3)

    def test_bounds_that_change_all_the_time(self):
        """Who waits since a time of few connections is not forgotten in a time of many."""
        gateway = self.launch_gated()
        load = Load(asker(self.where), 6)
        for i in range(60):
            gateway.reload(apps=[self.app([self.old], "queue-wait = 3s", backend="connections = %d" % (1 + i % 4))])
            load.wait_more()
        load.stop()

    def test_the_queue_goes_over(self):
        """First come, first served, whatever generation one is of."""
        order = []
        gate = Gate()

        def handler(x):
            order.append(x.params["QUERY_STRING"])
            gate.wait()
            x.answer()
        self.launch_gated(workers=1)  # who is on the worker where it becomes free may be a little before his turn
        backend = Backend(self.scope, handler)
        app = self.app([backend], backend="connections = 1")
        self.gateway.reload(apps=[app])
        clients = [self.start("0")]
        backend.wait_requests(1)
        for i in range(1, 7):
            clients.append(self.start(str(i)))
            self.wait_read(clients[-1])
            if i % 2 == 0:
                self.gateway.reload()
        gate.open()
        for client in clients:
            self.assertEqual(status(client.response()), 200)
        self.assertEqual(order, [str(i) for i in range(7)])

    def wait_read(self, client):
        """An answer to what came behind it says that the request was read."""
        client.send(fcgi.record(fcgi.GET_VALUES, 0))
        client._take()

    def test_many_at_once(self):
        gateway = self.launch_gated()
        backends = [self.old] + [self.backend(str(i), self.gate) for i in range(12)]
        clients = []
        for i, backend in enumerate(backends):
            if i:
                gateway.reload(apps=[self.app([backend])])
            clients.append(self.start())
            backend.wait_requests(1)
        self.assertEqual(gateway.count("generation_ended"), 0)
        self.gate.open()
        self.assertEqual([c.response().body.decode() for c in clients], ["old"] + [str(i) for i in range(12)])
        gateway.wait_line("event=generation_ended", 12)

    def test_too_many(self):
        """The sixty-fifth is refused; when one has ended there is room again."""
        gateway = self.launch_gated()
        gates = [Gate() for _ in range(64)]
        self.scope.at_end(lambda: [g.open() for g in gates])

        def handler(x):
            gates[int(x.params["QUERY_STRING"])].wait()
            x.answer()
        backend = Backend(self.scope, handler)
        app = self.app([backend], backend="connections = 100")
        clients = []
        for i in range(64):
            gateway.reload(apps=[app])  # generation i + 2; the first has no request and goes
            clients.append(self.start(str(i)))
            backend.wait_requests(i + 1)
        self.assertIn("64 configurations", gateway.refused()[0])
        gates[10].open()
        self.assertEqual(status(clients[10].response()), 200)
        gateway.wait_line("event=generation_ended generation=12")
        gateway.reload()

    def test_the_end_with_old_ones_alive(self):
        for number, waits in ((signal.SIGTERM, True), (signal.SIGTERM, False), (signal.SIGINT, False)):
            with self.subTest(number=number, waits=waits):
                gateway = self.launch_gated(node_more="drain-timeout = %s" % ("60s" if waits else "300ms"))
                clients = [self.start()]
                self.old.wait_requests(1)
                for i in range(3):
                    gateway.reload(apps=[self.app([self.new])])
                    clients.append(self.start())
                    self.new.wait_requests(i + 1)
                gateway.process.send(number)
                if waits:
                    gateway.wait_line("event=draining")
                    self.gate.open()
                    self.assertEqual([c.response().body for c in clients], [b"old"] + [b"new"] * 3)
                self.assertEqual(gateway.wait_exit(), 0)
                self.gate.open()

    def test_the_end_in_the_middle_of_a_reload(self):
        """The new listeners are there, and the workers have so much to do that they do not hear of the new generation
        before the end comes."""
        work = b"".join(fcgi.request(cgi.params("/nothing"), request_id=i) for i in range(1, 41))
        for number in (signal.SIGTERM, signal.SIGINT):
            gateway = self.launch_gated(workers=1)
            gateway.reload(apps=[self.app([self.old], match=["path:/x"])])
            long = self.client()
            long.start(cgi.params("/x", query="gate"))
            self.old.wait_requests(1)
            busy = [self.client() for _ in range(100)]
            for client in busy:
                self.assertEqual(status(client.ask(cgi.params("/nothing"))), 404)
            new = [self.scope.unix("n"), self.scope.unix("m")]
            gateway.process.send(signal.SIGSTOP)
            for client in busy:
                client.send(work)
            gateway.write(apps=[self.app([self.new])], listens=[(where, "fastcgi", "") for where in new])
            gateway.hup()
            gateway.process.send(signal.SIGCONT)
            wait.until(lambda: os.path.exists(new[1][5:]), "new listeners", pause=0.001)
            gateway.process.send(number)
            if number == signal.SIGTERM:
                gateway.wait_line("event=draining")
                for where in new:
                    wait.until(lambda: address.refuses(where), "new listeners to be closed as well", 5)
                self.gate.open()
                self.assertEqual(long.response().body, b"old")
            self.assertEqual(gateway.wait_exit(), 0)
            self.assertFalse(os.path.exists(new[0][5:]) or os.path.exists(new[1][5:]))
            self.gate.open()

    def test_hup_while_it_ends(self):
        gateway = self.launch_gated()
        client = self.start()
        self.old.wait_requests(1)
        gateway.process.send(signal.SIGTERM)
        gateway.wait_line("event=draining")
        gateway.hup()
        gateway.wait_line("event=reload_refused.*ending")
        self.gate.open()
        self.assertEqual(client.response().body, b"old")
        self.assertEqual(gateway.wait_exit(), 0)

    def test_no_memory_is_lost(self):
        """Many reloads later it is no larger, and has as many descriptors."""
        gateway = self.launch_gated(program=weir.release_binary(), env=weir.SMALL)
        app = [self.app([self.old], name="a%d" % i, match=["path:/%d" % i]) for i in range(20)]

        def some(n):
            for i in range(n):
                gateway.reload(apps=[self.app([self.old])] + (app if i % 2 else []))
                self.who()
        some(20)
        descriptors, size = len(os.listdir("/proc/%d/fd" % gateway.pid)), gateway.rss_kib()
        some(100)
        self.assertLessEqual(gateway.rss_kib(), size + 1500)
        wait.until(lambda: len(os.listdir("/proc/%d/fd" % gateway.pid)) <= descriptors, "as many descriptors as before")


class TestListeners(ReloadCase):
    def inode(self, where=None):
        return os.stat((where or self.where)[5:]).st_ino

    def test_added(self):
        gateway = self.launch()
        added = [self.scope.unix("x"), address.tcp(), self.scope.unix("y")]
        load = Load(asker(self.where), 2)
        gateway.reload(listens=[(self.where, "fastcgi", "")] + [(a, "fastcgi", "") for a in added])
        for where in added:
            self.assertEqual(self.who(where=where), "first")
        load.wait_more()
        load.stop()

    def test_removed(self):
        """Idle connections go, what runs goes on, the socket's file vanishes, the others notice nothing."""
        other, tcp = self.scope.unix("x"), address.tcp()
        gate = Gate()
        gateway = self.launch()
        gated = self.backend("gated", gate)
        three = [(self.where, "fastcgi", ""), (other, "fastcgi", ""), (tcp, "fastcgi", "")]
        gateway.reload(listens=three, apps=[self.app([gated])])
        load = Load(asker(self.where), 2)
        idle, busy, unused = self.client(other), self.client(other), self.client(tcp)
        self.assertEqual(status(idle.ask(cgi.params())), 200)
        busy.start(cgi.params(query="gate"))
        wait.until(lambda: any("gate" in x.params["QUERY_STRING"] for x in list(gated.requests)), "the long request")
        gateway.reload(listens=three[:1])
        for where in (other, tcp):
            self.assertTrue(address.refuses(where), where)
        self.assertFalse(os.path.exists(other[5:]))
        self.assertTrue(idle.closed(), "an idle connection of a removed listener stays")
        self.assertTrue(unused.closed(), "a connection that was never used stays")
        gate.open()
        self.assertEqual(busy.response().body, b"gated")
        self.assertTrue(busy.closed())
        gateway.wait_ended(2)
        load.wait_more()
        load.stop()

    def test_whose_connection_was_complete_is_served(self):
        """More of them than are accepted before the listener goes: weir is halted while they come, and then has so much
        else to do that it does not get round to them in time."""
        gateway = self.launch(workers=1)
        other = self.scope.unix("x")
        both = [(self.where, "fastcgi", ""), (other, "fastcgi", "")]
        gateway.reload(listens=both, apps=[self.app([self.first], match=["path:/x"])])
        busy = [self.client() for _ in range(100)]
        work = b"".join(fcgi.request(cgi.params("/nothing"), request_id=i) for i in range(1, 21))
        for client in busy:
            self.assertEqual(status(client.ask(cgi.params("/nothing"))), 404)
        for _ in range(2):
            gateway.process.send(signal.SIGSTOP)
            for client in busy:
                client.send(work)
            clients = [fcgi.Client(other) for _ in range(200)]
            for client in clients:
                client.start(cgi.params("/x"), flags=0)
            before = gateway.count("reloaded")
            gateway.write(listens=both[:1])
            gateway.hup()
            gateway.process.send(signal.SIGCONT)
            for client in clients:
                self.assertEqual(status(client.response()), 200)
                client.close()
            gateway.wait_line("event=reloaded", before + 1)
            self.assertTrue(address.refuses(other))
            for client in busy:
                self.assertEqual([status(client.response(i)) for i in range(1, 21)], [404] * 20)
            gateway.reload(listens=both)

    def test_removed_and_added_again(self):
        gateway = self.launch()
        other = self.scope.unix("x")
        one, both = [(self.where, "fastcgi", "")], [(self.where, "fastcgi", ""), (other, "fastcgi", "")]
        for _ in range(5):
            gateway.reload(listens=both)
            self.assertEqual(self.who(where=other), "first")
            gateway.reload(listens=one)
            self.assertTrue(address.refuses(other))

    def test_all_are_exchanged(self):
        gateway = self.launch()
        other = address.tcp()
        gateway.reload(listens=[(other, "fastcgi", "")])
        self.assertEqual(self.who(where=other), "first")
        self.assertTrue(address.refuses(self.where))

    def test_the_same_socket_stays(self):
        gateway = self.launch()
        client, inode = self.client(), self.inode()
        self.assertEqual(status(client.ask(cgi.params())), 200)
        for _ in range(3):
            gateway.reload()
        self.assertEqual(self.inode(), inode)
        self.assertEqual(status(client.ask(cgi.params())), 200)  # nor is a connection closed

    def test_limits_of_open_connections(self):
        gateway = self.launch()
        client = self.client()
        big = cgi.params(X="x" * 10000)
        self.assertEqual(status(client.ask(big)), 200)
        gateway.reload(listens=[(self.where, "fastcgi", "max-params = 4k")])
        self.assertEqual(status(client.ask(big)), 431)
        gateway.reload(listens=[(self.where, "fastcgi", "max-params = 64k max-body = 10")])
        self.assertEqual(status(client.ask(big)), 200)
        self.assertEqual(status(client.ask(cgi.params(method="POST", body_length=11), b"x" * 11)), 413)

    def test_max_connections(self):
        gateway = self.launch()
        clients = [self.client() for _ in range(3)]
        for client in clients:
            client.ask(cgi.params())
        gateway.reload(listens=[(self.where, "fastcgi", "max-connections = 3")])
        self.assertTrue(self.client().closed())
        gateway.reload(listens=[(self.where, "fastcgi", "max-connections = 4")])
        self.assertEqual(status(self.client().ask(cgi.params())), 200)

    def test_idle_timeout_of_idle_connections(self):
        gateway = self.launch()
        client = self.client()
        self.assertEqual(status(client.ask(cgi.params())), 200)
        gateway.reload(listens=[(self.where, "fastcgi", "idle-timeout = 200ms")])
        self.assertTrue(client.closed())

    def test_read_timeout_of_a_request_that_has_begun(self):
        gateway = self.launch()
        client = self.client()
        client.send(fcgi.begin() + fcgi.record(fcgi.PARAMS, 1, b"x")[:-1])
        wait.until(lambda: self.gateway_connections() > 0, "the connection")
        gateway.reload(listens=[(self.where, "fastcgi", "read-timeout = 200ms")])
        self.assertTrue(client.closed())

    def gateway_connections(self):
        """Descriptors of accepted connections, roughly: there is nothing to ask yet."""
        return len(os.listdir("/proc/%d/fd" % self.gateway.pid))

    def test_mode_and_owner(self):
        gateway = self.launch([(self.scope.unix("f0"), "fastcgi", "")])
        where = gateway.parts["listens"][0][0]
        inode = self.inode(where)
        gateway.reload(listens=[(where, "fastcgi", "mode = 0600")])
        found = os.stat(where[5:])
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_ino), (0o600, inode))
        if ROOT:
            gateway.reload(listens=[(where, "fastcgi", 'mode = 0660 owner = "nobody" group = "nogroup"')])
            found = os.stat(where[5:])
            self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid), (0o660, pwd.getpwnam("nobody").pw_uid))
        os.chmod(where[5:], 0o666)
        gateway.reload()
        self.assertEqual(stat.S_IMODE(os.stat(where[5:]).st_mode), 0o666)  # what the file does not change stays

    def test_another_protocol(self):
        """Connections speak what they were accepted with."""
        gateway = self.launch()
        client = self.client()
        self.assertEqual(status(client.ask(cgi.params())), 200)
        gateway.reload(listens=[(self.where, "scgi", "max-params = 4k")])
        self.assertEqual(status(self.front(protocol="scgi").ask("")), 200)
        self.assertEqual(status(client.ask(cgi.params())), 200)
        self.assertEqual(status(client.ask(cgi.params(X="x" * 5000))), 431)
        gateway.reload(listens=[(self.where, "fastcgi", "")])
        self.assertEqual(self.who(), "first")


class TestBackends(ReloadCase):
    def test_one_that_is_down_stays_down(self):
        """A reload is no reason to send it requests."""
        bad = Backend(self.scope, lambda x: x.close())
        gateway = self.launch()
        options = "fails = 1 backoff = 600s backoff-max = 600s"
        both = [bad.text(options), self.first.text(options)]
        gateway.reload(apps=[self.app(both)])
        wait.until(lambda: self.who() and gateway.lines("event=backend_down"), "the bad one to be found out")
        seen = len(bad.requests)
        for i in range(3):
            gateway.reload(apps=[self.app(both, "queue = %d" % (10 + i))])
            for _ in range(10):
                self.who()
        self.assertEqual(len(bad.requests), seen)

    def test_another_protocol_is_another_backend(self):
        gateway = self.launch()
        options = "fails = 1 backoff = 600s backoff-max = 600s"
        bad = Backend(self.scope, lambda x: x.close())
        both = [bad.text(options), self.first.text(options)]
        gateway.reload(apps=[self.app(both)])
        wait.until(lambda: self.who() and gateway.lines("event=backend_down"), "the bad one to be found out")
        good = Backend(self.scope, lambda x: x.answer(), protocol="scgi", where=bad.where)
        gateway.reload(apps=[self.app([good])])
        self.assertEqual(status(self.ask()), 200)

    def test_apps_come_and_go(self):
        gateway = self.launch()
        a, b = self.backend("a"), self.backend("b")
        main = self.app([self.first], match=["path:/"])
        self.assertEqual(self.who(path="/a"), "first")
        gateway.reload(apps=[main, self.app([a], name="a", match=["path:/a"])])
        self.assertEqual((self.who(path="/a"), self.who(path="/b")), ("a", "first"))
        gateway.reload(apps=[main, self.app([b], name="b", match=["path:/b"])])
        self.assertEqual((self.who(path="/a"), self.who(path="/b")), ("first", "b"))
        gateway.reload(apps=[self.app([b], name="b", match=["path:/b"])])
        self.assertEqual(status(self.ask(path="/a")), 404)

    def test_time_limits(self):
        gate = Gate()
        self.scope.at_end(gate.open)
        gateway = self.launch()
        slow = self.backend("slow", gate)
        gateway.reload(apps=[self.app([slow], "timeout = 200ms")])
        self.assertEqual(status(self.ask("gate")), 504)


class TestSpawned(ReloadCase):
    def text(self, options="processes = 2", arguments="", name="main", more=(), match=()):
        backends = ['backend "spawn:%s%s" { %s }' % (apps.built("echo"), arguments, options)]
        return self.app(backends + list(more), "queue-wait = 10s", name=name, match=match)

    def pids(self, count):
        def right():
            found = process.children(self.gateway.pid)
            return [found] if len(found) == count else None
        return wait.until(right, lambda: "%d children: %s" % (count, process.children(self.gateway.pid)))[0]

    def sockets(self):
        return sorted(n for n in os.listdir(self.scope.path("run")) if n.endswith(".sock"))

    def test_kept(self):
        """Also when other things of the backend and the app change."""
        gateway = self.launch(apps_=[self.text()])
        pids, sockets = self.pids(2), self.sockets()
        gateway.reload()
        gateway.reload(apps=[self.text("processes = 2 connections = 1 weight = 3 keep-alive = no fails = 7"),
                             self.app([self.first], name="more", match=["path:/more"])])
        self.assertEqual(status(self.ask()), 200)
        gateway.wait_ended(2)
        self.assertEqual((self.pids(2), self.sockets()), (pids, sockets))
        self.assertEqual(gateway.count("app_ended"), 0)

    def test_changed(self):
        gateway = self.launch(apps_=[self.text()])
        pids = self.pids(2)
        for options, arguments, count in (("processes = 3", "", 3), ("processes = 3", " x", 3),
                                          ("processes = 3 stop-timeout = 7s", " x", 3)):
            gateway.reload(apps=[self.text(options, arguments)])
            self.assertEqual(status(self.ask()), 200)
            wait.until(lambda: not set(pids) & set(process.children(gateway.pid)), "the end of the old processes")
            pids = self.pids(count)
            wait.until(lambda: len(self.sockets()) == 1, "the end of the old socket")

    def test_the_old_ones_live_as_long_as_a_request(self):
        gateway = self.launch(apps_=[self.text("processes = 1")])
        old = self.pids(1)
        client = self.client()
        client.start(cgi.params(query="sleep=1.5"))
        wait.until(lambda: gateway.lines("app_started"), "the start")
        self.wait_busy()
        gateway.reload(apps=[self.text("processes = 2")])
        both = self.pids(3)
        self.assertTrue(set(old) < set(both))
        answer = self.ask()
        self.assertIn(json.loads(answer.body)["pid"], set(both) - set(old))
        answer = client.response()
        self.assertEqual(json.loads(answer.body)["pid"], old[0])
        self.assertEqual(self.pids(2), sorted(set(both) - set(old)))

    def wait_busy(self):
        """Until the application's process has read a request: it sleeps in it."""
        pid = self.pids(1)[0]

        def sleeps():
            with open("/proc/%d/wchan" % pid) as f:
                return "nanosleep" in f.read()
        wait.until(sleeps, "the application to work on the request")

    def test_removed_and_added(self):
        gateway = self.launch(apps_=[self.text(), self.text("processes = 1", name="more", match=["path:/more"])])
        pids = self.pids(3)
        gateway.reload(apps=[self.text()])
        kept = self.pids(2)
        self.assertTrue(set(kept) < set(pids))
        wait.until(lambda: self.sockets() == ["main-0.sock"], "the end of the other socket")
        gateway.reload(apps=[self.app([self.first])])
        self.pids(0)
        wait.until(lambda: self.sockets() == [], "the end of the socket")
        gateway.reload(apps=[self.text()])
        self.pids(2)
        self.assertEqual(status(self.ask()), 200)

    def test_another_place_in_the_file(self):
        """The number in the socket's name is that of the start; a new one takes another name."""
        gateway = self.launch(apps_=[self.text()])
        pids = self.pids(2)
        more = 'backend "spawn:%s y" { }' % apps.built("echo")
        text = self.app([more, 'backend "spawn:%s" { processes = 2 }' % apps.built("echo")])
        gateway.reload(apps=[text])
        self.assertTrue(set(pids) < set(self.pids(3)))
        self.assertEqual(len(self.sockets()), 2)
        for _ in range(5):
            self.assertEqual(status(self.ask()), 200)

    def test_taken_back_when_refused(self):
        """The log cannot be opened: nothing was started, nothing stays."""
        gateway = self.launch(apps_=[self.text()])
        pids = self.pids(2)
        gateway.refused(apps=[self.text("processes = 3")], log='level = info to = "%s"' % self.scope.path("no/log"))
        self.assertEqual((self.pids(2), self.sockets()), (pids, ["main-0.sock"]))
        gateway.reload(apps=[self.text("processes = 3")])
        wait.until(lambda: not set(pids) & set(process.children(gateway.pid)), "the end of the old processes")
        self.assertEqual(len(self.pids(3)), 3)

    def test_one_that_does_not_end_is_killed(self):
        program, ready = self.scope.fresh("program"), self.scope.path("ready")
        with open(program, "w") as f:
            f.write("#!/bin/sh\ntrap '' TERM\ntouch %s\nwhile :; do sleep 0.1; done\n" % ready)
        os.chmod(program, 0o755)
        gateway = self.launch(apps_=[self.app(['backend "spawn:%s" { stop-timeout = 300ms }' % program])])
        pid = self.pids(1)[0]
        wait.until(lambda: os.path.exists(ready), "the program")
        gateway.reload(apps=[self.app([self.first])])
        wait.until(lambda: not process.alive(pid), "the end of the stubborn one")
        self.assertEqual(self.who(), "first")
        gateway.wait_line("event=app_killed")


ADMIN = "admin { open = always }\n"


class TestDrain(ReloadCase):
    """An operator drains a backend."""

    def setUp(self):
        super().setUp()
        self.gate = Gate()
        self.scope.at_end(self.gate.open)
        self.a, self.b = self.backend("a", self.gate), self.backend("b", self.gate)
        self.both = self.app([self.a, self.b])
        self.launch(apps_=[self.both], tail=ADMIN)

    def drain(self, backend):
        return self.gateway.admin("backend drain main %s" % backend.where)

    def ready(self, backend):
        return self.gateway.admin("backend ready main %s" % backend.where)

    def both_used(self):
        names = set()
        wait.until(lambda: names.add(self.who()) or names == {"a", "b"}, "answers of both")

    def test_no_new_requests(self):
        self.both_used()
        self.assertGreaterEqual(self.a.open, 1)
        self.drain(self.a)
        self.a.wait_open(0)  # kept ones are closed
        seen = len(self.a.requests)
        for _ in range(10):
            self.assertEqual(self.who(), "b")
        self.assertEqual(len(self.a.requests), seen)
        self.assertEqual(self.gateway.backends()[self.a.where]["state"], "drained")
        self.ready(self.a)
        self.both_used()

    def test_what_runs_goes_on(self):
        self.drain(self.b)
        client = self.client()
        client.start(cgi.params(query="gate"))
        self.a.wait_requests(1)
        self.drain(self.a)
        self.assertEqual(self.gateway.backends()[self.a.where]["active"], 1)
        self.gate.open()
        self.assertEqual(client.response().body, b"a")
        self.a.wait_open(0)

    def test_all_are_drained(self):
        """No wait where nobody will come; also for those who wait already."""
        self.gateway.reload(apps=[self.app([self.a], "queue-wait = 600s", backend="connections = 1")])
        clients = [self.client(), self.client()]
        for client in clients:
            client.start(cgi.params(query="gate"))
        self.a.wait_requests(1)
        wait.until(lambda: self.gateway.admin("apps")["apps"][0]["waiting"] == 1, "one in the queue")
        self.drain(self.a)
        answers = Parallel()
        for client in clients:
            answers.start(client.response)
        answer = self.ask()
        self.assertEqual((status(answer), answer.header("Retry-After")), (503, "1"))
        self.gateway.wait_line('event=request_failed.*reason="every backend is drained"', 2)
        self.gate.open()
        self.assertEqual(sorted(status(a) for a in answers.join()), [200, 503])
        self.ready(self.a)
        self.assertEqual(self.who(), "a")

    def test_it_outlives_reloads(self):
        self.drain(self.a)
        c = self.backend("c")
        for change in ([self.both], [self.app([self.b, self.a], backend="weight = 3")], [self.app([c, self.a])]):
            self.gateway.reload(apps=change)
            self.assertEqual({self.who() for _ in range(10)} - {"b", "c"}, set())
            self.assertEqual(self.gateway.backends()[self.a.where]["state"], "drained")
        self.ready(self.a)
        names = set()
        wait.until(lambda: names.add(self.who()) or names == {"a", "c"}, "answers of both")

    def test_older_generations_hear_of_it(self):
        """One in the queue since before the reload."""
        self.gateway.reload(apps=[self.app([self.a], "queue-wait = 600s", backend="connections = 1")])
        clients = [self.client(), self.client()]
        for client in clients:
            client.start(cgi.params(query="gate"))
        wait.until(lambda: self.gateway.admin("apps")["apps"][0]["waiting"] == 1, "one in the queue")
        self.gateway.reload(apps=[self.app([self.a, self.b], backend="connections = 1")])
        self.drain(self.a)
        self.gateway.wait_line('event=request_failed.*reason="every backend is drained"')
        self.gate.open()
        self.assertEqual(sorted(status(c.response()) for c in clients), [200, 503])

    def test_under_load(self):
        load = Load(asker(self.where), 4)
        for i in range(20):
            backend = [self.a, self.b][i % 2]
            self.drain(backend)
            load.wait_more()
            if i % 3 == 0:
                self.gateway.reload()
            self.ready(backend)
        load.stop()

    def test_what_is_not_there(self):
        other = self.app([self.a], name="other", match=["path:/other"])
        self.gateway.reload(apps=[self.both, other])
        for line, code in (("backend drain main unix:/nowhere", "not-found"),
                           ("backend drain nobody %s" % self.a.where, "not-found"),
                           ("backend drain %s" % self.a.where, "bad-argument")):
            with self.assertRaises(Refused) as caught:
                self.gateway.admin(line)
            self.assertEqual(caught.exception.args[0], code, line)
        self.assertTrue(self.gateway.admin("backend drain %s" % self.b.where)["changed"])
        self.assertFalse(self.gateway.admin("backend drain %s" % self.b.where)["changed"])
        self.drain(self.a)  # of main only
        self.assertEqual(status(self.ask(path="/other")), 200)
        self.assertEqual(status(self.ask()), 503)

    def test_counters(self):
        """Of requests and failures, since the generation began."""
        for _ in range(4):
            self.who()
        told = self.gateway.backends()
        self.assertEqual(sum(b["requests"] for b in told.values()), 4)
        self.gateway.reload()
        self.assertEqual(sum(b["requests"] for b in self.gateway.backends().values()), 0)
        bad = Backend(self.scope, lambda x: x.close())
        self.gateway.reload(apps=[self.app([bad])])
        self.assertEqual(status(self.ask()), 502)
        self.assertEqual(self.gateway.backends()[bad.where]["failures"], 1)


class TestStop(ReloadCase):
    """An operator stops an app."""

    def launch_gated(self, **kwargs):
        self.gate = Gate()
        self.scope.at_end(self.gate.open)
        self.slow = self.backend("slow", self.gate)
        gateway = self.launch(tail=ADMIN, **kwargs)
        gateway.reload(apps=[self.app([self.slow], "queue-wait = 600s", match=["path:/"], backend="connections = 1"),
                             self.app([self.first], name="other", match=["path:/other"])])
        return gateway

    def state(self, name="main"):
        return [a["state"] for a in self.gateway.admin("apps")["apps"] if a["app"] == name][0]

    def test_stop_and_start(self):
        gateway = self.launch_gated()
        running, waiting = self.client(), self.client()
        running.start(cgi.params(query="gate"))
        self.slow.wait_requests(1)
        waiting.start(cgi.params())
        wait.until(lambda: gateway.admin("apps")["apps"][0]["waiting"] == 1, "one in the queue")
        self.assertTrue(gateway.admin("app stop main")["changed"])
        self.assertEqual(status(waiting.response()), 503)
        answer = self.ask()
        self.assertEqual((status(answer), answer.header("Retry-After")), (503, "1"))
        gateway.wait_line('event=request_failed.*reason="app is stopped"', 2)
        self.assertEqual(self.who(path="/other"), "first")
        self.assertEqual(self.state(), "stopped")
        self.gate.open()
        self.assertEqual(running.response().body, b"slow")
        self.slow.wait_open(0)
        self.assertFalse(gateway.admin("app stop main")["changed"])
        self.assertTrue(gateway.admin("app start main")["changed"])
        self.assertEqual((self.who(), self.state()), ("slow", "running"))
        self.assertEqual(gateway.count("backend_down"), 0)
        with self.assertRaises(Refused) as caught:
            gateway.admin("app stop nobody")
        self.assertEqual(caught.exception.args[0], "not-found")

    def test_nothing_ends_before_the_last_request(self):
        """Another app, stopped later, is through with it."""
        gate = Gate()
        self.scope.at_end(gate.open)
        slow = self.backend("slow", gate)
        gateway = self.launch(tail=ADMIN, apps_=[self.app([slow], session="", match=["path:/"]),
                                                 self.app([slow], session="", name="other", match=["path:/other"])])
        client = self.client()
        client.start(cgi.params(query="gate"))
        slow.wait_requests(1)
        gateway.admin("app stop main")
        gateway.admin("app stop other")
        gateway.wait_line("event=app_demoted app=other")
        self.assertEqual(gateway.lines("event=app_demoted app=main"), [])
        gate.open()
        self.assertEqual(status(client.response()), 200)
        gateway.wait_line("event=app_demoted app=main")

    def test_it_outlives_reloads(self):
        gateway = self.launch_gated()
        gateway.admin("app stop main")
        for i in range(3):
            gateway.reload(apps=[self.app([[self.slow], [self.first]][i % 2])])
            self.assertEqual((status(self.ask()), self.state()), (503, "stopped"))
        gateway.admin("app start main")
        self.assertEqual(status(self.ask()), 200)

    def test_older_generations_hear_of_it(self):
        gateway = self.launch_gated()
        running, waiting = self.client(), self.client()
        running.start(cgi.params(query="gate"))
        self.slow.wait_requests(1)
        waiting.start(cgi.params())
        wait.until(lambda: gateway.admin("apps")["apps"][0]["waiting"] == 1, "one in the queue")
        gateway.reload()
        gateway.admin("app stop main")
        self.assertEqual(status(waiting.response()), 503)
        self.gate.open()
        self.assertEqual(status(running.response()), 200)

    def test_one_that_waits_for_its_session(self):
        def handler(x):
            if "gate" in x.params["QUERY_STRING"]:
                gate.wait()
            x.answer(headers=[("Weir-Session-Data", "x")])
        gate = Gate()
        self.scope.at_end(gate.open)
        backend = Backend(self.scope, handler)
        gateway = self.launch(tail=ADMIN, apps_=[self.app([backend], session="")])
        jar = cgi.Jar()
        self.ask(jar=jar)
        clients = [self.client(), self.client()]
        clients[0].start(self.front().params("gate", jar=jar))
        backend.wait_requests(2)
        clients[1].start(self.front().params(jar=jar))
        gateway.admin("app stop main")
        self.assertEqual(status(self.ask(jar=jar)), 503)  # at once: it does not wait for the lock first
        gate.open()
        self.assertEqual([status(c.response()) for c in clients], [200, 503])
        gateway.wait_line("event=app_demoted app=main sessions=1")

    def spawned(self, options="processes = 2", arguments=""):
        return self.app(['backend "spawn:%s%s" { %s }' % (apps.built("echo"), arguments, options)], "queue-wait = 20s",
                        session="", match=["path:/"])

    def children(self, count):
        wait.until(lambda: len(process.children(self.gateway.pid)) == count,
                   lambda: "%d children: %s" % (count, process.children(self.gateway.pid)))
        return process.children(self.gateway.pid)

    def test_its_processes_end_after_the_last_request(self):
        gateway = self.launch(tail=ADMIN, apps_=[self.spawned()])
        jars = [cgi.Jar() for _ in range(3)]
        for jar in jars:
            self.assertEqual(status(self.ask("incr=1", jar=jar)), 200)
        pids = self.children(2)
        client = self.client()
        client.start(cgi.params(query="sleep=1"))
        wait.until(lambda: list(gateway.backends().values())[0]["active"] == 1, "the request to run")
        gateway.admin("app stop main")
        self.assertEqual(status(self.ask()), 503)
        self.assertEqual(process.children(gateway.pid), pids)
        self.assertEqual(status(client.response()), 200)
        self.children(0)
        gateway.wait_line("event=app_demoted app=main sessions=3")
        self.assertEqual(gateway.lines("backend_down|backend_connect_failed|level=warn event=app_ended"), [])
        self.assertTrue(os.path.exists(self.scope.path("run/main-0.sock")))
        gateway.admin("app start main")
        for jar in jars:
            env = json.loads(self.ask(jar=jar).body)["env"]
            self.assertEqual(env["SESSION_DATA"], "1")
        self.assertFalse(set(pids) & set(self.children(2)))

    def test_stop_and_start_at_once(self):
        """What was to come after the stop does not come any more; that of another app, stopped later, does."""
        gateway = self.launch(tail=ADMIN, apps_=[self.spawned(), self.app([self.backend()], session="", name="other",
                                                                          match=["path:/other"])])
        pids = self.children(2)
        for _ in range(10):
            gateway.admin("app stop main")
            gateway.admin("app start main")
            self.assertEqual(status(self.ask()), 200)
        gateway.admin("app stop other")
        gateway.wait_line("event=app_demoted app=other")
        self.assertEqual(status(self.ask()), 200)
        self.assertEqual(self.children(2), pids)

    def test_start_while_processes_end(self):
        """They are slow at it; the next ones wait for that."""
        program, ready, told = self.scope.fresh("program"), self.scope.path("ready"), self.scope.path("told")
        with open(program, "w") as f:
            f.write("#!/bin/sh\ntrap 'touch %s; sleep 0.5; exit 0' TERM\ntouch %s\nwhile :; do sleep 0.05; done\n" %
                    (told, ready))
        os.chmod(program, 0o755)
        gateway = self.launch(tail=ADMIN, apps_=[self.app(['backend "spawn:%s" { }' % program])])
        wait.until(lambda: os.path.exists(ready), "the program")
        pid = self.children(1)[0]
        gateway.admin("app stop main")
        wait.until(lambda: os.path.exists(told), "the program to be told")
        gateway.admin("app start main")
        self.assertTrue(process.alive(pid))
        wait.until(lambda: [p for p in process.children(gateway.pid) if p != pid], "a new process")
        self.assertFalse(process.alive(pid))

    def test_a_reload_starts_nothing_of_a_stopped_app(self):
        gateway = self.launch(tail=ADMIN, apps_=[self.spawned()])
        self.children(2)
        gateway.admin("app stop main")
        self.children(0)
        gateway.reload(apps=[self.spawned("processes = 3")])
        self.assertEqual(status(self.ask()), 503)
        self.assertEqual(gateway.count("app_started"), 2)
        gateway.admin("app start main")
        self.children(3)
        self.assertEqual(status(self.ask()), 200)

    def test_taken_out_while_it_stops(self):
        gateway = self.launch(tail=ADMIN, apps_=[self.spawned()])
        client = self.client()
        client.start(cgi.params(query="sleep=0.7"))
        wait.until(lambda: list(gateway.backends().values())[0]["active"] == 1, "the request to run")
        gateway.admin("app stop main")
        gateway.reload(apps=[self.app([self.first], name="other")])
        self.assertEqual(status(client.response()), 200)
        self.children(0)
        gateway.reload(apps=[self.spawned()])  # what the operator said is forgotten with the app
        self.assertEqual(status(self.ask()), 200)

    def test_the_end_of_weir(self):
        for wait_for_it in (False, True):
            gateway = self.launch(tail=ADMIN, apps_=[self.spawned()])
            self.children(2)
            gateway.admin("app stop main")
            if wait_for_it:
                self.children(0)
            gateway.process.send(signal.SIGTERM)
            self.assertEqual(gateway.wait_exit(), 0)


class TestRest(ReloadCase):
    def test_sessions_survive(self):
        def handler(x):
            n = int(x.params.get("SESSION_DATA") or 0) + 1
            x.answer(str(n), headers=[("Weir-Session-Data", str(n))])
        a, b = Backend(self.scope, handler), Backend(self.scope, handler)
        gateway = self.launch(apps_=[self.app([a], session="")])
        jars = [cgi.Jar() for _ in range(5)]
        for i in range(1, 6):
            for jar in jars:
                self.assertEqual(self.ask(jar=jar).body, str(i).encode())
            other = self.app([self.first], name="z%d" % i, match=["path:/z"])
            gateway.reload(apps=[other, self.app([[a], [b]][i % 2], session="ttl = %dm" % (10 + i))])

    def test_memory_for_sessions(self):
        def handler(x):
            x.answer(headers=[("Weir-Session-Data", "x" * 50000)])
        gateway = self.launch(apps_=[self.app([Backend(self.scope, handler)], session="")],
                              tail="store { memory { max = 10M evict = never } disk { max = 0 } }\n")
        self.assertEqual(status(self.ask()), 200)
        gateway.reload(tail="store { memory { max = 1M evict = never } disk { max = 0 } }\n")
        statuses = [status(self.ask()) for _ in range(40)]
        self.assertIn(503, statuses)
        gateway.reload(tail="store { memory { max = 10M evict = never } disk { max = 0 } }\n")
        self.assertEqual(status(self.ask()), 200)

    def test_log_level(self):
        gateway = self.launch(log="level = info to = stderr")

        def complain():
            self.assertEqual(status(self.ask(path="/nothing")), 404)
        gateway.reload(apps=[self.app([self.first], match=["path:/x"])])
        complain()
        gateway.wait_line("event=request_failed")  # which is info, with 404
        gateway.write(log="level = warn to = stderr")
        gateway.hup()
        second = self.backend("second")
        gateway.write(apps=[self.app([second], match=["path:/x"])])
        gateway.hup()
        wait.until(lambda: self.ask(path="/x").body == b"second", "the second of two reloads")
        before = gateway.count("request_failed")
        complain()
        self.assertEqual(gateway.count("request_failed"), before)
        gateway.reload(log="level = debug to = stderr")
        complain()
        gateway.wait_line("event=request_failed", before + 1)

    def test_log_target(self):
        gateway = self.launch()
        path = self.scope.path("new.log")
        gateway.write(log='level = info to = "%s"' % path)
        gateway.hup()
        wait.until(lambda: os.path.exists(path) and "event=reloaded" in open(path).read(), "the log in its new place")
        self.assertEqual(gateway.count("reloaded"), 0)
        gateway.reload(log="level = info to = stderr")

    def test_drain_timeout(self):
        gate = Gate()
        self.scope.at_end(gate.open)
        gateway = self.launch(node_more="drain-timeout = 600s")
        slow = self.backend("slow", gate)
        gateway.reload(apps=[self.app([slow])], node="drain-timeout = 200ms")
        self.assertEqual(gateway.lines("needs_restart"), [])
        client = self.client()
        client.start(cgi.params(query="gate"))
        slow.wait_requests(1)
        gateway.process.send(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)


class TestPidFile(ReloadCase):
    def read(self, path):
        with open(path) as f:
            return f.read()

    def test_written_and_removed(self):
        path = self.scope.path("run/weir.pid")
        gateway = self.launch()
        self.assertEqual(self.read(path), "%d\n" % gateway.pid)
        gateway.reload()
        self.assertEqual(self.read(path), "%d\n" % gateway.pid)
        gateway.stop()
        self.assertFalse(os.path.exists(path))

    def test_a_stale_one_is_overwritten_and_a_foreign_one_stays(self):
        path = self.scope.write("some.pid", "99999999\n")
        gateway = self.launch(node_more='pid-file = "%s"' % path)
        self.assertEqual(self.read(path), "%d\n" % gateway.pid)
        self.scope.write("some.pid", "1\n")
        gateway.stop()
        self.assertEqual(self.read(path), "1\n")

    def test_a_link_is_not_followed(self):
        target = self.scope.write("precious", "data")
        os.symlink(target, self.scope.path("link.pid"))
        gateway = self.launch(node_more='pid-file = "%s"' % self.scope.path("link.pid"))
        self.assertEqual(self.read(target), "data")
        self.assertEqual(self.read(self.scope.path("link.pid")), "%d\n" % gateway.pid)

    def test_not_written(self):
        gateway = self.launch(node_more='pid-file = "%s"' % self.scope.path("no/weir.pid"))
        gateway.wait_line("level=warn event=pid_file_not_written file=.*no/weir.pid")
        self.assertEqual(self.who(), "first")


class TestServiceManager(ReloadCase):
    """sd_notify(3)."""

    def manager(self, abstract=False):
        self.words = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.scope.at_end(self.words.close)
        path = self.scope.fresh("notify")
        self.words.bind("\0" + path if abstract else path)
        self.words.settimeout(wait.BOUND)
        return ("@" if abstract else "") + path

    def word(self):
        """The next one that is no sign of life."""
        while True:
            text = self.words.recv(4096).decode()
            if text != "WATCHDOG=1":
                return text

    def test_ready_reload_stop(self):
        for abstract in (False, True):
            with self.subTest(abstract=abstract):
                gateway = self.launch(env={"NOTIFY_SOCKET": self.manager(abstract)})
                self.assertEqual(self.word(), "READY=1")
                gateway.reload()
                self.assertRegex(self.word(), r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
                self.assertEqual(self.word(), "READY=1")
                gateway.refused(text="nonsense")
                self.assertRegex(self.word(), "^RELOADING=1\n")
                self.assertEqual(self.word(), "READY=1")
                gateway.stop()
                self.assertEqual(self.word(), "STOPPING=1")

    def test_signs_of_life(self):
        self.launch(env={"NOTIFY_SOCKET": self.manager(), "WATCHDOG_USEC": "200000"})
        self.assertEqual(self.word(), "READY=1")
        for _ in range(5):
            self.assertEqual(self.words.recv(4096), b"WATCHDOG=1")

    def test_not_for_others(self):
        """A watchdog of another process; and applications hear of none of this."""
        self.launch(apps_=[self.app(['backend "spawn:%s" { }' % apps.built("echo")])],
                    env={"NOTIFY_SOCKET": self.manager(), "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
        self.assertEqual(self.words.recv(4096), b"READY=1")
        child = wait.until(lambda: process.children(self.gateway.pid), "the application")[0]

        def environment():
            with open("/proc/%d/environ" % child, "rb") as f:
                return f.read()
        wait.until(lambda: b"echo" in open("/proc/%d/cmdline" % child, "rb").read(), "the application's own program")
        self.assertNotIn(b"NOTIFY_SOCKET", environment())
        self.assertNotIn(b"WATCHDOG", environment())
        self.gateway.stop()
        self.assertEqual(self.words.recv(4096), b"STOPPING=1")

    def test_nobody_listens(self):
        gateway = self.launch(env={"NOTIFY_SOCKET": self.scope.path("nobody"), "WATCHDOG_USEC": "100000"})
        gateway.wait_line("event=notify_failed")
        self.assertEqual(self.who(), "first")
