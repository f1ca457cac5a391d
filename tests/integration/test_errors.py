"""What the client gets when something is wrong: each row of the table in doc/ that one node can show."""
import json
import time

from harness import cgi, fcgi, scgi, wait, weir
from harness.backend import Backend
from harness.case import Case
from harness.site import Site


def cut(answer):
    """Whether the client can tell that the answer is not all there."""
    return not answer.complete or answer.app_status not in (0, None)


class ErrorCase(Case):
    def assert_own(self, answer, status, retry=False):
        """An answer of the gateway's own."""
        self.assertEqual(answer.status, status, answer)
        self.assertTrue(answer.complete, answer)
        self.assertTrue(answer.header("Content-Type").startswith("text/plain"), answer)
        self.assertEqual(answer.header("Cache-Control"), "no-store")
        self.assertIn(str(status).encode(), answer.body)
        if retry:
            self.assertGreaterEqual(int(answer.header("Retry-After")), 1)
        else:
            self.assertIsNone(answer.header("Retry-After"))


class TestRouting(ErrorCase):
    @classmethod
    def start_shared(cls, scope):
        def named(name):
            return lambda x: x.answer(name)
        cls.backends = {name: Backend(scope, named(name)) for name in ("host", "path", "long", "both", "suffix")}

        def app(name, *match):
            return weir.app(name, [cls.backends[name].text()], match=match)
        cls.where = scope.unix("f")
        cls.scgi = scope.unix("g")
        cls.weir = weir.Weir(scope, [(cls.where, "fastcgi", ""), (cls.scgi, "scgi", "")], [
            app("host", "host:shop.test"), app("path", "path:/a"), app("long", "path:/a/b"),
            app("both", "host:both.test", "path:/only"), app("suffix", "host:*.wild.test")], workers=1)

    def who(self, host, path):
        with fcgi.Client(self.where) as client:
            return client.ask(cgi.params(path, host=host))

    def test_routes(self):
        for host, path, name in (
                ("shop.test", "/", b"host"), ("shop.test:8080", "/x", b"host"), ("SHOP.test", "/", b"host"),
                ("x.test", "/a", b"path"), ("x.test", "/a/", b"path"), ("x.test", "/a/c", b"path"),
                ("x.test", "/a/b", b"long"), ("x.test", "/a/b/c", b"long"), ("x.test", "/a/bc", b"path"),
                ("both.test", "/only/x", b"both"), ("a.wild.test", "/", b"suffix")):
            with self.subTest(host=host, path=path):
                answer = self.who(host, path)
                self.assertEqual((answer.status, answer.body), (200, name))

    def test_no_app_matches(self):
        for host, path in (("x.test", "/"), ("x.test", "/ab"), ("x.test", "/b/a"), ("shop.test.evil", "/"),
                           ("both.test", "/other")):
            with self.subTest(host=host, path=path):
                self.assert_own(self.who(host, path), 404)

    def test_no_app_matches_scgi(self):
        self.assert_own(scgi.ask(self.scgi, cgi.params("/", host="x.test")), 404)

    def test_no_app_matches_with_a_body(self):
        """The body is read and dropped; the connection goes on."""
        with fcgi.Client(self.where) as client:
            self.assert_own(client.ask(cgi.params("/", method="POST", host="x.test", body_length=300000),
                                       b"x" * 300000), 404)
            self.assertEqual(client.ask(cgi.params("/", host="shop.test")).body, b"host")

    def test_no_variables(self):
        with fcgi.Client(self.where) as client:
            self.assertIn(client.ask({}).status, (400, 404))


class TestLimits(ErrorCase):
    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, "", listen="max-params = 4k max-body = 10000")
        cls.scgi = Site(scope, "", front="scgi", listen="max-params = 4k max-body = 10000")

    def test_variables(self):
        self.assertEqual(self.site.ask("", X_FILL="y" * 2000).status, 200)
        for size in (4096, 60000, 200000):
            with self.subTest(size=size):
                self.assertIn(self.site.ask("", X_FILL="y" * size).status, (413, 431))
                self.assertIn(self.scgi.ask("", X_FILL="y" * size).status, (413, 431))
        self.assertEqual(self.site.ask("").status, 200)

    def test_body(self):
        for site in (self.site, self.scgi):
            with self.subTest(front=site.front):
                self.assertEqual(site.ask("", body=b"x" * 10000).status, 200)
                before = len(site.backend.requests)
                self.assert_own(site.ask("", body=b"x" * 10001), 413)
                self.assert_own(site.ask("", body=b"x" * 3000000), 413)
                self.assertEqual(len(site.backend.requests), before)

    def test_body_without_a_length(self):
        """A body that grows over the limit: it is cut off, one way or the other, and never complete at the backend."""
        with self.site.client() as client:
            client.start(self.site.params("", method="POST"), b"x" * 200000)
            answer = client.response()
            self.assertTrue(answer.status == 413 or cut(answer), answer)
        self.assertEqual([len(x.body) for x in self.site.backend.requests if len(x.body) > 10000], [])

    def test_length_that_lies(self):
        """CONTENT_LENGTH says 5 and more comes, or less."""
        for body in (b"x" * 3, b"x" * 9):
            with self.subTest(length=len(body)), self.site.client() as client:
                client.start(self.site.params("", method="POST", body_length=5), body)
                answer = client.response()
                self.assertTrue(answer.status in (200, 400) or cut(answer), answer)
        self.assertEqual(self.site.ask("").status, 200)

    def test_length_that_is_none(self):
        for text in ("-1", "abc", "99999999999999999999999", "1 ", "+1", "0x10"):
            with self.subTest(length=text), self.site.client() as client:
                client.start(self.site.params("", method="POST", CONTENT_LENGTH=text), b"x")
                answer = client.response()
                self.assertTrue(answer.status in (200, 400, 413) or cut(answer), answer)
        self.assertEqual(self.site.ask("").status, 200)


class TestBackendSilent(ErrorCase):
    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, "", "timeout = 700ms")
        cls.scgi = Site(scope, "", "timeout = 700ms", protocol="scgi")

    def test_504(self):
        for site in (self.site, self.scgi):
            with self.subTest(backend=site.backend.protocol):
                began = time.monotonic()
                answer = site.ask("gate=silent")
                self.assert_own(answer, 504)
                self.assertGreaterEqual(time.monotonic() - began, 0.6)
                x = site.reached["silent"][0]
                self.assertTrue(x.wait_gone(), "the silent backend's connection is still open")
                site.open("silent")
                self.assertEqual(site.ask("").status, 200)

    def test_silent_after_the_head(self):
        for site in (self.site, self.scgi):
            with self.subTest(backend=site.backend.protocol):
                answer = site.ask("gate=half&head=1")
                self.assertEqual(answer.status, 200)
                self.assertTrue(cut(answer), "half an answer looks like a whole one: %r" % answer)
                self.assertTrue(site.reached["half"][0].wait_gone())
                site.open("half")

    def test_not_repeated(self):
        before = len(self.site.backend.requests)
        self.assert_own(self.site.ask("gate=once"), 504)
        self.assertEqual(len(self.site.backend.requests), before + 1)
        self.site.open("once")

    def test_slow_is_not_silent(self):
        def drip(x):
            x.out(b"Content-Type: text/plain\r\n\r\n")
            for _ in range(12):
                x.out(b".")
                time.sleep(0.1)
            x.end()
        site = Site(self.scope, "", "timeout = 700ms", handler=drip)
        answer = site.ask("")
        self.assertEqual((answer.status, answer.body, answer.complete), (200, b"." * 12, True))

    def test_a_slow_upload_is_not_a_silent_backend(self):
        with self.site.client() as client:
            client.send(fcgi.begin(), fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(
                self.site.params("", method="POST", body_length=12))))
            for _ in range(12):
                client.send(fcgi.record(fcgi.STDIN, 1, b"x"))
                time.sleep(0.1)
            client.send(fcgi.record(fcgi.STDIN, 1))
            self.assertEqual(client.response().status, 200)


class TestBackendDies(ErrorCase):
    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, "")
        cls.scgi = Site(scope, "", protocol="scgi")

    def test_before_any_byte(self):
        for site in (self.site, self.scgi):
            with self.subTest(backend=site.backend.protocol):
                self.assert_own(site.ask("die=1", body=b"x"), 502)
                self.assert_own(site.ask("die=1"), 502)
                self.assertEqual(site.ask("").status, 200)

    def test_in_the_middle(self):
        """An SCGI backend's answer ends with the connection: there the middle cannot be told from the end."""
        self.site.open("mid")
        answer = self.site.ask("gate=mid&head=1&die=1")
        self.assertEqual(answer.status, 200)
        self.assertTrue(cut(answer), "half an answer looks like a whole one: %r" % answer)

    def test_nobody_listens(self):
        site = Site(self.scope, "")
        site.backend.refuse()
        self.assert_own_502_or_503(site.ask("", body=b"x"))
        self.assert_own_502_or_503(site.ask(""))

    def assert_own_502_or_503(self, answer):
        self.assert_own(answer, answer.status, retry=answer.status == 503)
        self.assertIn(answer.status, (502, 503))


class TestGone(ErrorCase):
    """The client goes: the backend is told by closing its connection, and the session is free."""

    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, "")
        cls.scgi = Site(scope, "", front="scgi", protocol="scgi")

    def leave(self, site, gate, query="", body=b"", jar=None):
        params = site.params("gate=%s&%s" % (gate, query), jar=jar, method="POST" if body else "GET",
                             body_length=len(body) if body else None)
        client = scgi.Client(site.where) if site.front == "scgi" else site.client()
        if site.front == "scgi":
            client.send(scgi.header(params, len(body)), body)
        else:
            client.start(params, body)
        x = site.wait_at(gate)[0]
        client.close()
        self.assertTrue(x.wait_gone(), "the backend still works for a client that is gone")
        site.open(gate)

    def test_while_it_waits_for_the_answer(self):
        for site in (self.site, self.scgi):
            with self.subTest(front=site.front):
                self.leave(site, "wait")

    def test_while_the_answer_comes(self):
        for site in (self.site, self.scgi):
            with self.subTest(front=site.front):
                self.leave(site, "stream", "head=1")

    def test_the_session_is_free(self):
        jar = cgi.Jar()
        self.site.ask("set=kept", jar=jar)
        self.leave(self.site, "session", "set=lost", jar=jar)
        self.assertEqual(self.site.state(jar)[1], "kept")

    def test_in_the_middle_of_the_body(self):
        """A5: PHP would take ABORT_REQUEST in a body for its end. It must see the connection close."""
        seen = []

        def handler(x):
            try:
                for piece in x.body_pieces():
                    seen.append(piece)
                seen.append("complete")
            finally:
                seen.append("over")
        site = Site(self.scope, "", handler=handler, stream=True)
        client = site.client()
        params = fcgi.pairs(site.params("", method="POST", body_length=9))
        client.send(fcgi.begin(), fcgi.stream(fcgi.PARAMS, 1, params), fcgi.record(fcgi.STDIN, 1, b"half"))
        wait.until(lambda: seen, "the first half of the body at the backend")
        client.close()
        wait.until(lambda: "over" in seen, "the end of the backend's connection")
        self.assertNotIn("complete", seen)


class TestForged(ErrorCase):
    def test_the_request_runs(self):
        site = Site(self.scope, "")
        answer = site.ask("", cookie="WEIRSID=forged")
        self.assertEqual(answer.status, 200)
        self.assertEqual(json.loads(answer.body)["SESSION_STATE"], "none")


class TestMalformed(ErrorCase):
    def test_closed_with_one_line(self):
        site = Site(self.scope, "")
        scgi_site = Site(self.scope, "", front="scgi")
        for s, data in ((site, b"GET / HTTP/1.1\r\n\r\n"), (scgi_site, b"GET / HTTP/1.1\r\n\r\n")):
            client = fcgi.Client(s.where)
            client.send(data)
            self.assertTrue(client.closed())
            client.close()
            self.assertEqual(len(s.weir.wait_line(r"front_closed .*reason=")), 1, s.weir.lines("reason="))
