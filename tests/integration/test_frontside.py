"""The side of the web servers, record by record: what is answered, what is closed, and that nobody else suffers."""
import os
import random
import signal
import socket
import struct
import time

from harness import address, cgi, fcgi, scgi, wait, weir
from harness.case import Case, Parallel
from harness.site import Site


class TestManagement(Case):
    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, None, listen="max-connections = 77 max-requests = 5")

    def test_get_values(self):
        """A15"""
        with self.site.client() as client:
            client.send(fcgi.record(fcgi.GET_VALUES, 0, fcgi.pairs(
                {"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": "", "FCGI_MPXS_CONNS": "", "FCGI_OTHER": ""})))
            kind, request_id, content = client.read_record()
            self.assertEqual((kind, request_id), (fcgi.GET_VALUES_RESULT, 0))
            values = dict(fcgi.parse_pairs(content))
            self.assertEqual(set(values), {"FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"})
            self.assertEqual(values["FCGI_MPXS_CONNS"], "1")
            self.assertEqual(values["FCGI_MAX_CONNS"], "77")
            self.assertGreaterEqual(int(values["FCGI_MAX_REQS"]), 5)
            self.assertEqual(client.ask(self.site.params()).status, 200)

    def test_get_values_of_nothing(self):
        with self.site.client() as client:
            client.send(fcgi.record(fcgi.GET_VALUES, 0))
            self.assertEqual(client.read_record(), (fcgi.GET_VALUES_RESULT, 0, b""))

    def test_get_values_while_a_request_runs(self):
        with self.site.client() as client:
            client.start(self.site.params("gate=v"))
            self.site.wait_at("v")
            client.send(fcgi.record(fcgi.GET_VALUES, 0, fcgi.pairs({"FCGI_MPXS_CONNS": ""})))
            self.assertEqual(client.read_record()[0], fcgi.GET_VALUES_RESULT)
            self.site.open("v")
            self.assertEqual(client.response().status, 200)

    def test_unknown_type(self):
        with self.site.client() as client:
            for kind in (12, 99, 255):
                client.send(fcgi.record(kind, 0, b"whatever" * 100, padding=5))
                got, request_id, content = client.read_record()
                self.assertEqual((got, request_id, content[0]), (fcgi.UNKNOWN_TYPE, 0, kind))
            self.assertEqual(client.ask(self.site.params()).status, 200)

    def test_unknown_role(self):
        with self.site.client() as client:
            for role in (0, 4, 65535):
                answer = client.ask(self.site.params(), role=role)
                self.assertEqual((answer.protocol_status, answer.raw), (fcgi.UNKNOWN_ROLE, b""))
            self.assertEqual(client.ask(self.site.params()).status, 200)


class TestRequests(Case):
    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, None, handler=None, workers=2, backend="connections = 64")
        cls.echo = Site(scope, None, handler=lambda x: x.answer(x.params["SCRIPT_NAME"].encode() + b":" + x.body))

    def test_keep_conn(self):
        with self.site.client() as client:
            for _ in range(50):
                self.assertEqual(client.ask(self.site.params()).status, 200)

    def test_without_keep_conn(self):
        with self.site.client() as client:
            answer = client.ask(self.site.params(), flags=0)
            self.assertEqual((answer.status, answer.complete), (200, True))
            self.assertTrue(client.closed())

    def test_pipelined_without_keep_conn(self):
        """Requests that were sent together are answered, and then the connection is closed."""
        with self.site.client() as client:
            client.start(self.site.params("gate=p"), request_id=1, flags=1)
            client.start(self.site.params(), request_id=2, flags=0)
            self.assertEqual(client.response(2).status, 200)
            self.site.open("p")
            answer = client.response(1)
            self.assertTrue(answer.status == 200 or not answer.complete)

    def test_byte_by_byte(self):
        body = os.urandom(40)
        data = fcgi.request(self.echo.params("", "/slow", method="POST", body_length=len(body)), body)
        with self.echo.client() as client:
            for i in range(len(data)):
                client.send(data[i:i + 1])
            self.assertEqual(client.response().body, b"/slow:" + body)

    def test_small_records_and_padding(self):
        params = fcgi.pairs(self.echo.params("", "/small", method="POST", body_length=200))
        body = os.urandom(200)
        data = fcgi.begin()
        for i in range(0, len(params), 3):
            data += fcgi.record(fcgi.PARAMS, 1, params[i:i + 3], padding=i % 256)
        data += fcgi.record(fcgi.PARAMS, 1, padding=255)
        for i in range(0, 200, 7):
            data += fcgi.record(fcgi.STDIN, 1, body[i:i + 7], padding=255)
        with self.echo.client() as client:
            client.send(data, fcgi.record(fcgi.STDIN, 1, padding=9))
            self.assertEqual(client.response().body, b"/small:" + body)

    def test_multiplexed_and_interleaved(self):
        """A14: many requests at once, their records shuffled into each other, with odd and high ids."""
        rng = random.Random(7)
        ids = [1, 3, 5, 255, 256, 32767, 32768, 65535]
        streams, bodies = {}, {}
        for request_id in ids:
            body = bodies[request_id] = rng.randbytes(30000)
            params = fcgi.pairs(self.echo.params("", "/%d" % request_id, method="POST", body_length=len(body)))
            pieces = [fcgi.begin(request_id)]
            pieces += [fcgi.record(fcgi.PARAMS, request_id, params[i:i + 50]) for i in range(0, len(params), 50)]
            pieces += [fcgi.record(fcgi.PARAMS, request_id)]
            pieces += [fcgi.record(fcgi.STDIN, request_id, body[i:i + 999]) for i in range(0, len(body), 999)]
            pieces += [fcgi.record(fcgi.STDIN, request_id)]
            streams[request_id] = pieces
        with self.echo.client() as client:
            while streams:
                request_id = rng.choice(list(streams))
                client.send(streams[request_id].pop(0))
                if not streams[request_id]:
                    del streams[request_id]
            for request_id in reversed(ids):
                self.assertEqual(client.response(request_id).body, b"/%d:" % request_id + bodies[request_id])

    def test_a_slow_one_does_not_hold_the_others(self):
        with self.site.client() as client:
            client.start(self.site.params("gate=slow"), request_id=1)
            self.site.wait_at("slow")
            for i in range(2, 30):
                self.assertEqual(client.ask(self.site.params(), request_id=i).status, 200)
            self.site.open("slow")
            self.assertEqual(client.response(1).status, 200)

    def test_an_id_is_used_again(self):
        with self.site.client() as client:
            for i in range(30):
                self.assertEqual(client.ask(self.site.params("", "/%d" % i), request_id=7).status, 200)

    def test_abort(self):
        """ABORT_REQUEST ends this request, and is answered by END_REQUEST; the connection goes on."""
        with self.site.client() as client:
            client.start(self.site.params("gate=abort"), request_id=1)
            x, = self.site.wait_at("abort")
            client.start(self.site.params("gate=stays"), request_id=2)
            client.send(fcgi.record(fcgi.ABORT, 1))
            answer = client.response(1)
            self.assertTrue(answer.complete)
            self.assertTrue(x.wait_gone())
            self.site.open("abort")
            self.site.open("stays")
            self.assertEqual(client.response(2).status, 200)
            self.assertEqual(client.ask(self.site.params(), request_id=1).status, 200)

    def test_abort_of_nothing(self):
        """5.4: an id that is not in use is ignored."""
        with self.site.client() as client:
            client.send(fcgi.record(fcgi.ABORT, 9))
            self.assertEqual(client.ask(self.site.params()).status, 200)

    def test_abort_in_the_middle(self):
        params = fcgi.pairs(self.site.params("", method="POST", body_length=9))
        for cut in (fcgi.begin(), fcgi.begin() + fcgi.record(fcgi.PARAMS, 1, params[:9]),
                    fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, params),
                    fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, params) + fcgi.record(fcgi.STDIN, 1, b"half")):
            with self.subTest(length=len(cut)), self.site.client() as client:
                client.send(cut, fcgi.record(fcgi.ABORT, 1))
                self.assertTrue(client.response().complete)
                self.assertEqual(client.ask(self.site.params()).status, 200)

    def test_records_in_a_body(self):
        """A10: bytes that look like records are a body and nothing else."""
        evil = fcgi.request(self.echo.params("", "/evil"))
        for size in (0, 1, 7, 65535 - len(evil), 65536 - len(evil), 65528):
            body = b"x" * size + evil
            with self.subTest(size=size):
                answer = self.echo.ask("", "/good", body=body)
                self.assertEqual(answer.body, b"/good:" + body)
        self.assertNotIn("/evil", [x.params["SCRIPT_NAME"] for x in self.echo.backend.requests])

    def test_connection_that_closes_in_the_middle(self):
        params = fcgi.pairs(self.site.params("", method="POST", body_length=9))
        for cut in (b"", b"\x01", fcgi.begin()[:9], fcgi.begin(),
                    fcgi.begin() + fcgi.record(fcgi.PARAMS, 1, params)[:20],
                    fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, params),
                    fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, params) + fcgi.record(fcgi.STDIN, 1, b"half")):
            client = self.site.client()
            client.send(cut)
            client.close()
        self.assertEqual(self.site.ask("").status, 200)

    def test_half_closed(self):
        """A client that shuts down its sending side still gets its answer."""
        with self.site.client() as client:
            client.start(self.site.params())
            client.sock.shutdown(socket.SHUT_WR)
            answer = client.response()
            # Not promised by FastCGI; what must not happen is a half answer that looks whole.
            self.assertTrue(answer.status == 200 and answer.complete or not answer.complete)


class TestMalformed(Case):
    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, None, workers=1)

    def check(self, data, closes=True):
        """Another request that runs meanwhile on another connection is not disturbed."""
        gate = self.id()
        before = len(self.site.weir.lines("reason="))
        with self.site.client() as other, self.site.client() as client:
            other.start(self.site.params("gate=" + gate))
            self.site.wait_at(gate)
            client.send(data)
            if closes:
                self.assertTrue(client.closed(), "the connection is still open")
                lines = self.site.weir.wait_line("reason=", before + 1)[before:]
                self.assertEqual(len(lines), 1, lines)
                self.assertRegex(lines[0], r"event=\w+ .*reason=(\"[^\"]{4,}\"|\w+)")
            self.site.open(gate)
            self.assertEqual(other.response().status, 200)
            self.assertEqual(other.ask(self.site.params()).status, 200)

    def test_version(self):
        self.check(fcgi.record(fcgi.BEGIN, 1, b"\0\1\1\0\0\0\0\0", version=2))

    def test_version_zero(self):
        self.check(b"\0" * 64)

    def test_id_zero(self):
        self.check(fcgi.begin(0))

    def test_management_record_with_an_id(self):
        self.check(fcgi.record(fcgi.GET_VALUES, 1))

    def test_begin_of_a_wrong_length(self):
        self.check(fcgi.record(fcgi.BEGIN, 1, b"\0\1\1"))

    def test_begin_too_long(self):
        self.check(fcgi.record(fcgi.BEGIN, 1, b"\0\1\1\0\0\0\0\0\0"))

    def test_abort_with_content(self):
        self.check(fcgi.begin() + fcgi.record(fcgi.ABORT, 1, b"x"))

    def test_an_answers_record(self):
        self.check(fcgi.record(fcgi.STDOUT, 1, b"Content-Type: text/plain\r\n\r\n"))

    def test_an_end_record(self):
        self.check(fcgi.end())

    def test_pairs_that_end_early(self):
        self.check(fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, b"\x04\x05NAMEval") + fcgi.record(fcgi.STDIN, 1))

    def test_lengths_that_overflow(self):
        """A11"""
        self.check(fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xffNAME") +
                   fcgi.record(fcgi.STDIN, 1))

    def test_lengths_that_overflow_32_bits(self):
        self.check(fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, struct.pack(">II", 0x80000001, 0xFFFFFFFF) + b"NAME") +
                   fcgi.record(fcgi.STDIN, 1))

    def test_get_values_that_end_early(self):
        self.check(fcgi.record(fcgi.GET_VALUES, 0, b"\x0e\x00FCGI"))

    def test_http(self):
        self.check(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    def test_tls(self):
        self.check(bytes.fromhex("16030100a5010000a10303") + os.urandom(150))

    def test_begin_twice(self):
        """An id that is in use: it is refused, one way or the other."""
        params = fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(self.site.params("gate=twice")))
        self.check(fcgi.begin() + params + fcgi.begin() + params + fcgi.record(fcgi.STDIN, 1), closes=False)
        self.site.open("twice")

    def test_streams_of_unknown_ids(self):
        """3.3: records of an id that is not in use are ignored; or the connection is closed."""
        with self.site.client() as client:
            client.send(fcgi.record(fcgi.STDIN, 4, b"x"), fcgi.record(fcgi.PARAMS, 5, b"x"), fcgi.record(fcgi.DATA, 6))
            try:
                client.start(self.site.params())
                answer = client.response()
            except OSError:
                answer = None
            self.assertTrue(answer is None or not answer.complete or answer.status == 200)
        self.assertEqual(self.site.ask("").status, 200)

    def test_strange_orders(self):
        """Streams in the wrong order or continued after their end: no crash, no hang, nobody else disturbed."""
        pairs = fcgi.pairs(self.site.params("", method="POST", body_length=1))
        params = fcgi.stream(fcgi.PARAMS, 1, pairs)
        for data in (fcgi.begin() + fcgi.record(fcgi.STDIN, 1, b"x") + params + fcgi.record(fcgi.STDIN, 1),
                     fcgi.begin() + params + params + fcgi.record(fcgi.STDIN, 1),
                     fcgi.begin() + params + fcgi.stream(fcgi.STDIN, 1, b"x") + fcgi.stream(fcgi.STDIN, 1, b"yy"),
                     fcgi.begin() + params + fcgi.stream(fcgi.DATA, 1, b"data") + fcgi.stream(fcgi.STDIN, 1, b"x"),
                     fcgi.begin() + fcgi.record(fcgi.PARAMS, 1) + fcgi.record(fcgi.STDIN, 1),
                     fcgi.record(fcgi.ABORT, 1) + fcgi.begin() + params + fcgi.record(fcgi.ABORT, 1) * 3):
            client = self.site.client()
            client.send(data)
            client.sock.settimeout(0.2)
            client.closed()
            client.close()
        self.assertEqual(self.site.ask("").status, 200)


class TestScgi(Case):
    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, None, front="scgi", handler=lambda x: x.answer(x.params["SCRIPT_NAME"].encode() + b":" +
                                                                           x.body))

    def good(self, path="/good"):
        self.assertEqual(self.site.ask("", path, body=b"body").body, path.encode() + b":body")

    def test_pieces(self):
        data = scgi.header(self.site.params("", "/slow", method="POST"), 4) + b"body"
        for step in (1, 2, 3, 50):
            with scgi.Client(self.site.where) as client:
                for i in range(0, len(data), step):
                    client.send(data[i:i + step])
                self.assertEqual(client.response().body, b"/slow:body")

    def test_closed_after_the_answer(self):
        with scgi.Client(self.site.where) as client:
            client.ask(self.site.params())
            self.assertTrue(client.closed())

    def test_more_than_the_body(self):
        with scgi.Client(self.site.where) as client:
            client.send(scgi.header(self.site.params("", "/more", method="POST"), 4), b"bodyGARBAGE" * 2)
            self.assertIn(client.response().body, (b"/more:body", b""))

    def test_the_body_ends_early(self):
        with scgi.Client(self.site.where) as client:
            client.send(scgi.header(self.site.params("", "/early", method="POST"), 400), b"body")
            client.sock.shutdown(socket.SHUT_WR)
            client.closed()
        self.good()
        self.assertNotIn("/early", [x.params["SCRIPT_NAME"] for x in self.site.backend.requests])

    def test_malformed(self):
        """A18: closed, with one line that says why."""
        first = b"CONTENT_LENGTH\x000\x00"
        one = b"SCGI\x001\x00"
        good = first + one + b"REQUEST_METHOD\x00GET\x00"
        cases = {
            "no digit": b":" + good + b",",
            "a letter": b"12a:" + good + b",",
            "http": b"GET / HTTP/1.0\r\n\r\n",
            "leading zero": b"0%d:" % len(good) + good + b",",
            "minus": b"-5:hello,",
            "too many digits": b"12345678901234567890:",
            "no comma": b"%d:" % len(good) + good + b";",
            "length too small": b"%d:" % (len(good) - 1) + good + b",",
            "empty": b"0:,",
            "no SCGI": scgi.netstring(first + b"REQUEST_METHOD\x00GET\x00"),
            "SCGI 2": scgi.netstring(first + b"SCGI\x002\x00"),
            "length not first": scgi.netstring(one + first),
            "no length": scgi.netstring(one),
            "length no number": scgi.netstring(b"CONTENT_LENGTH\x00abc\x00" + one),
            "empty length": scgi.netstring(b"CONTENT_LENGTH\x00\x00" + one),
            "negative length": scgi.netstring(b"CONTENT_LENGTH\x00-1\x00" + one),
            "a name twice": scgi.netstring(good + b"X\x001\x00X\x002\x00"),
            "no end": scgi.netstring(good[:-1]),
            "a name alone": scgi.netstring(good + b"NAME\x00"),
            "an empty name": scgi.netstring(good + b"\x00x\x00"),
        }
        for name, data in cases.items():
            with self.subTest(case=name):
                before = len(self.site.weir.lines("reason="))
                with scgi.Client(self.site.where) as client:
                    client.send(data)
                    answer = client.response()
                    self.assertTrue(answer.raw == b"" or answer.status == 400, answer)
                lines = self.site.weir.wait_line("reason=", before + 1)[before:]
                self.assertEqual(len(lines), 1, lines)
                self.good()

    def test_a_length_that_is_announced_and_never_sent(self):
        client = scgi.Client(self.site.where)
        client.send(b"60000:CONTENT_LENGTH\x00")
        self.good()
        client.close()


class TestBounds(Case):
    def test_slow_loris(self):
        """A client that stops in the middle of a request is not waited for; a kept connection is."""
        site = Site(self.scope, None, listen="read-timeout = 300ms idle-timeout = 0")
        params = fcgi.pairs(site.params("", method="POST", body_length=9))
        idle = site.client()
        self.assertEqual(idle.ask(site.params()).status, 200)
        for cut in (fcgi.begin()[:5], fcgi.begin(), fcgi.begin() + fcgi.record(fcgi.PARAMS, 1, params)[:30],
                    fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, params) + fcgi.record(fcgi.STDIN, 1, b"half")):
            with self.subTest(length=len(cut)), site.client() as client:
                client.send(cut)
                self.assertTrue(client.closed())
        self.assertEqual(idle.ask(site.params()).status, 200)
        idle.close()
        wait.until(lambda: site.backend.running == 0, "the end of the request that was cut off")

    def test_slow_loris_scgi(self):
        site = Site(self.scope, None, front="scgi", listen="read-timeout = 300ms")
        data = scgi.header(site.params("", method="POST"), 10) + b"half"
        for cut in (3, 30, len(data)):
            with self.subTest(length=cut), scgi.Client(site.where) as client:
                client.send(data[:cut])
                self.assertTrue(client.closed())
        with scgi.Client(site.where) as client:
            self.assertTrue(client.closed(), "an SCGI connection without a request stays open for ever")

    def test_a_slow_client_that_goes_on_is_served(self):
        site = Site(self.scope, None, listen="read-timeout = 1s")
        head = fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(site.params("", method="POST", body_length=15)))
        with site.client() as client:
            client.send(head)
            for _ in range(15):
                client.send(fcgi.record(fcgi.STDIN, 1, b"x"))
                time.sleep(0.1)
            client.send(fcgi.record(fcgi.STDIN, 1))
            self.assertEqual(client.response().status, 200)

    def test_a_head_that_drips(self):
        """Never silent for long, and never complete: that is an attack, and it ends."""
        for front in ("fastcgi", "scgi"):
            site = Site(self.scope, None, listen="read-timeout = 400ms", front=front)
            data = (fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(site.params())) if front == "fastcgi" else
                    scgi.header(site.params(), 0))[:-1]
            with self.subTest(front=front), address.connect(site.where) as s:
                end = time.monotonic() + 10
                try:
                    for i in range(len(data)):
                        s.sendall(data[i:i + 1])
                        time.sleep(0.1)
                        self.assertLess(time.monotonic(), end, "still dripping")
                except OSError:
                    pass  # closed
                self.assertLess(time.monotonic(), end)

    def test_a_request_that_runs_is_not_silence(self):
        site = Site(self.scope, None, listen="read-timeout = 300ms idle-timeout = 300ms")
        with site.client() as client:
            client.start(site.params("gate=g"))
            site.wait_at("g")
            time.sleep(1)
            site.open("g")
            self.assertEqual(client.response().status, 200)

    def test_idle_timeout(self):
        site = Site(self.scope, None, listen="idle-timeout = 300ms")
        with site.client() as client:
            self.assertEqual(client.ask(site.params()).status, 200)
            self.assertTrue(client.closed())

    def test_write_timeout(self):
        """A client that takes nothing of a long answer."""
        def handler(x):
            x.out(b"Content-Type: text/plain\r\n\r\n")
            for _ in range(400):
                x.out(b"x" * 60000)
            x.end()
        site = Site(self.scope, None, handler=handler, listen="write-timeout = 400ms")
        with site.client() as client:
            client.start(site.params())
            site.backend.wait_requests(1)
            wait.until(lambda: site.backend.running == 0, "the end of the request that nobody reads")
            self.assertTrue(client.closed())

    def test_write_timeout_is_counted_once(self):
        """From when nothing more is taken, not from the next look at it."""
        def handler(x):
            x.out(b"Content-Type: text/plain\r\n\r\n")
            while True:
                x.out(b"x" * 60000)
        site = Site(self.scope, None, handler=handler, listen="write-timeout = 2s")
        with site.client() as client:
            client.start(site.params())
            began = time.monotonic()
            site.weir.wait_line("front_closed")
            self.assertGreater(time.monotonic() - began, 1)
            self.assertLess(time.monotonic() - began, 3.6)

    def test_one_silent_body_among_others(self):
        """It alone is given up; the others on the connection go on, whether they wait or come and go."""
        site = Site(self.scope, None, listen="read-timeout = 1s")
        head = fcgi.begin(3) + fcgi.stream(fcgi.PARAMS, 3, fcgi.pairs(site.params("", method="POST", body_length=50)))
        for busy in (False, True):
            with self.subTest(busy=busy), site.client() as client:
                gate = "busy" if busy else "quiet"
                client.start(site.params("gate=" + gate), request_id=1)
                site.wait_at(gate)
                client.send(head, fcgi.record(fcgi.STDIN, 3, b"half"))
                end = time.monotonic() + 10
                while busy and client.answers.get(3, {}).get("end") is None:
                    self.assertLess(time.monotonic(), end, "the silent one is still there")
                    self.assertEqual(client.ask(site.params(), request_id=2).status, 200)
                    time.sleep(0.05)
                self.assertEqual(client.response(3).status, 408)
                self.assertEqual(client.ask(site.params(), request_id=2).status, 200)
                site.open(gate)
                self.assertEqual(client.response(1).status, 200)

    def test_many_answers_of_its_own(self):
        """More of them at once than the gateway keeps for a client: it stops reading, and goes on."""
        where = address.tcp()
        app = weir.app("main", ['backend "%s" { }' % self.scope.unix()], session=None, match=["path:/nowhere"])
        weir.Weir(self.scope, [(where, "fastcgi", "read-timeout = 5s write-timeout = 5s")], [app])
        one = fcgi.begin() + fcgi.record(fcgi.PARAMS, 1) + fcgi.record(fcgi.STDIN, 1)

        def read(client, count):
            while count:
                got = client.read_record()
                self.assertIsNotNone(got, "closed, and %d answers are missing" % count)
                count -= got[0] == fcgi.END
        with fcgi.Client(where) as client:
            for count in (4000, 5):
                parallel = Parallel()
                parallel.start(read, client, count)
                client.send(one * count)
                parallel.join(30)

    def test_max_connections(self):
        for front in ("fastcgi", "scgi"):
            with self.subTest(front=front):
                site = Site(self.scope, None, listen="max-connections = 4 read-timeout = 60s", front=front, workers=2)
                # The harness looked whether it listens; those connections are gone by now or soon.
                held = []

                def hold():
                    s = address.connect(site.where)
                    if front == "fastcgi":
                        try:
                            s.sendall(fcgi.record(fcgi.GET_VALUES, 0))
                            if not fcgi.read_record(s):
                                raise ConnectionError
                        except OSError:
                            s.close()
                            return False
                    held.append(s)
                    return len(held) == 4
                wait.until(hold, "four connections that are served")
                with address.connect(site.where, 1) as fifth:
                    data = (fcgi.request(site.params(), flags=0) if front == "fastcgi" else
                            scgi.header(site.params(), 0))
                    try:
                        fifth.sendall(data)
                        got = fifth.recv(10)
                    except socket.timeout:
                        got = b""  # not accepted yet is fine as well
                    except OSError:
                        got = b""
                    self.assertEqual(got, b"")
                for s in held:
                    s.close()

                def served():
                    try:
                        return site.ask("").status == 200
                    except (ValueError, OSError):
                        return False
                wait.until(served, "a connection after the others have gone")

    def test_max_requests(self):
        site = Site(self.scope, None, listen="max-requests = 2")
        with site.client() as client:
            client.start(site.params("gate=g"), request_id=1)
            client.start(site.params("gate=g"), request_id=2)
            answer = client.ask(site.params(), request_id=3)
            self.assertEqual((answer.protocol_status, answer.raw), (fcgi.OVERLOADED, b""))
            site.open("g")
            self.assertEqual([client.response(i).status for i in (1, 2)], [200, 200])
            self.assertEqual(client.ask(site.params(), request_id=3).status, 200)

    def test_memory_of_a_client_that_does_not_read(self):
        """Many small questions whose answers nobody takes."""
        site = Site(self.scope, None, program=weir.release_binary(), env=weir.SMALL,
                    listen="write-timeout = 60s max-requests = 10")
        before = site.weir.rss_kib()
        question = fcgi.record(fcgi.GET_VALUES, 0, fcgi.pairs({"FCGI_MPXS_CONNS": ""})) * 1000
        client = site.client(timeout=2)
        try:
            for _ in range(2000):  # 60 MB of questions
                client.send(question)
        except OSError:
            pass  # it stopped reading, or closed: both are right
        self.assertLess(site.weir.rss_kib() - before, 16 * 1024)
        client.close()
        self.assertEqual(site.ask("").status, 200)


class TestBodyLengths(Case):
    """An SCGI application waits for as many bytes as were announced."""

    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, None, "timeout = 60s", protocol="scgi", backend="fails = 1")

    def test_shorter_than_announced(self):
        for body in (b"hi", b""):
            with self.subTest(body=body):
                began = time.monotonic()
                with self.site.client() as client:
                    answer = client.ask(self.site.params("", method="POST", body_length=10), body)
                self.assertEqual(answer.status, 400, answer)
                self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(self.site.weir.lines("backend_down"), [])
        self.assertEqual(self.site.ask("", body=b"x" * 10).status, 200)

    def test_shorter_than_announced_and_large(self):
        """The application has got a part of it: it is told that there will be no more."""
        with self.site.client() as client:
            answer = client.ask(self.site.params("", method="POST", body_length=400000), b"x" * 300000)
            self.assertEqual(answer.status, 400, answer)
        self.assertEqual(self.site.weir.lines("backend_down"), [])
        self.assertEqual(self.site.ask("").status, 200)

    def test_large_and_not_announced(self):
        with self.site.client() as client:
            self.assertEqual(client.ask(self.site.params("", method="POST"), b"x" * 60000).status, 200)
            self.assertEqual(client.ask(self.site.params("", method="POST"), b"x" * 100000).status, 411)
            self.assertEqual(client.ask(self.site.params()).status, 200)


class TestDrain(Case):
    def test_a_connection_that_never_runs_out_of_requests(self):
        """After TERM what runs is finished, and what is new goes elsewhere."""
        site = Site(self.scope, None, node="drain-timeout = 60s")
        with site.client() as client:
            client.start(site.params("gate=g"), request_id=1)
            site.wait_at("g")
            self.assertEqual(client.ask(site.params(), request_id=2).status, 200)
            site.weir.process.send(signal.SIGTERM)
            wait.until(lambda: client.ask(site.params(), request_id=2).protocol_status == fcgi.OVERLOADED,
                       "a refusal", 8)
            site.open("g")
            answer = client.response(1)
            self.assertEqual((answer.status, answer.complete), (200, True))
            self.assertEqual(site.weir.wait_exit(), 0)


class TestNoise(Case):
    """Random bytes on both protocols."""

    def noise(self, rng, where):
        kind = rng.randrange(5)
        with address.connect(where) as s:
            try:
                if kind == 0:
                    s.sendall(rng.randbytes(rng.randrange(1, 3000)))
                elif kind == 1:  # almost FastCGI
                    data = bytearray(fcgi.request(cgi.params("/noise", body_length=20), b"x" * 20))
                    for _ in range(rng.randrange(1, 5)):
                        data[rng.randrange(len(data))] = rng.randrange(256)
                    s.sendall(data)
                elif kind == 2:  # almost SCGI
                    data = bytearray(scgi.header(cgi.params("/noise"), 20) + b"x" * 20)
                    for _ in range(rng.randrange(1, 5)):
                        data[rng.randrange(len(data))] = rng.randrange(256)
                    s.sendall(data)
                elif kind == 3:  # cut
                    data = fcgi.request(cgi.params("/noise"))
                    s.sendall(data[:rng.randrange(len(data))])
                else:  # random types and lengths with the right version
                    for _ in range(5):
                        s.sendall(fcgi.record(rng.randrange(14), rng.randrange(3), rng.randbytes(rng.randrange(40))))
                if rng.randrange(2):
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass  # closed meanwhile

    def run_noise(self, count, program=None, env=None):
        site = Site(self.scope, "", program=program, env=env, log="level = error to = stderr",
                    listen="read-timeout = 1s")
        other = Site(self.scope, "", front="scgi", program=program, env=env, log="level = error to = stderr",
                     listen="read-timeout = 1s")
        rng = random.Random(count)
        rss = {}
        with site.client() as running:
            running.start(site.params("gate=noise&set=x"))
            site.wait_at("noise")
            for i in range(count):
                if i == count // 4:
                    rss = {s: s.weir.rss_kib() for s in (site, other)}
                self.noise(rng, site.where)
                self.noise(rng, other.where)
            for s in (site, other):
                self.assertEqual(s.ask("").status, 200)
            site.open("noise")
            self.assertEqual(running.response().status, 200)
        for s in (site, other):
            s.backend.errors.clear()  # what came through was a request, if a strange one
        return {s: s.weir.rss_kib() - rss[s] for s in (site, other)}

    def test_others_are_not_disturbed(self):
        self.run_noise(300)

    def test_memory_does_not_grow(self):
        for grown in self.run_noise(4000, weir.release_binary(), weir.SMALL).values():
            self.assertLess(grown, 6 * 1024, "KiB after 3,000 bad connections")
