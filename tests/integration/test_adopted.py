"""Adopted sessions, the request's side: who waits for whom, and what of an answer leaves when. The application is a
script, so that nothing depends on a session library."""
import random
import unittest
from urllib.parse import parse_qs

from harness import address, apps, fcgi, scgi, servers, status, wait, weir
from harness.backend import Backend, Gate
from harness.case import Case, Parallel
from harness.site import Front

SESSION = 'mode = adopted  cookie = SID  key = "K:"  socket = "%s"  lock-wait = 10s ' \
          'read-only = { "/ro/" }  stateless = { "/plain/" }  %s'


class Adopted(Front):
    """One worker, so that what is sent first is heard first. The application does what the query says:

      gate=NAME  waits until the test opens it; reached: who stands there
      early=1    the whole answer goes out before it waits, with its length; head=1: only the head
      cookie=V   a Set-Cookie of the session's name; type=T  the type; status=N; body=N bytes; more=HEADER
      die=1      closes the connection instead of ending the request
    """

    def __init__(self, scope, session="", front="fastcgi", protocol="fastcgi", workers=1):
        self.gates, self.scope = {}, scope
        self.backend = Backend(scope, self.act, protocol)
        where = scope.unix("f")
        app = weir.app("shop", [self.backend.text("connections = 32")], "",
                       SESSION % (scope.unix("s"), session))
        gateway = weir.Weir(scope, [(where, front, "")], [app], workers, tail=status.EVERYBODY)
        super().__init__(where, front, gateway)

    def gate(self, name):
        return self.gates.setdefault(name, Gate())

    def open(self, name):
        self.gate(name).open()

    def act(self, x):
        q = {k: v[-1] for k, v in parse_qs(x.params.get("QUERY_STRING", "")).items()}
        body = b"b" * int(q.get("body", 4))
        head = ["Status: " + q["status"]] if "status" in q else []
        head += ["Set-Cookie: SID=%s; Path=/; HttpOnly" % q["cookie"]] if "cookie" in q else []
        head += [q["more"]] if "more" in q else []
        head += ["Content-Length: %d" % len(body), "Content-Type: " + q.get("type", "text/plain"), "", ""]
        head = "\r\n".join(head).encode()
        whole = b"" if "nothing" in q else body
        if "early" in q or "head" in q:
            x.out(head + (whole if "early" in q else b""))
        if "gate" in q:
            self.gate(q["gate"]).wait()
        if "die" in q:
            return x.close()
        if "early" not in q:
            x.out((b"" if "head" in q else head) + whole)
        x.end()

    def stand(self, query, sid=None, client=None, request_id=1, **more):
        """A request that has come to the application."""
        before = len(self.backend.requests)
        client = self.begin(query, sid, client, request_id, **more)
        self.backend.wait_requests(before + 1)
        return client

    def begin(self, query, sid=None, client=None, request_id=1, **more):
        """One that has been sent. `sid`: the whole Cookie header where it has a =."""
        if sid is not None:
            more["cookie"] = sid if "=" in sid else "SID=" + sid
        if client is None:
            client = fcgi.Client(self.where)
            self.scope.at_end(client.close)
        client.start(self.params(query, **more), request_id=request_id)
        return client

    def look(self, query="", sid=None, **more):
        """One that is answered. All that was sent before has been heard then."""
        answer = self.begin(query, sid, **more).response()
        if answer.status != 200 or not answer.complete:
            raise AssertionError("no good answer: %r\n%s" % (answer, self.weir.process.log()[-2000:]))
        return answer

    @property
    def reached(self):
        return len(self.backend.requests)


class AdoptedCase(Case):
    session = ""
    options = {}

    @classmethod
    def start_shared(cls, scope):
        cls.site = Adopted(scope, cls.session, **cls.options)

    def sid(self):
        return self.id().rpartition(".")[2]

    def check_waits(self, query, sid, **more):
        """A request that is sent and does not come to the application; its client."""
        client = self.site.begin(query, sid, **more)
        before = self.site.reached
        self.site.look(sid="nobody-elses-%d" % before)
        self.assertEqual(self.site.reached, before + 1, "it did not wait")
        return client

    def check_good(self, client):
        answer = client.response()
        self.assertEqual((answer.status, answer.complete, answer.body), (200, True, b"bbbb"), answer)


class TestClaims(AdoptedCase):
    def test_one_after_the_other(self):
        site, sid = self.site, self.sid()
        one = site.stand("gate=one", sid)
        two = self.check_waits("gate=two", sid)
        three = self.check_waits("", sid)
        before = site.reached
        site.open("one")
        self.check_good(one)
        site.backend.wait_requests(before + 1)
        site.look(sid="another")
        self.assertEqual(site.reached, before + 2, "both came at once")
        site.open("two")
        self.check_good(two)
        self.check_good(three)

    def test_others_do_not_wait(self):
        site, sid = self.site, self.sid()
        one = site.stand("gate=" + sid, sid)
        for cookie in (sid + "2", "SID=", "OTHER=" + sid, "sid=" + sid, None):
            site.look(sid=cookie)
        for path in ("/ro/", "/plain/"):
            site.look(sid=sid, path=path)
        site.open(sid)
        self.check_good(one)

    def test_readers_do_not_make_wait(self):
        site, sid = self.site, self.sid()
        readers = [site.stand("gate=" + sid, sid, path=path) for path in ("/ro/", "/ro/", "/plain/")]
        site.look(sid=sid)
        site.open(sid)
        for reader in readers:
            self.check_good(reader)

    def test_in_the_order_of_their_coming(self):
        site, sid = self.site, self.sid()
        first = site.stand("gate=" + sid, sid)
        waiting = [self.check_waits("n=%d" % i, sid) for i in range(8)]
        before = site.reached
        site.open(sid)
        for client in [first] + waiting:
            self.check_good(client)
        order = [x.params["QUERY_STRING"] for x in site.backend.requests[before:]]
        self.assertEqual(order, ["n=%d" % i for i in range(8)])

    def test_who_waits_and_goes(self):
        site, sid = self.site, self.sid()
        one = site.stand("gate=" + sid, sid)
        gone = self.check_waits("", sid)
        next_ = self.check_waits("", sid)
        before = site.reached
        gone.close()
        site.open(sid)
        self.check_good(one)
        self.check_good(next_)
        self.assertEqual(site.reached, before + 1)

    def test_who_works_and_goes(self):
        site, sid = self.site, self.sid()
        one = site.stand("gate=" + sid, sid)
        next_ = self.check_waits("", sid)
        one.close()
        self.check_good(next_)
        site.open(sid)

    def test_the_application_dies(self):
        site, sid = self.site, self.sid()
        one = site.stand("die=1&gate=" + sid, sid, method="POST", body_length=0)
        next_ = self.check_waits("", sid)
        site.open(sid)
        self.assertEqual(one.response().status, 502)
        self.check_good(next_)

    def test_aborted(self):
        site, sid = self.site, self.sid()
        one = site.stand("gate=" + sid, sid)
        next_ = self.check_waits("", sid)
        one.send(fcgi.record(fcgi.ABORT, 1))
        self.check_good(next_)
        site.open(sid)

    def test_on_one_connection(self):
        """Multiplexed: who waits does not stop the others."""
        site, sid = self.site, self.sid()
        client = site.stand("gate=" + sid, sid)
        site.begin("", sid, client, 2)
        site.begin("", sid + "3", client, 3)
        self.assertEqual(client.response(3).body, b"bbbb")
        site.open(sid)
        self.assertEqual(client.response(2).body, b"bbbb")
        self.assertEqual(client.response(1).body, b"bbbb")

    def test_two_cookies_of_the_name(self):
        """Applications do not agree which of them counts."""
        site, sid = self.site, self.sid()
        one = site.stand("gate=" + sid, sid)
        waiting = [self.check_waits("", cookie) for cookie in
                   ("SID=a; SID=" + sid, "SID=%s; SID=a" % sid, "x=y; SID=b; SID=c; SID=%s; SID=b" % sid)]
        site.open(sid)
        for client in [one] + waiting:
            self.check_good(client)

    def test_two_cookies_never_lock_up(self):
        site, sid = self.site, self.sid()
        names = [sid + c for c in "abcd"]

        def ask(seed):
            draw = random.Random(seed)
            for _ in range(25):
                cookies = draw.sample(names, draw.randint(1, 4))
                site.look(sid="; ".join("SID=" + c for c in cookies))
        parallel = Parallel()
        for seed in range(8):
            parallel.start(ask, seed)
        parallel.join()

    def test_the_new_id_of_an_answer(self):
        """session_regenerate_id(): who comes with the new cookie waits for the request that has set it."""
        site, sid = self.site, self.sid()
        one = site.stand("early=1&cookie=%s-new&gate=%s" % (sid, sid), sid)
        one.wait_output(1, 1)
        next_ = self.check_waits("", sid + "-new")
        old = self.check_waits("", sid)
        site.open(sid)
        self.check_good(one)
        self.check_good(next_)
        self.check_good(old)

    def test_a_new_session(self):
        site, sid = self.site, self.sid()
        one = site.stand("early=1&cookie=%s&gate=%s" % (sid, sid))
        one.wait_output(1, 1)
        next_ = self.check_waits("", sid)
        site.open(sid)
        self.check_good(one)
        self.check_good(next_)

    def test_of_several_new_ids_the_last(self):
        """session_start() and session_regenerate_id() in one request. Browsers keep the last."""
        site, sid = self.site, self.sid()
        more = "SID=%s-b;%%20Path=/%%0d%%0aSet-Cookie:%%20SID=" % sid  # and one that gives no id
        one = site.stand("early=1&cookie=%s-a&more=Set-Cookie:%%20%s&gate=%s" % (sid, more, sid))
        one.wait_output(1, 1)
        next_ = self.check_waits("", sid + "-b")
        site.look(sid=sid + "-a")
        site.open(sid)
        self.check_good(one)
        self.check_good(next_)

    def test_a_new_id_that_somebody_works_on(self):
        """Nobody waits in the middle of an answer."""
        site, sid = self.site, self.sid()
        holder = site.stand("gate=" + sid, sid)
        site.look("cookie=" + sid)
        waits = self.check_waits("", sid)
        site.open(sid)
        self.check_good(holder)
        self.check_good(waits)

    def test_where_nothing_is_claimed(self):
        site, sid = self.site, self.sid()
        one = site.stand("early=1&cookie=%s&gate=%s" % (sid, sid), path="/plain/")
        one.wait_output(1, 1)
        site.look(sid=sid)
        site.open(sid)
        self.check_good(one)

    def test_nothing_is_added_and_nothing_taken_out(self):
        """What is meant for managed sessions means nothing here. An id that nobody knows creates nothing."""
        answer = self.site.look("more=Weir-Session-Data:%20x", "unheard-of", SESSION_STATE="mine", SESSION_DATA="too")
        seen = self.site.backend.requests[-1].params
        self.assertEqual({k: v for k, v in seen.items() if k.startswith("SESSION")},
                         {"SESSION_STATE": "mine", "SESSION_DATA": "too"})
        self.assertEqual(answer.header("Weir-Session-Data"), "x")
        self.assertEqual(answer.all("Set-Cookie"), [])
        document = status.document(self.site)
        self.assertEqual(document["memory"]["sessions"], 0)

    def test_values_that_are_no_ids(self):
        for value in ("", "a" * 257, "a" * 4000, "%00", "a%20b", "\xff", '"', "%"):
            self.site.look(sid="SID=" + value)

    def test_counted(self):
        before = status.document(self.site)["requests"]
        self.site.look(sid=self.sid())
        self.site.look()
        after = status.document(self.site)["requests"]
        self.assertEqual((after["session_none"] - before["session_none"], after["session_live"]), (2, 0))


class TestShared(AdoptedCase):
    session = "lock = shared"

    def test_side_by_side(self):
        site, sid = self.site, self.sid()
        clients = [site.stand("gate=" + sid, sid) for _ in range(4)]
        site.look(sid=sid)
        site.open(sid)
        for client in clients:
            self.check_good(client)


class TestExpress(AdoptedCase):
    session = "cookie-format = express"

    def test_the_id_in_a_signed_cookie(self):
        site = self.site
        one = site.stand("gate=x&cookie=s%253Anew-id.sig", "SID=s%3Aan.id.c2ln%2Bx")
        waits = self.check_waits("", "SID=s:an.id.other")
        site.look(sid="SID=an.id")
        site.look(sid="SID=s%3Aan")
        site.open("x")
        self.check_good(one)
        self.check_good(waits)
        one = site.stand("early=1&gate=y&cookie=s%253Anew-id.sig")
        one.wait_output(1, 1)
        waits = self.check_waits("", "SID=s%3Anew-id.other")
        site.open("y")
        self.check_good(one)
        self.check_good(waits)


class TestLockWait(Case):
    def setUp(self):
        super().setUp()
        self.gate = Gate()
        self.scope.at_end(self.gate.open)
        self.app = Backend(self.scope, lambda x: (self.gate.wait(), x.answer("bbbb")))
        where = self.scope.unix("f")
        session = SESSION.replace("10s", "300ms") % (self.scope.unix("s"), "")
        gateway = weir.Weir(self.scope, [(where, "fastcgi", "")],
                            [weir.app("shop", [self.app.text()], "timeout = 1s", session)], 1)
        self.front = Front(where, "fastcgi", gateway)

    def test_503(self):
        with self.front.client() as one:
            one.start(self.front.params(cookie="SID=x"))
            self.app.wait_requests(1)
            answer = self.front.ask(cookie="SID=x")
            self.assertEqual((answer.status, answer.header("Retry-After")), (503, "1"))
            self.front.weir.wait_line("request_failed.*status=503.*lock-wait")
            self.assertEqual(len(self.app.requests), 1)
            self.gate.open()
            self.assertEqual(one.response().body, b"bbbb")
        self.assertEqual(self.front.ask(cookie="SID=x").status, 200)

    def test_a_silent_application(self):
        """504, and the next one may work."""
        with self.front.client() as one:
            one.start(self.front.params(cookie="SID=x"))
            self.app.wait_requests(1)
            self.assertEqual(one.response().status, 504)
            self.gate.open()
            self.assertEqual(self.front.ask(cookie="SID=x").status, 200)


class TestStorm(Case):
    """Clients come and go all the time, with few cookies and more than one worker: a claim that is lost would be heard
    of by those who wait for it, or at the end of weir."""

    def test_it(self):
        site = Adopted(self.scope, workers=3)

        def ask(seed):
            draw = random.Random(seed)
            for i in range(60):
                cookie = "; ".join("SID=%d" % draw.randrange(4) for _ in range(draw.randint(1, 3)))
                with fcgi.Client(site.where) as client:
                    client.start(site.params("cookie=%d" % draw.randrange(4), cookie=cookie))
                    if draw.random() < 0.6:
                        answer = client.response()
                        if answer.status != 200 or not answer.complete:
                            raise AssertionError(answer)
        parallel = Parallel()
        for seed in range(10):
            parallel.start(ask, seed)
        parallel.join()
        for i in range(4):
            site.look(sid=str(i))


class TailCase(AdoptedCase):
    session = "lock = shared"
    names = 0

    def gate(self):
        TailCase.names += 1
        return "tail%d" % TailCase.names

    def check_silent(self, client):
        """Nothing more has come to it, although all that was sent before has been heard."""
        self.site.look()
        client.sock.setblocking(False)
        try:
            data = client.sock.recv(65536)
        except BlockingIOError:
            data = None
        finally:
            client.sock.settimeout(wait.BOUND)
        self.assertIsNone(data, "it came before its time")

    def check_held(self, query, length, **more):
        """All of the answer but the last byte of its first `length` bytes of body (0: of its head) has come, and the
        rest comes when the request has ended. The answer."""
        gate = self.gate()
        client = self.site.stand("%s&gate=%s" % (query, gate), **more)
        raw = client.wait_output(1, 20)
        while b"\r\n\r" not in raw or (length and len(raw.partition(b"\r\n\r\n")[2]) < length - 1):
            raw = client.wait_output(1, len(raw) + 1)
        if length:
            self.assertEqual(len(raw.partition(b"\r\n\r\n")[2]), length - 1)
        else:
            self.assertTrue(raw.endswith(b"\r\n\r"), raw)
        self.check_silent(client)
        self.site.open(gate)
        answer = client.response()
        self.assertTrue(answer.complete)
        return answer

    def check_at_once(self, query, **more):
        gate = self.gate()
        client = self.site.stand("%s&gate=%s" % (query, gate), **more)
        raw = client.wait_output(1, 20)
        while raw.partition(b"\r\n\r\n")[2] != b"bbbb":
            raw = client.wait_output(1, len(raw) + 1)
        self.site.open(gate)
        self.assertTrue(client.response().complete)


class TestTail(TailCase):
    def test_a_body(self):
        for length in (1, 2, 4, 16383, 16384, 16385, 65536, 300000):
            with self.subTest(length=length):
                answer = self.check_held("early=1&body=%d" % length, length)
                self.assertEqual(answer.body, b"b" * length)

    def test_only_a_head(self):
        for query in ("early=1&nothing=1&body=0", "head=1&nothing=1&body=0", "head=1&nothing=1&status=302&body=0"):
            answer = self.check_held(query, 0)
            self.assertEqual(answer.body, b"")

    def test_a_head_and_later_a_body(self):
        answer = self.check_held("head=1", 0)
        self.assertEqual(answer.body, b"bbbb")

    def test_answers_whose_head_is_all(self):
        """The body that an application sends all the same is left out."""
        for more in ({"method": "HEAD"}, {"query": "&status=204"}, {"query": "&status=304%20Not%20Modified"}):
            for kind in ("early=1", "head=1", "early=1&body=100000"):
                with self.subTest(more=more, kind=kind):
                    options = {"method": more["method"]} if "method" in more else {}
                    answer = self.check_held(kind + more.get("query", ""), 0, **options)
                    self.assertEqual(answer.body, b"")
                    self.assertTrue(answer.header("Content-Length"))

    def test_who_is_not_held(self):
        self.check_at_once("early=1", path="/ro/")
        self.check_at_once("early=1", path="/plain/")
        self.check_at_once("early=1&type=text/event-stream")
        self.check_at_once("early=1&type=text/event-stream%3Bcharset%3Dutf-8")

    def test_a_cut_answer_stays_cut(self):
        """The application dies with all of its answer said: it has not said that it is over."""
        gate = self.gate()
        client = self.site.stand("early=1&die=1&gate=" + gate, method="POST", body_length=0)
        client.wait_output(1, 20)
        self.site.open(gate)
        answer = client.response()
        self.assertFalse(answer.complete)
        self.assertEqual(answer.body, b"bbb")

    def test_a_cut_answer_among_others(self):
        """On a connection that carries other requests END_REQUEST says so."""
        gate, other = self.gate(), self.gate()
        client = self.site.stand("early=1&die=1&gate=" + gate, method="POST", body_length=0)
        self.site.stand("gate=" + other, client=client, request_id=2)
        client.wait_output(1, 20)
        self.site.open(gate)
        answer = client.response(1)
        self.assertEqual((answer.body, answer.app_status, answer.protocol_status), (b"bbb", 1, 2))
        self.site.open(other)
        self.assertEqual(client.response(2).body, b"bbbb")

    def test_a_client_that_does_not_read(self):
        """What it does not take is not read from the application; in the end it has all of it."""
        gate = self.gate()
        client = self.site.stand("early=1&body=30000000&gate=" + gate)
        self.site.look()
        self.assertLess(self.site.weir.rss_kib(), 400000)
        self.site.open(gate)
        answer = client.response()
        self.assertTrue(answer.complete)
        self.assertEqual(answer.body, b"b" * 30000000)

    def test_bytes_are_counted_once(self):
        before = status.document(self.site)["requests"]["out_bytes"]
        answer = self.site.look("body=1000")
        self.assertEqual(status.document(self.site)["requests"]["out_bytes"] - before, len(answer.raw))

    def test_an_answer_of_weirs_own(self):
        answer = self.site.begin("die=1", method="POST", body_length=0).response()
        self.assertEqual((answer.status, answer.complete), (502, True))


class TestTailScgi(TailCase):
    """An SCGI application ends the request by closing its connection."""

    options = {"protocol": "scgi"}

    def check_held(self, query, length, **more):
        return super().check_held(query, length, body_length=0, **more)

    def test_a_body(self):
        for length in (1, 4, 100000):
            self.assertEqual(self.check_held("early=1&body=%d" % length, length).body, b"b" * length)

    def test_only_a_head(self):
        self.check_held("early=1&nothing=1&body=0", 0)


class TestTailToScgi(Case):
    """A web server that speaks SCGI."""

    def test_a_body(self):
        site = Adopted(self.scope, front="scgi")
        with scgi.Client(site.where) as client:
            client.send(scgi.header(site.params("early=1&gate=x"), 0))
            site.backend.wait_requests(1)
            raw = b""
            while not raw.endswith(b"\r\n\r\nbbb"):
                raw += client.sock.recv(65536)
            site.ask("")
            client.sock.setblocking(False)
            with self.assertRaises(BlockingIOError):
                client.sock.recv(1)
            client.sock.settimeout(wait.BOUND)
            site.open("x")
            self.assertEqual(client.sock.recv(65536), b"b")


class TestRealApplication(Case):
    """libfcgi, and nginx in front: the browser does not have all of it before the application is done."""

    def test_it(self):
        app = apps.Libfcgi(self.scope, processes=3)
        where, go = self.scope.unix("f"), self.scope.path("go")
        gateway = weir.Weir(self.scope, [(where, "fastcgi", "")], [weir.app(
            "shop", [app.text()], "", SESSION % (self.scope.unix("s"), ""))], 1)
        nginx = servers.Nginx(self.scope, where, app.root)
        front = Front(where, "fastcgi", gateway)
        query = "bytes=1000&header=Content-Length:1000&until=" + go
        browser = address.connect(nginx.where)
        self.scope.at_end(browser.close)
        browser.sendall(b"GET /?%s HTTP/1.1\r\nHost: app.test\r\nCookie: SID=x\r\nConnection: close\r\n\r\n" %
                        query.encode())
        raw = b""
        with self.assertRaises(TimeoutError):  # what nginx has to give it gives within that time
            browser.settimeout(1)
            while piece := browser.recv(65536):
                raw += piece
        self.assertLess(len(raw.partition(b"\r\n\r\n")[2]), 1000)
        self.assertEqual(front.ask("bytes=1").status, 200)
        with open(go, "w"):
            pass
        browser.settimeout(wait.BOUND)
        while piece := browser.recv(65536):
            raw += piece
        self.assertEqual(raw.partition(b"\r\n\r\n")[2], bytes((i * 7 + i // 256) % 256 for i in range(1000)))


if __name__ == "__main__":
    unittest.main()
