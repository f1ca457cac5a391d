"""Every web server with every kind of application, through the gateway: what a browser sees."""
import json
import os
import unittest
import zlib

from harness import address, apps, servers, web, weir
from harness.case import Case, Parallel

APPS = {"php": apps.PhpFpm, "libfcgi": apps.Libfcgi, "pyscgi": apps.PythonScgi}


class Pair:
    """The tests; a class below says the web server. Each test is asked of all three applications: the browser says by
    the host's name which one it wants."""

    server = None
    apache_scgi = False
    see_other = (303,)  # what becomes of 303 with a Location
    gives_up = False

    @classmethod
    def start_shared(cls, scope):
        started = {}
        for name, kind in APPS.items():
            if name == "php" and cls.apache_scgi:
                kind = apps.PhpFpmDocRoot
            started[name] = kind(scope, processes=4)
        listen = address.tcp()
        sections = [weir.app(name, [a.text()], "timeout = 30s queue-wait = 30s", "", ["host:%s.test" % name])
                    for name, a in started.items()]
        cls.weir = weir.Weir(scope, [(listen, cls.server.protocol, "")], sections, workers=2)
        cls.web = cls.server(scope, listen, apps.APPS)
        cls.apps = started

    def browser(self, app):
        browser = web.Browser(self.web.where, host=app + ".test")
        self.addCleanup(browser.connection.close)
        return browser

    def report(self, answer):
        self.assertEqual(answer.status, 200, answer)
        return json.loads(answer.body)

    def check_get(self, app):
        got = self.report(self.browser(app).ask("/app.php?a=1&b=%C3%A4+x", headers={
            "X-Weir-Test": "some, value; q=\"1\"", "Authorization": "Basic Zm9vOmJhcg=="}))
        env = got["env"]
        self.assertEqual(got["app"], {"pyscgi": "scgi"}.get(app, app))
        self.assertEqual(env["QUERY_STRING"], "a=1&b=%C3%A4+x")
        self.assertEqual(env["REQUEST_METHOD"], "GET")
        self.assertEqual(env["SCRIPT_NAME"], "/app.php")
        self.assertEqual(env["HTTP_X_WEIR_TEST"], "some, value; q=\"1\"")
        self.assertEqual(env["HTTP_AUTHORIZATION"], "Basic Zm9vOmJhcg==")
        self.assertEqual(env["SESSION_STATE"], "none")
        self.assertNotIn("SESSION_ID", {k for k, v in env.items() if v})

    def check_bodies(self, app):
        browser = self.browser(app)
        for size in (0, 1, 100 * 1024, 3 * 1024 * 1024):
            with self.subTest(size=size):
                body = os.urandom(size)
                kind = {"Content-Type": "application/x-test"}
                got = self.report(browser.ask("/app.php", "POST", body, kind))
                self.assertEqual((got["length"], got["crc32"]), (size, zlib.crc32(body)))
                self.assertEqual(got["env"]["CONTENT_TYPE"], "application/x-test")
                self.assertEqual(int(got["env"]["CONTENT_LENGTH"] or 0), size)
                echo = browser.ask("/app.php?echo=1", "POST", body, kind)
                self.assertEqual((echo.status, len(echo.body)), (200, size))
                self.assertTrue(echo.body == body, "the body came back different")
                self.assertEqual(echo.header("Content-Type"), "application/x-test")

    def check_set_cookie(self, app):
        answer = self.browser(app).ask("/app.php?cookies=3")
        self.assertEqual(answer.all("Set-Cookie"), ["app0=v0", "app1=v1", "app2=v2"])

    def check_status(self, app):
        browser = self.browser(app)
        for text, code in (("404+Not+Found", 404), ("500+Oops", 500), ("201+Created", 201), ("503", 503)):
            self.assertEqual(browser.ask("/app.php?status=" + text).status, code)

    def check_location(self, app):
        answer = self.browser(app).ask("/app.php?status=302+Found&location=https://example.org/there%3fx=1")
        self.assertEqual((answer.status, answer.header("Location")), (302, "https://example.org/there?x=1"))
        answer = self.browser(app).ask("/app.php?status=303+See&location=/elsewhere")
        self.assertIn(answer.status, self.see_other)
        self.assertTrue(answer.header("Location").endswith("/elsewhere"), answer)

    def check_no_body(self, app):
        browser = self.browser(app)
        answer = browser.ask("/app.php?nobody=1")
        self.assertEqual((answer.status, answer.body), (200, b""))
        answer = browser.ask("/app.php?nobody=1&status=204+No+Content")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.report(browser.ask("/app.php"))

    def check_head(self, app):
        browser = self.browser(app)
        answer = browser.ask("/app.php?header=X-Seen:yes", "HEAD")
        self.assertEqual((answer.status, answer.header("X-Seen"), answer.body), (200, "yes", b""))
        self.report(browser.ask("/app.php"))

    def check_methods(self, app):
        browser = self.browser(app)
        for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
            body = b"abc" if method in ("PUT", "PATCH") else None
            got = self.report(browser.ask("/app.php", method, body))
            self.assertEqual((got["env"]["REQUEST_METHOD"], got["length"]), (method, len(body or b"")))

    def check_large_answer(self, app):
        size = 3 * 1024 * 1024 + 17
        answer = self.browser(app).ask("/app.php?bytes=%d" % size)
        self.assertEqual((answer.status, len(answer.body)), (200, size))
        self.assertTrue(answer.body == pattern(size), "the answer's bytes are not those that were sent")

    def check_session(self, app):
        browser = self.browser(app)
        first = browser.ask("/app.php?incr=1")
        self.assertEqual(self.report(first)["env"]["SESSION_STATE"], "none")
        self.assertIn("WEIRSID", browser.jar.values)
        self.assertEqual([n for n, _ in first.headers if n.lower().startswith("weir-")], [])
        states, data, names = [], [], set()
        for _ in range(3):
            env = self.report(browser.ask("/app.php?incr=1"))["env"]
            states.append(env["SESSION_STATE"])
            data.append(env["SESSION_DATA"])
            names.add(env["SESSION_ID"])
        self.assertEqual((states, data), (["new", "live", "live"], ["1", "2", "3"]))
        self.assertEqual(len(names), 1)
        self.assertNotIn(browser.jar.values["WEIRSID"], names)

    def check_forged_variables(self, app):
        env = self.report(self.browser(app).ask("/app.php", headers={
            "Session-Data": "forged", "Session-State": "live", "Weir-Session-Data": "forged"}))["env"]
        self.assertEqual(env["SESSION_STATE"], "none")
        self.assertFalse(env.get("SESSION_DATA"))

    def ask_again(self, browser, *args):
        answer = browser.ask(*args)
        for _ in range(3):
            if not (self.gives_up and answer.status == 500 and b"internal server error" in answer.body):
                break
            answer = browser.ask(*args)
        return answer

    def check_parallel(self, app):
        with_each = 5

        def visit(number):
            with web.Browser(self.web.where, host=app + ".test") as browser:
                for i in range(with_each):
                    body = b"%d-%d;" % (number, i) * 500
                    echo = self.ask_again(browser, "/app.php?echo=1", "POST", body)
                    if (echo.status, echo.body) != (200, body):
                        raise AssertionError("client %d got another's answer: %r" % (number, echo))
                    self.ask_again(browser, "/app.php?incr=1")
                return json.loads(self.ask_again(browser, "/app.php").body)["env"]["SESSION_DATA"]
        parallel = Parallel()
        for number in range(16):
            parallel.start(visit, number)
        self.assertEqual(parallel.join(), [str(with_each)] * 16)

    def test_unknown_host(self):
        self.assertEqual(web.ask(self.web.where, "/app.php", host="nobody.test").status, 404)


def pattern(size):
    """What bytes=N sends."""
    # It repeats after 65,536 bytes: (i * 7 + i / 256) mod 256.
    period = bytes((i * 7 + i // 256) & 255 for i in range(65536))
    return (period * (size // 65536 + 1))[:size]


for _check in [name for name in vars(Pair) if name.startswith("check_")]:
    for _app in APPS:
        def _test(self, check=_check, app=_app):
            getattr(self, check)(app)
        setattr(Pair, "test_%s_%s" % (_check[6:], _app), _test)


class TestNginx(Pair, Case):
    server = servers.Nginx


class TestNginxScgi(Pair, Case):
    server = servers.NginxScgi


class TestApache(Pair, Case):
    server = servers.Apache


class TestApacheScgi(Pair, Case):
    server = servers.ApacheScgi
    apache_scgi = True


class TestLighttpd(Pair, Case):
    server = servers.Lighttpd


class TestLighttpdScgi(Pair, Case):
    server = servers.LighttpdScgi


class TestCaddy(Pair, Case):
    server = servers.Caddy


class TestHaproxy(Pair, Case):
    server = servers.Haproxy
    see_other = (302, 303)  # HAProxy 2.6: a Location behind the Status makes it 302


class TestHaproxyMpx(Pair, Case):
    server = servers.HaproxyMpx
    see_other = (302, 303)
    # HAProxy 2.6 under load: now and then it opens a request on a shared connection and aborts it before its first
    # variable (BEGIN_REQUEST, ABORT_REQUEST), and tells the client 500. Nothing of the request ever reaches weir.
    gives_up = True


class TestHttps(Case):
    """The web server says that the request came over HTTPS, and the cookie is marked Secure."""

    @classmethod
    def start_shared(cls, scope):
        cls.tls = servers.certificate(scope)
        cls.app = apps.Libfcgi(scope, processes=2)
        cls.listens = {"fastcgi": address.tcp(), "scgi": address.tcp()}
        weir.Weir(scope, [(where, protocol, "") for protocol, where in cls.listens.items()],
                  [weir.app("main", [cls.app.text()], "", "")])

    def check(self, kind):
        server = kind(self.scope, self.listens[kind.protocol], apps.APPS, self.tls)
        with web.Browser(server.where, tls=True) as browser:
            self.assertEqual(browser.ask("/app.php?set=x").status, 200)
            self.assertIn("secure", browser.jar.attributes["WEIRSID"])
            self.assertEqual(json.loads(browser.ask("/app.php").body)["env"]["SESSION_DATA"], "x")
            browser.ask("/app.php?end=1")
            self.assertNotIn("WEIRSID", browser.jar.values)
        plain = kind(self.scope, self.listens[kind.protocol], apps.APPS)
        with web.Browser(plain.where) as browser:
            browser.ask("/app.php?set=x", headers={"Https": "on", "X-Forwarded-Proto": "https"})
            self.assertNotIn("secure", browser.jar.attributes["WEIRSID"])

    def test_nginx(self):
        self.check(servers.Nginx)

    def test_nginx_scgi(self):
        self.check(servers.NginxScgi)

    def test_apache(self):
        self.check(servers.Apache)

    def test_apache_scgi(self):
        self.check(servers.ApacheScgi)


if __name__ == "__main__":
    unittest.main()
