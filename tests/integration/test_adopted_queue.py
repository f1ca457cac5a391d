"""Requests that wait for a claim on an adopted session, and what happens around them meanwhile: the end of weir, a reload,
an app that is stopped, a backend that dies, clients that go, bodies that arrive."""
import os
import signal
import socket
import threading

from harness import address, fcgi, resp, stall, wait, weir
from harness.backend import Backend, Gate
from harness.case import Case
from harness.reload import Reloading
from harness.site import Front

ADMIN = "admin { open = always }\n"


class QueueCase(Case):
    """One app. A request whose query is a name waits at the gate of that name. Whoever waits for a claim has not come to
    the application."""

    workers = 3
    lock_wait = "60s"

    def setUp(self):
        super().setUp()
        self.where, self.sessions = self.scope.unix("f"), self.scope.unix("s")
        self.gates, self.lock = {}, threading.Lock()
        self.backend = Backend(self.scope, self.act)

    def gate(self, name):
        with self.lock:
            if name not in self.gates:
                self.gates[name] = Gate()
                self.scope.at_end(self.gates[name].open)
            return self.gates[name]

    def act(self, x):
        if name := x.params["QUERY_STRING"]:
            self.gate(name).wait()
        x.answer("done")

    def app(self, options="", session=True, more=""):
        section = 'mode = adopted cookie = SID key = "K:" socket = "%s" lock-wait = %s %s' % (
            self.sessions, self.lock_wait, options)
        return weir.app("shop", [self.backend.text("connections = 32")], "timeout = 60s " + more,
                        section if session else None)

    def launch(self, options="", **kwargs):
        self.gateway = Reloading(self.scope, [(self.where, "fastcgi", "")], [self.app(options)],
                                 **{"workers": self.workers, "tail": ADMIN, **kwargs})
        self.gateway.wait_line("event=started")
        self.front = Front(self.where, "fastcgi", self.gateway)
        return self.gateway

    def begin(self, cookie, query="", client=None, request_id=1, **more):
        """Sent, and heard by weir."""
        if client is None:
            client = self.front.client()
            self.scope.at_end(client.close)
        client.start(self.front.params(query, cookie=cookie, **more), request_id=request_id)
        client.send(fcgi.record(fcgi.GET_VALUES, 0))  # its answer says that what was sent before was read
        while 0 not in client.answers:
            client._take()
        del client.answers[0]
        return client

    def stand(self, cookie, query, **more):
        """At its gate."""
        before = self.reached
        client = self.begin(cookie, query, **more)
        self.backend.wait_requests(before + 1)
        return client

    @property
    def reached(self):
        return len(self.backend.requests)

    def check_answers(self, *clients, status=200):
        for client in clients:
            answer = client.response()
            self.assertEqual((answer.status, answer.complete), (status, True), answer)

    def check_reached(self, count):
        """Nobody else has come to the application, of all that weir has heard of."""
        self.check_answers(self.begin("other=x"))
        self.assertEqual(self.reached, count + 1)


class TestTheEndOfWeir(QueueCase):
    def queue(self, cookie, count=6):
        """On all workers."""
        holder = self.stand(cookie, "run")
        return holder, [self.begin(cookie) for _ in range(count)]

    def test_term(self):
        """Who waits is part of what runs, and is served, one after the other."""
        gateway = self.launch(node_more="drain-timeout = 60s")
        holder, waiting = self.queue("SID=a")
        gateway.process.send(signal.SIGTERM)
        wait.until(lambda: address.refuses(self.where), "new connections are refused")
        self.assertEqual(self.reached, 1)
        self.gate("run").open()
        self.check_answers(holder, *waiting)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertEqual(self.backend.max_running, 1)

    def check_given_up(self, *numbers):
        """A claim passes from one that is given up to the next, of another worker, which is given up as well: weir's own
        checks see to it that none is left at its end."""
        for i in range(5):
            before = self.reached
            gateway = self.launch()
            holder, waiting = self.queue("SID=a; SID=b")
            for number in numbers:
                gateway.process.send(number)
                wait.until(lambda: address.refuses(self.where), "new connections are refused")
            self.assertEqual(gateway.wait_exit(), 0)
            for client in [holder, *waiting]:
                self.assertFalse(client.response().complete)
            self.assertEqual(self.reached, before + 1)

    def test_int(self):
        self.check_given_up(signal.SIGINT)

    def test_second_term(self):
        self.check_given_up(signal.SIGTERM, signal.SIGTERM)


class TestReload(QueueCase):
    def test_who_waits_goes_by_what_it_has_begun_with(self):
        """lock = shared comes while one waits: it still waits; who comes with the new file does not."""
        gateway = self.launch()
        holder = self.stand("SID=a", "run")
        waiting = self.begin("SID=a")
        gateway.reload(apps=[self.app("lock = shared")])
        young = [self.begin("SID=a") for _ in range(3)]
        self.check_answers(*young)
        self.check_reached(4)
        self.assertEqual(gateway.count("generation_ended"), 0)
        self.gate("run").open()
        self.check_answers(holder, waiting)
        gateway.wait_ended(1)

    def test_who_waits_in_an_older_one_keeps_its_place(self):
        """Claims know no generations."""
        gateway = self.launch()
        holder = self.stand("SID=a", "run")
        old = self.begin("SID=a", "old")
        gateway.reload(apps=[self.app("max-size = 2M")])
        young = self.begin("SID=a")
        self.gate("run").open()
        self.check_answers(holder)
        self.backend.wait_requests(2)
        self.check_reached(2)
        self.assertEqual(self.backend.requests[1].params["QUERY_STRING"], "old")
        self.gate("old").open()
        self.check_answers(old, young)
        gateway.wait_ended(1)

    def test_the_socket_is_there_for_who_waits(self):
        """The app gives its session section up: who waits has not run yet, and will have a session to store."""
        gateway = self.launch()
        holder = self.stand("SID=a", "run")
        waiting = self.begin("SID=a", "late")
        gateway.reload(apps=[self.app(session=False)])
        self.gate("run").open()
        self.check_answers(holder)
        self.backend.wait_requests(2)
        with resp.Client(self.sessions) as client:
            self.assertEqual(client.ask("SET", "K:a", "x", "EX", 100), "OK")
        self.gate("late").open()
        self.check_answers(waiting)
        gateway.wait_ended(1)
        wait.until(lambda: not os.path.exists(self.sessions[5:]), "the socket has gone")


class TestStop(QueueCase):
    def test_an_app_that_is_stopped(self):
        """Each is refused when its turn comes, and passes the claim on."""
        gateway = self.launch()
        holder = self.stand("SID=a", "run")
        waiting = [self.begin("SID=a") for _ in range(6)]
        gateway.admin("app stop shop")
        self.gate("run").open()
        self.check_answers(holder)
        self.check_answers(*waiting, status=503)
        self.assertEqual(self.reached, 1)
        gateway.admin("app start shop")
        self.check_answers(self.begin("SID=a"))


class TestTwoCookies(QueueCase):
    """A request that has one claim and waits for the other: what it has must not be lost with it."""

    def setUp(self):
        super().setUp()
        # Whichever of the two comes first in the order of ids: in one of the two rounds something is held.
        self.rounds = (("SID=a", "SID=b"), ("SID=b", "SID=a"))

    def half(self, held, free, **kwargs):
        """(who has `held`, who wants both)"""
        return self.stand(held, "run-" + held), self.begin("%s; %s" % (held, free), **kwargs)

    def check_over(self, holder, held, free):
        self.check_answers(self.begin(free))
        before = self.reached
        waiting = self.begin(held)
        self.check_reached(before)
        self.gate("run-" + held).open()
        self.check_answers(holder, waiting)

    def test_its_client_goes(self):
        self.launch()
        for held, free in self.rounds:
            holder, both = self.half(held, free)
            both.close()
            self.check_over(holder, held, free)

    def test_it_is_taken_back(self):
        self.launch()
        for held, free in self.rounds:
            holder, both = self.half(held, free)
            both.send(fcgi.record(fcgi.ABORT, 1))
            both.response()
            self.check_over(holder, held, free)

    def test_it_has_waited_for_too_long(self):
        self.lock_wait = "300ms"
        self.launch()
        for held, free in self.rounds:
            holder, both = self.half(held, free)
            self.check_answers(both, status=503)
            self.check_answers(self.begin(free))
            self.gate("run-" + held).open()
            self.check_answers(holder)
            self.check_answers(self.begin(held))

    def test_it_has_its_turn(self):
        """Then both are its own."""
        self.launch()
        for n, (held, free) in enumerate(self.rounds):
            holder, both = self.half(held, free, query="both%d" % n)
            before = self.reached
            self.gate("run-" + held).open()
            self.check_answers(holder)
            self.backend.wait_requests(before + 1)
            waiting = [self.begin(held), self.begin(free)]
            self.check_reached(before + 1)
            self.gate("both%d" % n).open()
            self.check_answers(both, *waiting)


class TestDisk(QueueCase):
    """A request has its claims, and waits for its sessions, which are on a disk that does not answer."""

    def launch(self, *args, **kwargs):
        gateway = super().launch(*args, **kwargs)
        with resp.Client(self.sessions) as client:
            for name in "ab":
                self.assertEqual(client.ask("SET", "K:" + name, "x", "EX", 1000), "OK")
        gateway.wait_line("event=store_ready")
        for session in gateway.admin("sessions")["sessions"]:
            self.assertEqual(gateway.admin("session demote " + session["session"])["in"], "disk")
        return gateway

    def check_in_memory(self, *names):
        with resp.Client(self.sessions) as client:
            self.assertEqual([client.ask("GET", "K:" + n) for n in names], [b"x"] * len(names))

    def test_it_is_waited_for(self):
        gateway = self.launch()
        with stall.stalled(gateway.pid, "weir-store"):
            both = self.begin("SID=a; SID=b")
            next_ = self.begin("SID=b")
            self.check_reached(0)
        self.check_answers(both, next_)
        self.check_in_memory("a", "b")

    def test_its_client_goes(self):
        gateway = self.launch()
        with stall.stalled(gateway.pid, "weir-store"):
            both = self.begin("SID=a; SID=b")
            next_ = [self.begin("SID=a; SID=b") for _ in range(4)]
            both.close()
            next_.pop().close()
            self.check_reached(0)
        self.check_answers(*next_)
        self.assertEqual(self.backend.max_running, 1)
        self.check_in_memory("a", "b")

    def test_it_takes_too_long(self):
        self.lock_wait = "300ms"
        gateway = self.launch()
        with stall.stalled(gateway.pid, "weir-store"):
            self.check_answers(self.begin("SID=a; SID=b"), status=503)
            self.check_answers(self.begin("SID=b; SID=a"), status=503)
            self.check_reached(0)
        self.check_in_memory("a", "b")
        self.check_answers(self.begin("SID=a; SID=b"), self.begin("SID=a"))

    def test_weir_ends(self):
        gateway = self.launch()
        with stall.stalled(gateway.pid, "weir-store"):
            waiting = [self.begin("SID=a; SID=b") for _ in range(4)]
            gateway.process.send(signal.SIGINT)
            for client in waiting:
                self.assertFalse(client.response().complete)
        self.assertEqual(gateway.wait_exit(), 0)


class TestRepeated(QueueCase):
    def test_the_claim_is_kept(self):
        """A connection that was kept is closed under a request, which is sent again: the next one still waits."""
        self.launch(workers=1)
        self.check_answers(self.begin("SID=a"))
        seen = []

        def act(x):
            seen.append(x.params["QUERY_STRING"])
            if len(seen) == 1:
                self.gate("dies").wait()
                x.close()
            elif len(seen) == 2:
                self.gate("again").wait()
                x.answer("done")
            else:
                x.answer("done")
        self.backend.handler = act
        first = self.stand("SID=a", "first")
        second = self.begin("SID=a", "second")
        self.gate("dies").open()
        wait.until(lambda: len(seen) == 2, "it is sent again")
        self.check_answers(self.begin("SID=another", "other"))
        self.assertEqual(seen, ["first", "first", "other"])
        self.gate("again").open()
        self.check_answers(first, second)
        self.assertEqual(seen, ["first", "first", "other", "second"])


class Upload:
    """A client that sends a body as fast as it is taken."""

    def __init__(self, client, size, request_id=1):
        self.client, self.size, self.id, self.sent = client, size, request_id, 0
        self.failed = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        piece = fcgi.stream(fcgi.STDIN, self.id, b"u" * 32000, final=False)
        try:
            for _ in range(self.size // 32000):
                self.client.send(piece)
                self.sent += 32000
            self.client.send(fcgi.record(fcgi.STDIN, self.id))
        except OSError:
            self.failed = True


class TestBodies(QueueCase):
    """What arrives for a request that waits is read ahead up to a bound, and not at all above it."""

    workers = 1
    size = 16000000

    def upload(self, cookie, query="", client=None, request_id=1):
        """Its variables are heard; its body is on its way."""
        if client is None:
            client = self.front.client()
            self.scope.at_end(client.close)
        variables = self.front.params(query, cookie=cookie, method="POST", body_length=self.size)
        client.send(fcgi.begin(request_id, fcgi.RESPONDER, fcgi.KEEP_CONN),
                    fcgi.stream(fcgi.PARAMS, request_id, fcgi.pairs(variables)))
        return Upload(client, self.size, request_id)

    def settle(self, uploads):
        """Until weir takes no more: it answers others, and nothing has moved meanwhile."""
        still, last = 0, None
        while still < 20:
            self.check_answers(self.begin("other=x"))
            now = [(u.sent, u.failed) for u in uploads]
            still = still + 1 if now == last else 0
            last = now

    def test_read_ahead_has_a_bound(self):
        self.launch("", program=weir.release_binary())
        holder = self.stand("SID=a", "run")
        before = self.gateway.rss_kib()
        uploads = [self.upload("SID=a") for _ in range(6)]
        self.settle(uploads)
        self.assertLess(max(u.sent for u in uploads), 2000000)
        self.assertLess(self.gateway.rss_kib() - before, 6 * 1024)
        reached = self.reached
        self.check_reached(reached)
        self.gate("run").open()
        self.check_answers(holder, *[u.client for u in uploads])
        self.assertEqual([len(x.body) for x in self.backend.requests[reached + 1:]], [self.size] * 6)

    def test_who_goes_in_the_middle_of_its_body(self):
        """It is heard of at once, although the body is not read: its turn never comes."""
        self.launch()
        holder = self.stand("SID=a", "run")
        upload = self.upload("SID=a")
        self.settle([upload])
        next_ = self.begin("SID=a")
        upload.client.sock.shutdown(socket.SHUT_WR)
        self.assertTrue(upload.client.closed())
        upload.thread.join(wait.BOUND)
        self.gate("run").open()
        self.check_answers(holder, next_)
        self.assertNotIn("POST", [x.params["REQUEST_METHOD"] for x in self.backend.requests])

    def test_on_a_connection_with_others(self):
        """It cannot be stopped: what is too much ends the request, and the claim of nobody else."""
        self.launch()
        client = self.stand("SID=a", "run")
        upload = self.upload("SID=a", client=client, request_id=2)
        answer = client.response(2)
        self.assertEqual(answer.status, 503)
        self.gateway.wait_line("reason=.body arrives faster than the backend is free")
        upload.thread.join(wait.BOUND)
        next_ = self.begin("SID=a")
        before = self.reached
        self.check_reached(before)
        self.gate("run").open()
        self.check_answers(client, next_)
