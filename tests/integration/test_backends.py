"""How the gateway treats the applications: connections, queues, failures, processes of its own."""
import os
import select
import signal
import socket
import threading
import time

from harness import address, apps, cgi, fcgi, process, wait, weir
from harness.backend import Backend
from harness.case import Case, Parallel
from harness.site import Front, Site


class TestConnections(Case):
    def test_none_ahead_of_need(self):
        """A2: PHP-FPM closes a connection that stays silent, and each one pins a process."""
        site = Site(self.scope, None, workers=1)
        self.assertEqual(len(site.backend.connections), 0)
        for _ in range(3):
            self.assertEqual(site.ask("").status, 200)
        self.assertEqual(site.backend.max_open, 1)

    def test_no_request_of_its_own(self):
        """A3: a GET_VALUES would cost a PHP process its connection."""
        first = []

        def look(connection):
            first.append(connection.sock.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL)[1:2])
        site = Site(self.scope, None)
        site.backend.on_connect = look
        self.assertEqual(site.ask("").status, 200)
        self.assertEqual(first, [bytes([fcgi.BEGIN])])

    def test_kept(self):
        site = Site(self.scope, None, workers=1)
        for _ in range(20):
            site.ask("")
        self.assertEqual(len(site.backend.connections), 1)
        self.assertTrue(all(x.flags & fcgi.KEEP_CONN for x in site.backend.requests))

    def test_not_kept(self):
        site = Site(self.scope, None, backend="keep-alive = no", workers=1)
        for _ in range(5):
            site.ask("")
        self.assertEqual(len(site.backend.connections), 5)
        self.assertFalse(any(x.flags & fcgi.KEEP_CONN for x in site.backend.requests))
        site.backend.wait_open(0)

    def test_idle_time_out(self):
        site = Site(self.scope, None, backend="idle-timeout = 200ms")
        site.ask("")
        site.backend.wait_open(0)
        self.assertEqual(site.ask("").status, 200)

    def test_at_most_connections_and_one_request_on_each(self):
        """A1, A4: over all workers; low ids; nothing follows a request before its answer has ended."""
        problems = []

        def handler(x):
            if select.select([x.connection.sock], [], [], 0.02)[0]:
                problems.append("something came behind a request: %r" % x.connection.sock.recv(64, socket.MSG_PEEK))
            if x.id not in (1, 2):
                problems.append("request id %d" % x.id)
            x.answer(x.params["QUERY_STRING"])
        site = Site(self.scope, None, backend="connections = 3", handler=handler, workers=2)
        parallel = Parallel()
        for i in range(60):
            parallel.start(site.ask, "n=%d" % i)
        for i, answer in enumerate(parallel.join()):
            self.assertEqual((answer.status, answer.body), (200, b"n=%d" % i))
        self.assertEqual(problems, [])
        self.assertLessEqual(site.backend.max_open, 3)

    def test_an_idle_connection_of_another_worker_is_no_obstacle(self):
        """A1: one connection in all, requests on all workers: none may wait for an idle connection to time out."""
        site = Site(self.scope, None, backend="connections = 1", workers=4)
        began = time.monotonic()
        for i in range(40):
            self.assertEqual(site.ask("").status, 200)
        self.assertEqual(site.backend.max_open, 1)
        self.assertLess(time.monotonic() - began, 10)

    def test_many_clients_and_one_connection(self):
        site = Site(self.scope, None, backend="connections = 1", workers=4)
        parallel = Parallel()
        for _ in range(16):
            parallel.start(lambda: [site.ask("").status for _ in range(10)])
        self.assertEqual({s for statuses in parallel.join() for s in statuses}, {200})
        self.assertEqual(site.backend.max_open, 1)

    def test_empty_body(self):
        """A5: the empty STDIN record comes also without a body (the backend answers only then)."""
        site = Site(self.scope, None)
        self.assertEqual(site.ask("", method="POST", body_length=0).status, 200)
        self.assertEqual(site.ask("", method="GET").status, 200)
        self.assertEqual(site.backend.requests[0].body, b"")

    def test_bodies_of_all_sizes(self):
        """A9: record lengths and their padding at the edges of 16 bits."""
        site = Site(self.scope, None, handler=lambda x: x.answer(x.body))
        scgi = Site(self.scope, None, handler=lambda x: x.answer(x.body), protocol="scgi")
        for s in (site, scgi):
            for size in (1, 7, 8, 9, 4095, 65526, 65527, 65528, 65534, 65535, 65536, 131070, 131071, 200001):
                body = os.urandom(size)
                with self.subTest(size=size, backend=s.backend.protocol):
                    answer = s.ask("", body=body)
                    self.assertEqual((answer.status, len(answer.body)), (200, size))
                    self.assertTrue(answer.body == body)

    def test_records_of_the_answer_in_pieces(self):
        """The answer's records come in any cut, with padding."""
        record = fcgi.record(fcgi.STDOUT, 1, b"Content-Type: text/plain\r\n\r\nhello", padding=255)
        record += fcgi.record(fcgi.STDERR, 1, b"x") + fcgi.record(fcgi.STDOUT, 1, b" world", padding=3)
        record += fcgi.record(fcgi.STDOUT, 1) + fcgi.record(fcgi.STDERR, 1) + fcgi.end()

        def handler(x):
            for i in range(len(record)):
                x.raw(record[i:i + 1])
        answer = Site(self.scope, None, handler=handler).ask("")
        self.assertEqual((answer.status, answer.body, answer.complete), (200, b"hello world", True))

    def test_path_info_is_passed_as_it_came(self):
        """A12"""
        site = Site(self.scope, None)
        for value in ("/a/../b", "//", "/%0a\x01", "/index.php/\xff", ""):
            self.assertEqual(site.seen("", PATH_INFO=value).get("PATH_INFO", ""), value)

    def test_records_stay_whole(self):
        """A8: no pair is split across PARAMS records where it fits in one."""
        site = Site(self.scope, None, listen="max-params = 1M")
        more = {"X_%d" % i: "v" * (5000 + i) for i in range(40)}
        seen = site.seen("", **more)
        self.assertEqual({k: seen[k] for k in more}, more)
        for content in site.backend.requests[-1].connection.raw_params:
            fcgi.parse_pairs(content)

    def test_roles(self):
        """A15"""
        def handler(x):
            if x.role == fcgi.AUTHORIZER:
                x.out(b"Status: 200 OK\r\nVariable-USER: joe\r\n\r\n")
                x.end()
            else:
                x.answer(b"%d:%s:%s" % (x.role, x.body, x.data))
        site = Site(self.scope, None, handler=handler)
        with site.client() as client:
            answer = client.ask(site.params(), role=fcgi.AUTHORIZER)
            self.assertEqual((answer.status, answer.header("Variable-USER")), (200, "joe"))
            # Some web servers end a body that there is not.
            client.start(site.params(), role=fcgi.AUTHORIZER)
            client.send(fcgi.record(fcgi.STDIN, 1))
            self.assertEqual(client.response().status, 200)
            client.send(fcgi.request(site.params(FCGI_DATA_LENGTH="4"), b"", role=fcgi.FILTER),
                        fcgi.stream(fcgi.DATA, 1, b"data"))
            self.assertEqual(client.response().body, b"3::data")
            client.send(fcgi.request(site.params(method="POST", body_length=4, FCGI_DATA_LENGTH="200000"), b"body",
                                     role=fcgi.FILTER), fcgi.stream(fcgi.DATA, 1, b"d" * 200000))
            self.assertEqual(client.response().body, b"3:body:" + b"d" * 200000)

    def test_authorizers_keep_theirs(self):
        site = Site(self.scope, None, workers=1)
        with site.client() as client:
            for _ in range(10):
                self.assertEqual(client.ask(site.params(), role=fcgi.AUTHORIZER).status, 200)
        self.assertEqual(len(site.backend.connections), 1)


class TestStandardError(Case):
    def test_logged_escaped_and_not_in_the_answer(self):
        """A13"""
        def handler(x):
            x.err(b"warning: \x1b[31mred\x1b[0m \"quoted\" level=info event=forged\n")
            x.answer("fine")
        site = Site(self.scope, None, handler=handler)
        answer = site.ask("")
        self.assertEqual((answer.status, answer.body), (200, b"fine"))
        line, = site.weir.wait_line(r"warning: ")
        self.assertRegex(line, r"\\x1[bB]\[31mred")
        self.assertNotIn("\x1b", line)
        self.assertNotIn('"quoted"', line.replace('\\"', "").replace("\\x22", ""))
        self.assertEqual(site.weir.lines(r"^event=forged"), [])

    def test_bounded(self):
        def handler(x):
            for _ in range(40):
                x.err(b"noise " * 10000)
            x.answer("fine")
        site = Site(self.scope, None, handler=handler)
        self.assertEqual(site.ask("").body, b"fine")
        self.assertLess(len(site.weir.process.log()), 600000)
        self.assertLess(max(map(len, site.weir.process.log().splitlines())), 4200)

    def test_between_the_output(self):
        def handler(x):
            x.out(b"Content-Type: text/plain\r\n")
            x.err(b"in the head")
            x.out(b"\r\none ")
            x.err(b"in the body")
            x.out(b"two")
            x.end()
        site = Site(self.scope, None, handler=handler)
        self.assertEqual(site.ask("").body, b"one two")
        site.weir.wait_line("in the head")
        site.weir.wait_line("in the body")


class TestQueue(Case):
    def test_first_come_first_served(self):
        site = Site(self.scope, None, backend="connections = 1", workers=1)
        with site.client() as client:
            client.start(site.params("gate=g"), request_id=1)
            site.wait_at("g")
            for i in range(2, 12):
                client.start(site.params("", path="/%d" % i), request_id=i)
            site.open("g")
            for i in range(1, 12):
                self.assertEqual(client.response(i).status, 200)
        self.assertEqual([x.params["SCRIPT_NAME"] for x in site.backend.requests[1:]],
                         ["/%d" % i for i in range(2, 12)])

    def test_queue_wait(self):
        site = Site(self.scope, None, "queue-wait = 300ms", backend="connections = 1")
        with site.client() as client:
            client.start(site.params("gate=g"))
            site.wait_at("g")
            began = time.monotonic()
            answer = site.ask("")
            self.assertEqual(answer.status, 503, answer)
            self.assertGreaterEqual(int(answer.header("Retry-After")), 1)
            self.assertGreaterEqual(time.monotonic() - began, 0.25)
            site.open("g")
            self.assertEqual(client.response().status, 200)
        self.assertEqual(site.ask("").status, 200)

    def test_queue_full(self):
        site = Site(self.scope, None, "queue = 2 queue-wait = 30s", backend="connections = 1", workers=1)
        with site.client() as client:
            client.start(site.params("gate=g"), request_id=1)
            site.wait_at("g")
            for i in (2, 3, 4):
                client.start(site.params(""), request_id=i)
            answer = client.response(4)  # at once, while the others wait
            self.assertEqual(answer.status, 503, answer)
            self.assertGreaterEqual(int(answer.header("Retry-After")), 1)
            site.open("g")
            self.assertEqual([client.response(i).status for i in (1, 2, 3)], [200] * 3)

    def test_client_that_goes_while_it_queues(self):
        site = Site(self.scope, None, "queue-wait = 30s", backend="connections = 1", workers=1)
        with site.client() as client:
            client.start(site.params("gate=g"), request_id=1)
            site.wait_at("g")
            client.start(site.params("", path="/gone"), request_id=2)
            client.send(fcgi.record(fcgi.ABORT, 2))
            client.response(2)
            client.start(site.params("", path="/there"), request_id=3)
            site.open("g")
            self.assertEqual(client.response(3).status, 200)
        self.assertNotIn("/gone", [x.params["SCRIPT_NAME"] for x in site.backend.requests])

    def test_full_backlog(self):
        """A7: a Unix socket whose backlog is full answers EAGAIN. That is no failure of the backend."""
        where = self.scope.unix("full")
        listener = address.listen(where, 0)
        self.scope.at_end(listener.close)
        stuffed = []
        while True:
            s = socket.socket(socket.AF_UNIX)
            s.setblocking(False)
            try:
                s.connect(where[5:])
            except BlockingIOError:
                s.close()
                break
            stuffed.append(s)
        backend = Backend(self.scope, where=where, listening=False)
        site = Site(self.scope, None, "queue-wait = 20s", backends=[backend])
        with site.client() as client:
            client.start(site.params(""))
            # It has tried and waits when it has taken one more request's turn to do so.
            self.assertEqual(select.select([client.sock], [], [], 0.5)[0], [], "an answer without a backend")
            for s in stuffed:
                s.close()
            thread = threading.Thread(target=backend._accept, args=(listener,), daemon=True)
            thread.start()
            self.assertEqual(client.response().status, 200)

    def test_full_backlog_for_too_long(self):
        where = self.scope.unix("full")
        listener = address.listen(where, 0)
        self.scope.at_end(listener.close)
        s = socket.socket(socket.AF_UNIX)
        self.scope.at_end(s.close)
        s.connect(where[5:])
        backend = Backend(self.scope, where=where, listening=False)
        site = Site(self.scope, None, "queue-wait = 400ms", backends=[backend])
        answer = site.ask("")
        self.assertEqual(answer.status, 503, answer)
        self.assertGreaterEqual(int(answer.header("Retry-After")), 1)


class TestSeveral(Case):
    def two(self, options=("", ""), handler=None, **kwargs):
        a, b = (Backend(self.scope, handler or self.held) for _ in range(2))
        self.gate = threading.Event()
        self.scope.at_end(self.gate.set)
        where = self.scope.unix("f")
        app = weir.app("main", [a.text(options[0]), b.text(options[1])], session=None)
        site = Front(where, "fastcgi", weir.Weir(self.scope, [(where, "fastcgi", "")], [app], **kwargs))
        return site, a, b

    def held(self, x):
        if "gate" in x.params["QUERY_STRING"]:
            self.gate.wait(60)
        x.answer()

    def together(self, site, count, query="gate"):
        client = site.client()
        self.scope.at_end(client.close)
        for i in range(1, count + 1):
            client.start(site.params(query), request_id=i)
        return client

    def burst(self, site, count):
        with site.client() as client:
            for i in range(1, count + 1):
                client.start(site.params(""), request_id=i)
            return [client.response(i) for i in range(1, count + 1)]

    def test_least_connections(self):
        site, a, b = self.two(("connections = 50", "connections = 50"))
        client = self.together(site, 20)
        wait.until(lambda: a.running + b.running == 20, "20 requests at the backends")
        self.assertEqual((a.running, b.running), (10, 10))
        self.gate.set()
        self.assertEqual({client.response(i).status for i in range(1, 21)}, {200})

    def test_weights(self):
        site, a, b = self.two(("connections = 100 weight = 3", "connections = 100"))
        client = self.together(site, 40)
        wait.until(lambda: a.running + b.running == 40, "40 requests at the backends")
        self.assertAlmostEqual(a.running, 30, delta=2)
        self.gate.set()
        self.assertEqual({client.response(i).status for i in range(1, 41)}, {200})

    def test_what_one_cannot_take_the_other_does(self):
        site, a, b = self.two(("connections = 1", "connections = 8"))
        self.together(site, 9)
        wait.until(lambda: (a.running, b.running) == (1, 8), lambda: "1 and 8 requests: %d %d" % (a.running, b.running))
        self.gate.set()

    def test_one_refuses(self):
        site, a, b = self.two(("backoff = 300ms backoff-max = 300ms", ""))
        a.refuse()
        for i in range(20):
            self.assertEqual(site.ask("", body=b"x" if i % 2 else b"").status, 200)
        self.assertEqual((len(a.requests), len(b.requests)), (0, 20))
        a.listen()

        def back():
            for answer in self.burst(site, 8):
                self.assertEqual(answer.status, 200)
            return a.requests
        wait.until(back, "requests at the backend that came back", pause=0.05)

    def test_left_alone(self):
        """After `fails` failures nobody is sent there for a while."""
        knocks = []

        def slam(connection):
            knocks.append(connection)
            return False
        site, a, b = self.two(("fails = 2 backoff = 30s", ""), workers=1)
        a.on_connect = slam
        for _ in range(30):
            self.assertEqual(site.ask("").status, 200)
        self.assertLessEqual(len(knocks), 4)
        self.assertGreaterEqual(len(knocks), 1)

    def test_all_down_and_up_again(self):
        site, a, b = self.two(("fails = 1 backoff = 100ms backoff-max = 200ms",) * 2)
        a.refuse()
        b.refuse()
        for _ in range(5):
            self.assertIn(site.ask("").status, (502, 503))
        a.listen()
        wait.until(lambda: site.ask("").status == 200, "an answer after the recovery", pause=0.05)

    def test_a_connection_that_does_not_come_up(self):
        """A TCP address whose backlog is full: the connection hangs until connect-timeout."""
        where = address.tcp()
        listener = address.listen(where, 0)
        self.scope.at_end(listener.close)
        fill = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(address.split(where)[1])
            fill.append(s)
            self.scope.at_end(s.close)
        b = Backend(self.scope)
        app = weir.app("main", ['backend "%s" { connect-timeout = 300ms fails = 1 backoff = 30s }' % where, b.text()],
                       session=None)
        front = self.scope.unix("f")
        weir.Weir(self.scope, [(front, "fastcgi", "")], [app])
        for _ in range(4):
            with fcgi.Client(front) as client:
                self.assertEqual(client.ask(cgi.params()).status, 200)

    def test_one_dies_while_many_wait(self):
        """The requests in the queue go to the one that lives, not one by one into the other's grave."""
        def slow(x):
            time.sleep(0.05)
            x.answer()

        def die(x):
            time.sleep(0.1)
            x.close()
        good, bad = Backend(self.scope, slow), Backend(self.scope, die)
        options = "connections = 1 fails = 1 backoff = 50s backoff-max = 60s"
        where = self.scope.unix("f")
        app = weir.app("main", [good.text(options), bad.text(options)], "queue-wait = 30s", None)
        site = Front(where, "fastcgi", weir.Weir(self.scope, [(where, "fastcgi", "")], [app], workers=2))
        parallel = Parallel()
        for _ in range(20):
            parallel.start(site.ask, "", body=b"hi", timeout=60)
        statuses = sorted(a.status for a in parallel.join())
        self.assertLessEqual(statuses.count(502), 1, statuses)
        self.assertEqual(set(statuses) - {200, 502}, set(), statuses)
        self.assertLessEqual(len(bad.requests), 1)

    def test_a_trial_although_all_wait_elsewhere(self):
        """The queue never runs dry; the backend that is back gets a request all the same."""
        def slow(x):
            time.sleep(0.05)
            x.answer()
        a, b = Backend(self.scope, slow), Backend(self.scope, slow, listening=False)
        options = "fails = 1 backoff = 200ms backoff-max = 200ms"
        where = self.scope.unix("f")
        app = weir.app("main", [a.text("connections = 1 " + options), b.text("connections = 8 " + options)],
                       "queue-wait = 30s", None)
        site = Front(where, "fastcgi", weir.Weir(self.scope, [(where, "fastcgi", "")], [app], workers=2))
        over = threading.Event()
        self.scope.at_end(over.set)
        parallel = Parallel()

        def visitor():
            seen = set()
            with site.client() as client:
                while not over.is_set():
                    seen.add(client.ask(site.params()).status)
            return seen
        for _ in range(6):
            parallel.start(visitor)
        site.weir.wait_line("backend_down")
        wait.until(lambda: len(a.requests) >= 10, "requests at the one that lives")
        b.listen()
        wait.until(lambda: b.requests, "a request at the one that came back", 8)
        over.set()
        self.assertEqual({s for seen in parallel.join() for s in seen}, {200})

    # What is repeated, and what is not.

    def die_once(self, before=None):
        """The first request of all dies at the backend that got it."""
        first = []

        def handler(x):
            if not first:
                first.append(x)
                if before:
                    x.out(before)
                return x.close()
            x.answer(x.params["REQUEST_METHOD"].encode() + b":" + x.body)
        return handler

    def test_get_is_repeated(self):
        site, a, b = self.two(handler=self.die_once())
        answer = site.ask("")
        self.assertEqual((answer.status, answer.body), (200, b"GET:"))
        self.assertEqual(len(a.requests) + len(b.requests), 2)

    def test_get_is_repeated_over_scgi(self):
        bad = Backend(self.scope, lambda x: x.close(), "scgi")
        good = Backend(self.scope, None, "scgi")
        where = self.scope.unix("f")
        app = weir.app("main", [bad.text("fails = 1000"), good.text()], session=None)
        site = Front(where, "fastcgi", weir.Weir(self.scope, [(where, "fastcgi", "")], [app]))
        self.assertEqual([site.ask("").status for _ in range(8)], [200] * 8)
        self.assertGreaterEqual(len(bad.requests), 1)

    def test_put_is_repeated_with_its_body(self):
        site, a, b = self.two(handler=self.die_once())
        answer = site.ask("", method="PUT", body=b"small")
        self.assertEqual((answer.status, answer.body), (200, b"PUT:small"))

    def test_post_is_not_repeated(self):
        site, a, b = self.two(handler=self.die_once())
        self.assertEqual(site.ask("", body=b"order").status, 502)
        self.assertEqual(len(a.requests) + len(b.requests), 1)

    def test_nothing_is_repeated_after_answer_bytes(self):
        for before in (b"Content-Type: text/plain\r\n\r\nhalf", b"Content-"):
            with self.subTest(before=before):
                site, a, b = self.two(handler=self.die_once(before))
                answer = site.ask("")
                self.assertEqual(len(a.requests) + len(b.requests), 1)
                self.assertTrue(answer.status == 502 or not answer.complete or answer.app_status, answer)

    def test_post_goes_elsewhere_when_refused(self):
        """Nothing was sent: nothing can have been done."""
        site, a, b = self.two()
        a.refuse()
        for _ in range(10):
            self.assertEqual(site.ask("", body=b"order").status, 200)
        self.assertEqual(len(b.requests), 10)


class TestStale(Case):
    """A6: a kept connection that the backend has closed meanwhile goes unnoticed."""

    def test_closed_while_idle(self):
        for where in (None, address.tcp()):
            site = Site(self.scope, None, workers=1)
            if where:
                backend = Backend(self.scope, where=where)
                site = Site(self.scope, None, workers=1, backends=[backend])
            else:
                backend = site.backend
            for i in range(20):
                with self.subTest(i=i, where=where):
                    self.assertEqual(site.ask("").status, 200)
                    backend.drop()
                    self.assertEqual(site.ask("", body=b"x" if i % 2 and not where else b"").status, 200)
                    backend.drop()

    def test_restarted(self):
        site = Site(self.scope, None, backend="backoff = 100ms backoff-max = 100ms")
        for _ in range(3):
            self.assertEqual(site.ask("").status, 200)
            site.backend.refuse()
            site.backend.drop()
            site.backend.listen()
            self.assertEqual(site.ask("").status, 200)

    def test_get_on_a_connection_that_dies_under_it(self):
        """The second request on a connection is met by its end, as with PHP's pm.max_requests."""
        def handler(x):
            if getattr(x.connection, "served", False):
                return x.close()
            x.connection.served = True
            x.answer()
        site = Site(self.scope, None, handler=handler, workers=1)
        for _ in range(10):
            self.assertEqual(site.ask("").status, 200)

    def test_end_request_and_close_at_once(self):
        """The backend ends its answer and closes although asked to keep."""
        def handler(x):
            x.answer("bye")
            x.close()
        site = Site(self.scope, None, handler=handler)
        for i in range(30):
            answer = site.ask("", body=b"x" if i % 2 else b"")
            self.assertEqual((answer.status, answer.body), (200, b"bye"))


class TestGarbage(Case):
    """What a backend sends never harms more than its own request."""

    def site(self, handler, protocol="fastcgi", **kwargs):
        def maybe(x):
            return handler(x) if "bad" in x.params["QUERY_STRING"] else site.act(x)
        site = Site(self.scope, None, handler=maybe, protocol=protocol, backend="fails = 1000", **kwargs)
        return site

    def check(self, data, statuses=(502,), protocol="fastcgi", close=True):
        def bad(x):
            x.raw(data)
            if close:
                x.close()
        site = self.site(bad, protocol)
        with site.client() as client:
            client.start(site.params("gate=other"))
            site.wait_at("other")
            for method in ("POST", "GET"):
                answer = site.ask("bad", method=method)
                self.assertIn(answer.status, statuses, answer)
            site.open("other")
            self.assertEqual(client.response().status, 200)
        self.assertEqual(site.ask("").status, 200)

    def test_no_fastcgi(self):
        self.check(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello", close=False)

    def test_random(self):
        self.check(b"\x01\x07" + os.urandom(3000).replace(b"\n", b"x"))

    def test_wrong_version(self):
        self.check(fcgi.record(fcgi.STDOUT, 1, b"Content-Type: text/plain\r\n\r\nx", version=2), close=False)

    def test_a_requests_record(self):
        self.check(fcgi.begin(), close=False)

    def test_id_zero(self):
        self.check(fcgi.record(fcgi.STDOUT, 0, b"Content-Type: text/plain\r\n\r\nx") + fcgi.end(0), close=False)

    def test_another_id(self):
        self.check(fcgi.record(fcgi.STDOUT, 2, b"Content-Type: text/plain\r\n\r\nx") + fcgi.end(2))

    def test_an_end_of_a_wrong_length(self):
        self.check(fcgi.record(fcgi.END, 1, b"xx"), close=False)

    def test_no_head(self):
        self.check(fcgi.record(fcgi.STDOUT, 1) + fcgi.end(), close=False)

    def test_an_unfinished_head(self):
        self.check(fcgi.record(fcgi.STDOUT, 1, b"Content-Type: text/plain\r\n") + fcgi.record(fcgi.STDOUT, 1) +
                   fcgi.end(), close=False)

    def test_a_head_without_end(self):
        """Over max-header."""
        self.check(fcgi.stream(fcgi.STDOUT, 1, b"X-Fill: " + b"y" * 70 + b"\r\n" * 1 + b"Z: " + b"z" * 300000),
                   close=False)

    def test_cut_record(self):
        self.check(fcgi.record(fcgi.STDOUT, 1, b"Content-Type: text/plain\r\n\r\n")[:20])

    def test_refusals(self):
        """END_REQUEST with OVERLOADED or CANT_MPX_CONN: no answer, and no silence either."""
        for status in (fcgi.CANT_MPX, fcgi.OVERLOADED, 77):
            with self.subTest(protocol_status=status):
                self.check(fcgi.end(1, 0, status), statuses=(502, 503), close=False)

    def test_a_role_that_the_backend_does_not_know(self):
        site = self.site(lambda x: x.raw(fcgi.end(1, 0, fcgi.UNKNOWN_ROLE)))
        answer = site.ask("bad")
        self.assertTrue(answer.status == 502 or answer.protocol_status == fcgi.UNKNOWN_ROLE, answer)

    def test_scgi_without_a_word(self):
        self.check(b"", protocol="scgi")

    def test_scgi_without_a_head(self):
        self.check(b"what is this", protocol="scgi")

    def test_more_after_the_end(self):
        """A second answer that nobody asked for must not become the next request's."""
        first = []

        def handler(x):
            answer = fcgi.record(fcgi.STDOUT, 1, b"Content-Type: text/plain\r\n\r\n" +
                                 x.params["QUERY_STRING"].encode()) + fcgi.end()
            if not first:
                first.append(x)
                # In one piece: what comes later, when the next request is already there, nobody could tell apart.
                answer += fcgi.record(fcgi.STDOUT, 1, b"Content-Type: text/plain\r\n\r\nevil") + fcgi.end()
            x.raw(answer)
        site = Site(self.scope, None, handler=handler, workers=1)
        for i in range(5):
            answer = site.ask("n=%d" % i)
            self.assertEqual((answer.status, answer.body), (200, b"n=%d" % i))

    def test_an_answer_before_the_body_was_read(self):
        """The answer comes early, the rest of the upload is of no interest."""
        def handler(x):
            x.answer("enough", status="413 Enough")
        site = Site(self.scope, None, handler=handler, stream=True)
        with site.client() as client:
            client.start(site.params("", method="POST", body_length=5), b"12345")
            answer = client.response()
            self.assertEqual((answer.status, answer.body), (413, b"enough"))
            self.assertEqual(client.ask(site.params("")).status, 413)

    def test_an_early_answer_and_a_slow_reader(self):
        """The application writes its whole answer and closes; the client sends more of its body, then reads."""
        size, written = 400000, threading.Event()

        def handler(x):
            next(x.body_pieces())
            x.answer(b"z" * size)
            x.close()
            written.set()
        site = Site(self.scope, None, handler=handler, stream=True, workers=1)
        head = fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(site.params("", method="POST", body_length=3000)))
        for more in (0, 1):
            written.clear()
            with self.subTest(more=more), site.client() as client:
                client.send(head, fcgi.record(fcgi.STDIN, 1, b"x" * 1000))
                written.wait(2)  # whether all of it fits between the two depends on the kernel's buffers
                if more:
                    client.send(fcgi.record(fcgi.STDIN, 1, b"x" * 1000))
                    time.sleep(0.3)  # it is written to the application, or fails to be
                answer = client.response()
                self.assertEqual((answer.complete, answer.status, len(answer.body)), (True, 200, size))
        self.assertEqual(site.weir.lines("backend_down"), [])

    def test_a_body_that_is_taken_slowly(self):
        """The application reads on, slowly and steadily, for longer than the time-out."""
        if weir.instrumented(weir.binary(), b"__tsan_init"):
            self.skipTest("the pauses are close to the time-out: too slow with ThreadSanitizer")

        def handler(x):
            got = 0
            while got < size:
                piece = x.connection.sock.recv(50000)
                if not piece:
                    return
                got += len(piece)
                time.sleep(0.1)
            x.answer("taken")
            x.close()
        size = 2000000  # the kernel tells of room in steps of 160 KB: each comes well within the time-out
        site = Site(self.scope, None, "timeout = 1s", handler=handler, stream=True, workers=1)
        answer = site.ask("", body=b"x" * size)
        self.assertEqual((answer.status, answer.body), (200, b"taken"))

    def test_a_second_answer_that_comes_late(self):
        """It belongs to nobody, least of all to the next request."""
        late, said = threading.Event(), threading.Event()

        def handler(x):
            first = not said.is_set()
            x.answer(x.params["QUERY_STRING"])
            if first:
                late.wait(wait.BOUND)
                said.set()
                x.answer("late")
        site = Site(self.scope, None, handler=handler, workers=1)
        self.assertEqual(site.ask("n=1").body, b"n=1")
        late.set()
        self.assertTrue(said.wait(wait.BOUND))
        site.backend.wait_open(0)
        for i in range(2, 6):
            self.assertEqual(site.ask("n=%d" % i).body, b"n=%d" % i)


class TestSpawn(Case):
    def site(self, program, options="", more="", protocol="fastcgi", check=True, workers=2):
        where = self.scope.unix("f")
        app = weir.app("main", ['backend "spawn:%s" { protocol = %s %s }' % (program, protocol, options)], more,
                       session=None)
        gateway = weir.Weir(self.scope, [(where, "fastcgi", "")], [app], workers=workers, check=check)
        return Front(where, "fastcgi", gateway)

    def script(self, text):
        path = self.scope.fresh("program")
        with open(path, "w") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod(path, 0o755)
        return path

    def pids(self, site, count):
        return wait.until(lambda: [p for p in process.children(site.weir.pid)] if
                          len(process.children(site.weir.pid)) == count else None,
                          lambda: "%d children (%s)" % (count, process.children(site.weir.pid)))

    def test_serves_and_ends(self):
        """The listening socket is fd 0, which is what libfcgi and every SCGI spawner expect."""
        site = self.site(apps.built("echo"), "processes = 2 connections = 2")
        pids = self.pids(site, 2)
        parallel = Parallel()
        for _ in range(2):
            parallel.start(site.seen, "sleep=0.3")
        got = parallel.join()
        self.assertEqual(sorted(r["pid"] for r in got), pids)
        site.weir.stop()
        self.assertEqual([p for p in pids if process.alive(p)], [])

    def test_scgi_program_with_arguments(self):
        python = process.find("python3")
        site = self.site("%s -B %s" % (python, os.path.join(apps.APPS, "app_scgi.py")), protocol="scgi")
        wait.until(lambda: site.ask("").status == 200, "an answer of the program")
        self.assertEqual(site.seen("")["app"], "scgi")

    def test_restart(self):
        site = self.site(apps.built("echo"), "processes = 2 connections = 2 backoff = 50ms backoff-max = 200ms")
        for _ in range(3):
            victim = self.pids(site, 2)[0]
            os.kill(victim, signal.SIGKILL)
            wait.until(lambda: victim not in process.children(site.weir.pid), "the end of the victim")
            self.pids(site, 2)
            self.assertEqual(site.ask("").status, 200)

    def test_dies_with_a_request(self):
        site = self.site(apps.built("echo"), "processes = 1 connections = 1 backoff = 50ms backoff-max = 200ms")
        self.pids(site, 1)
        self.assertEqual(site.ask("crash=before", method="POST").status, 502)
        answer = site.ask("crash=after", method="POST")
        self.assertTrue(not answer.complete or answer.app_status or answer.status in (502, 503), answer)
        wait.until(lambda: site.ask("").status == 200, "an answer of the next process", pause=0.05)

    def test_back_off(self):
        """A program that ends at once is not started in a busy loop."""
        marks = self.scope.path("marks")
        program = self.script("echo started >> %s\nexit 3\n" % marks)
        site = self.site(program, "backoff = 200ms backoff-max = 10s", "queue-wait = 300ms timeout = 2s")

        def starts():
            return open(marks).read().count("started") if os.path.exists(marks) else 0
        wait.until(lambda: starts() >= 3, "three starts")
        self.assertLessEqual(starts(), 8)
        self.assertIn(site.ask("").status, (502, 503, 504))
        site.weir.wait_line(r"exit.*\b3\b")

    def test_without_a_process_nobody_waits_for_an_answer(self):
        """The socket is there and takes connections, but nobody will serve them soon."""
        site = self.site(self.script("exit 1\n"), "backoff = 60s backoff-max = 60s", "queue-wait = 300ms timeout = 60s")
        site.weir.wait_line("app_ended", 2)  # the first restart is at once, the next one is a minute away
        began = time.monotonic()
        self.assertEqual(site.ask("").status, 503)
        self.assertLess(time.monotonic() - began, 10)

    def test_no_such_program(self):
        where = self.scope.unix("f")
        app = weir.app("main", ['backend "spawn:/no/such/program" { }'], "queue-wait = 300ms", session=None)
        w = weir.Weir(self.scope, [(where, "fastcgi", "")], [app], start=False, check=False)
        w.process = process.Process("weir", [w.program, "-c", w.config], self.scope.fresh("weir.log"),
                                    env=weir.environment())
        self.scope.show(w.process)
        self.scope.at_end(w.stop)
        w.wait_line("/no/such/program")
        if w.process.poll() is None and address.accepts(where):
            with fcgi.Client(where) as client:
                self.assertIn(client.ask(cgi.params()).status, (502, 503))

    def test_killed_when_it_does_not_stop(self):
        program = self.script("trap '' TERM\nwhile :; do sleep 1; done\n")
        site = self.site(program, "stop-timeout = 300ms")
        pids = self.pids(site, 1)
        began = time.monotonic()
        site.weir.stop()
        self.assertLess(time.monotonic() - began, 10)
        self.assertFalse(process.alive(pids[0]))

    def test_standard_error_of_a_program(self):
        site = self.site(apps.built("echo"))
        self.assertEqual(site.ask("stderr=words+of+the+program").status, 200)
        site.weir.wait_line("words of the program")

    def test_nothing_else_is_inherited(self):
        """A program gets its listening socket and standard streams, not the gateway's sockets."""
        listing = self.scope.path("fds")
        program = self.script("ls -l /proc/self/fd > %s.part\nmv %s.part %s\nexec sleep 1000\n" % ((listing,) * 3))
        self.site(program)
        wait.until(lambda: os.path.exists(listing), "the listing of the program")
        fds = {line.split(" -> ")[0].split()[-1]: line for line in open(listing) if " -> " in line}
        # 3 is ls's own look at the folder.
        self.assertEqual([line for fd, line in fds.items() if fd not in "0123"], [])


class TestPhp(Case):
    """The real PHP-FPM, whose manners made most of these rules."""

    def test_all_children_busy_and_more_clients(self):
        php = apps.PhpFpm(self.scope, processes=2)
        where = self.scope.unix("f")
        site = Front(where, "fastcgi", weir.Weir(self.scope, [(where, "fastcgi", "")], [
            weir.app("main", [php.text()], "queue-wait = 30s", session=None)], workers=2))
        script = {"SCRIPT_FILENAME": os.path.join(apps.APPS, "app.php"), "SCRIPT_NAME": "/app.php"}
        parallel = Parallel()
        for _ in range(20):
            parallel.start(site.seen, "sleep=0.05", **script)
        pids = {r["pid"] for r in parallel.join()}
        self.assertLessEqual(len(pids), 2)

    def test_killed_child(self):
        php = apps.PhpFpm(self.scope, processes=2)
        where = self.scope.unix("f")
        site = Front(where, "fastcgi", weir.Weir(self.scope, [(where, "fastcgi", "")],
                                                 [weir.app("main", [php.text()], session=None)]))
        script = {"SCRIPT_FILENAME": os.path.join(apps.APPS, "app.php"), "SCRIPT_NAME": "/app.php"}
        self.assertEqual(site.ask("crash=before", method="POST", **script).status, 502)
        answer = site.ask("crash=after", method="POST", **script)
        self.assertTrue(answer.status == 502 or not answer.complete or answer.app_status, answer)
        for _ in range(10):
            self.assertEqual(site.ask("", **script).status, 200)
