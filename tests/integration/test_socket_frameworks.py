"""Applications in Python and Ruby with their sessions in "Redis", as their frameworks' users configure it: Flask with
Flask-Session, Django with django-redis, Rack with redis-rack. Every test is asked with a real redis-server first, so
that it says what the library does, and of weir then."""
import hashlib
import json
import os
import shlex
import sys
from urllib.parse import urlencode

from harness import address, adopted, apps, cgi, process, wait
from harness.case import Case, Parallel


class Program(apps.App):
    """One of apps/session_*; `of`: the path of its Redis."""

    def __init__(self, scope, of, arguments=()):
        self.of, self.arguments = of, arguments
        super().__init__(scope, processes=8)

    def start(self):
        with address.listen(self.where) as sock:
            for _ in range(self.count):
                self.run(self.name, [self.runs, os.path.join(apps.APPS, self.name), self.of, *self.arguments],
                         env={"PYTHONDONTWRITEBYTECODE": "1"}, stdin=sock.fileno())


class Python(Program):
    protocol, count, runs = "scgi", 1, sys.executable


class FlaskApp(Python):
    name = "session_flask.py"


class DjangoApp(Python):
    name = "session_django.py"


class RackApp(Program):
    name, count, runs = "session_rack.rb", 4, "ruby"

    def text(self, options=""):
        return 'backend "%s" { protocol = fastcgi  connections = %d %s }' % (self.where, self.count, options)


class Framework(Case):
    kind = adopted.Weir
    session = ""
    arguments = ()

    @classmethod
    def start_shared(cls, scope):
        where = scope.unix("kv")
        cls.app = cls.program(scope, where.removeprefix("unix:"), cls.arguments)
        cls.store = cls.kind(scope, where, [cls.app], key=cls.prefix, cookie=cls.cookie, session=cls.session)

    def setUp(self):
        super().setUp()
        self.store.clear()

    def get(self, what, jar, **query):
        """What the session holds at the end of the request."""
        answer = self.store.front.ask(urlencode(query), "/" + what, jar, SCRIPT_NAME="", PATH_INFO="/" + what)
        self.assertEqual((answer.status, answer.complete), (200, True), answer)
        return json.loads(answer.body)["session"]

    def count(self, jar, **query):
        return self.get("count", jar, **query)["n"]

    def with_cookie(self, value):
        jar = cgi.Jar()
        jar.values[self.cookie] = value
        return jar

    def key(self, cookie):
        return self.prefix + cookie

    def lives_s(self, cookie):
        """-2: it does not."""
        return self.store.ask("TTL", self.key(cookie))

    # Whether the library begins a session under any id that a browser brings.
    takes_any_id = False


class Flask(Framework):
    program, prefix, cookie = FlaskApp, "session:", "session"
    takes_any_id = True


class FlaskSigned(Flask):
    """SESSION_USE_SIGNER: the cookie is the id, a dot and a signature."""

    arguments = ("signed",)

    def key(self, cookie):
        return self.prefix + cookie.rpartition(".")[0]


class Django(Framework):
    """The key is made of KEY_PREFIX, which is empty, VERSION, and the prefix of Django's back end."""

    program, prefix, cookie = DjangoApp, ":1:django.contrib.sessions.cache", "sessionid"


class Rack(Framework):
    """What stands in the key is a hash of what stands in the cookie."""

    program, prefix, cookie = RackApp, "rack:session:", "rack.session"

    def key(self, cookie):
        return self.prefix + "2::" + hashlib.sha256(cookie.encode()).hexdigest()


class Sessions:
    def test_counts(self):
        jar, other = cgi.Jar(), cgi.Jar()
        self.assertEqual([self.count(jar) for _ in range(5)], [1, 2, 3, 4, 5])
        self.assertEqual(self.count(other), 1)
        self.assertNotEqual(jar.values[self.cookie], other.values[self.cookie])
        self.assertTrue(490 < self.lives_s(jar.values[self.cookie]) <= 500)

    def test_values(self):
        jar = cgi.Jar()
        text = "\u00e4\u20ac\U0001f600\r\n$5\r\n*3\r\n" + "x" * 3000
        self.get("set", jar, value=text)
        self.assertEqual(self.get("read", jar), {"value": text})

    def test_log_in(self):
        """A new id, the same session; the old id finds nothing."""
        jar = cgi.Jar()
        self.count(jar)
        old = jar.values[self.cookie]
        self.assertEqual(self.get("login", jar, who="Ada"), {"n": 1, "who": "Ada"})
        self.assertNotEqual(jar.values[self.cookie], old)
        self.assertEqual(self.lives_s(old), -2)
        self.assertEqual(self.count(jar), 2)
        self.assertEqual(self.get("read", jar), {"n": 2, "who": "Ada"})
        self.assertEqual(self.get("read", self.with_cookie(old)), {})

    def test_log_out(self):
        jar = cgi.Jar()
        self.get("login", jar, who="Ada")
        old = jar.values[self.cookie]
        self.get("logout", jar)
        self.assertEqual(self.lives_s(old), -2)
        self.assertEqual(self.get("read", self.with_cookie(old)), {})
        jar = self.with_cookie(old)
        self.assertEqual([self.count(jar), self.count(jar)], [1, 2])
        self.assertEqual(jar.values[self.cookie] == old, self.takes_any_id)

    def test_expiry(self):
        jar = cgi.Jar()
        self.count(jar)
        cookie = jar.values[self.cookie]
        self.assertEqual(self.store.ask("EXPIRE", self.key(cookie), 100), 1)
        self.assertEqual(self.count(jar), 2)
        self.assertTrue(490 < self.lives_s(cookie) <= 500, "a request that writes gives it its time anew")
        self.assertEqual(self.store.ask("EXPIRE", self.key(cookie), 1), 1)
        wait.until(lambda: self.lives_s(cookie) == -2, "the end of the session")
        self.assertEqual(self.count(jar), 1)

    def leave_while_counting(self, spell=str):
        """A request has read its session; another one of the same browser logs out; the first one writes. How long what
        has ended lives then. `spell`: how the first one writes the cookie's value."""
        jar = cgi.Jar()
        self.get("login", jar, who="Ada")
        cookie, gate, parallel = jar.values[self.cookie], self.scope.fresh("gate"), Parallel()
        parallel.start(self.store.front.ask, urlencode({"gate": gate}), "/count", self.with_cookie(spell(cookie)),
                       SCRIPT_NAME="", PATH_INFO="/count")
        wait.until(lambda: os.path.exists(gate + ".reached"), "the request stands at the gate")
        self.get("logout", self.with_cookie(cookie))
        self.scope.write(gate, "")
        parallel.join()
        return self.lives_s(cookie)


class Exclusive(Sessions):
    def test_eight_at_once(self):
        """None of these libraries has a lock: with Redis increments are lost."""
        jar = cgi.Jar()
        self.count(jar)
        parallel = Parallel()
        for _ in range(8):
            parallel.start(self.count, self.with_cookie(jar.values[self.cookie]), hold=20)
        self.assertEqual(sorted(parallel.join()), list(range(2, 10)))
        self.assertEqual(self.count(jar), 10)

    def test_restart(self):
        """The application keeps running, with the connections that it had."""
        jar = cgi.Jar()
        self.get("login", jar, who="Ada")
        for n in range(1, 4):
            self.assertEqual(self.count(jar), n)
            self.store.gateway.restart()
            address.wait_accepts(self.store.where, self.store.gateway.process)
        self.assertEqual(self.get("read", jar), {"n": 3, "who": "Ada"})


class Returns:
    def test_an_ended_session_comes_back(self):
        self.assertGreater(self.leave_while_counting(), 0)


class StaysEnded:
    def test_an_ended_session_stays_ended(self):
        self.assertEqual(self.leave_while_counting(), -2)


class TestFlaskRedis(Sessions, Returns, Flask):
    kind = adopted.Redis


class TestFlask(Exclusive, Flask):
    pass


SPELLINGS = {
    "octal": lambda name: '"%s"' % "".join("\\%03o" % ord(c) for c in name),
    "backslashes": lambda name: '"%s"' % name.replace("-", "\\-"),
    "blanks": "\v{}\f".format,
    "blanks and quotes": '\v"{}"\f'.format,
}


class TestFlaskShared(StaysEnded, Sessions, Flask):
    session = "lock = shared"

    def test_however_the_cookie_is_spelled(self):
        """Whoever has got hold of a cookie cannot keep the session by another spelling that Flask understands."""
        for title, spell in SPELLINGS.items():
            with self.subTest(title):
                self.assertEqual(self.leave_while_counting(spell), -2)


class TestFlaskSignedRedis(Sessions, Returns, FlaskSigned):
    kind = adopted.Redis


class TestFlaskSigned(Exclusive, FlaskSigned):
    """Requests with one cookie run one after the other, whatever the key is that the library makes of it."""


class TestDjangoRedis(StaysEnded, Sessions, Django):
    """Django looks by itself whether the session is still there before it writes."""

    kind = adopted.Redis


class TestDjango(Exclusive, Django):
    pass


class TestDjangoShared(StaysEnded, Sessions, Django):
    session = "lock = shared"


class TestRackRedis(Sessions, Returns, Rack):
    kind = adopted.Redis


class TestRack(Exclusive, Rack):
    """As with FlaskSigned."""


class TestRackShared(Sessions, Returns, Rack):
    """The key is not what weir takes from the cookie: it does not know whose the write is."""

    session = "lock = shared"


class TestRackSpawned(Exclusive, Rack):
    """Its processes are weir's own, as in examples/weir/adopted-rack.conf, and end with it."""

    @classmethod
    def start_shared(cls, scope):
        where = scope.unix("kv")
        argv = [process.find("ruby"), os.path.join(apps.APPS, RackApp.name), where.removeprefix("unix:")]
        program = scope.write("shop.fcgi", "#!/bin/sh\nexec %s\n" % shlex.join(argv))
        os.chmod(program, 0o755)
        backend = 'backend "spawn:%s" { protocol = fastcgi  processes = 2  connections = 2 }' % program
        cls.store = adopted.Weir(scope, where, backends=[backend], key=cls.prefix, cookie=cls.cookie)
