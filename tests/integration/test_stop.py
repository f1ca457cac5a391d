"""What an operator stops and drains, while requests run, and over reloads."""
import json
import os
import signal

from harness import apps, cgi, process, wait
from harness.backend import Backend, Gate
from harness.case import Parallel
from harness.reload import Load, Refused, ReloadCase, asker, status

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
