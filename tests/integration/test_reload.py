"""SIGHUP: from one configuration to the next, without a failed request, a leak or a surprise."""
import json
import os
import pwd
import shutil
import signal
import unittest

from harness import address, apps, cgi, fcgi, process, servers, wait, web, weir
from harness.backend import Backend, Gate
from harness.case import Parallel
from harness.reload import Load, ReloadCase, Reloading, asker, status

ROOT = os.geteuid() == 0


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
