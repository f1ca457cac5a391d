"""Node.js on the session socket: Express with express-session and connect-redis, on node-redis 5 and 6 (RESP2 and
RESP3) and on ioredis. The application is asked over HTTP, with its store on a real redis-server and on weir's socket;
and over FastCGI through weir, which then knows the session from the signed cookie."""
import json
import os
from urllib.parse import urlencode

from harness import address, adopted, apps, case, cgi, process, wait, web
from harness.case import Case, Parallel

KEY = "sess:"
NAME = "connect.sid"
MODULES = os.path.join(case.TREE, "build", "node", "node_modules")


class Express:
    """The application as a backend."""

    protocol = "fastcgi"

    def __init__(self, scope, store_path, where, client):
        if not os.path.isdir(MODULES):
            raise AssertionError("there is no %s: make node-modules" % MODULES)
        self.where = where
        at = where.rpartition(":")[2]
        kind = "fcgi" if where.startswith("unix:") else "http"
        argv = [process.find("node"), os.path.join(apps.APPS, "session.js"), store_path, "%s:%s" % (kind, at), client]
        self.process = process.Process("node", argv, scope.fresh("node.log"),
                                       env={"NODE_PATH": MODULES, "NODE_ENV": "production"})
        scope.show(self.process)
        scope.at_end(self.process.stop)

    def text(self):
        return 'backend "%s" { protocol = fastcgi  connections = 32 }' % self.where


def sid(jar):
    """The id in a signed cookie: s:ID.SIGNATURE."""
    return jar.values[NAME].removeprefix("s%3A").rpartition(".")[0]


class Node(Case):
    kind = adopted.Weir
    client = "redis-6"
    session = 'cookie-format = express'

    @classmethod
    def start_shared(cls, scope):
        where = scope.unix("kv")
        cls.app = Express(scope, where.removeprefix("unix:"), cls.place(scope), cls.client)
        cls.store = cls.kind(scope, where, [cls.app], key=KEY, cookie=NAME, session=cls.session)
        address.wait_accepts(cls.app.where, cls.app.process)

    @classmethod
    def place(cls, _scope):
        return address.tcp()

    def setUp(self):
        super().setUp()
        self.store.clear()

    def ask(self, what, jar, query):
        with web.Browser(self.app.where) as browser:
            browser.jar = jar
            return browser.ask("/%s?%s" % (what, urlencode(query)))

    def get(self, what, jar, **query):
        answer = self.ask(what, jar, query)
        self.assertEqual(answer.status, 200, answer)
        return json.loads(answer.body)

    def count(self, jar, **query):
        return self.get("count", jar, **query)["session"]["n"]

    def kept(self, name):
        value = self.store.ask("GET", KEY + name)
        return value and json.loads(value)


class Sessions:
    def test_counts(self):
        jar, other = cgi.Jar(), cgi.Jar()
        self.assertEqual([self.count(jar) for _ in range(5)], [1, 2, 3, 4, 5])
        self.assertEqual(self.count(other), 1)
        self.assertEqual(self.kept(sid(jar))["n"], 5)
        self.assertTrue(490 < self.store.ask("TTL", KEY + sid(jar)) <= 500)

    def test_no_session_without_need(self):
        jar = cgi.Jar()
        self.get("read", jar)
        self.assertEqual((jar.values, self.get("length", cgi.Jar())), ({}, 0))

    def test_values(self):
        jar = cgi.Jar()
        text = "\u00e4\u20ac\U0001f600\r\n$5\r\n" + "x" * 3000
        self.get("set", jar, value=text)
        self.assertEqual(self.get("read", jar)["session"], {"value": text})

    def test_touch(self):
        """A session that is only read gets its time anew."""
        jar = cgi.Jar()
        self.count(jar)
        self.assertEqual(self.store.ask("EXPIRE", KEY + sid(jar), 100), 1)
        self.get("read", jar)
        self.assertTrue(490 < self.store.ask("TTL", KEY + sid(jar)) <= 500)

    def test_regenerate(self):
        jar = cgi.Jar()
        self.count(jar)
        old = sid(jar)
        self.assertEqual(self.get("regenerate", jar)["session"], {"n": 1})
        self.assertNotEqual(sid(jar), old)
        self.assertIsNone(self.kept(old))
        self.assertEqual(self.count(jar), 2)

    def test_destroy(self):
        jar = cgi.Jar()
        self.count(jar)
        old, cookie = sid(jar), jar.values[NAME]
        self.assertEqual(self.get("destroy", jar)["id"], old)
        self.assertIsNone(self.kept(old))
        jar.values[NAME] = cookie
        self.assertEqual(self.count(jar), 1)
        self.assertNotEqual(sid(jar), old)

    def test_reload(self):
        jar = cgi.Jar()
        self.count(jar)
        self.store.ask("SET", KEY + sid(jar), json.dumps({**self.kept(sid(jar)), "n": 41}), "KEEPTTL")
        self.assertEqual(self.get("reload", jar)["session"], {"n": 41})
        self.assertEqual(self.count(jar), 42)

    def test_a_cookie_that_nobody_signed(self):
        jar, good = cgi.Jar(), cgi.Jar()
        self.count(good)
        jar.values[NAME] = "s%3A" + sid(good) + ".forged"
        self.assertEqual(self.count(jar), 1)
        self.assertEqual(self.kept(sid(good))["n"], 1)

    def test_all_length_ids_clear(self):
        """SCAN with MATCH and COUNT, MGET, DEL with many keys."""
        jars = [cgi.Jar() for _ in range(30)]
        for n, jar in enumerate(jars):
            self.get("set", jar, value="v%d" % n)
        names = {sid(jar) for jar in jars}
        self.assertEqual(self.get("length", cgi.Jar()), 30)
        self.assertEqual(set(self.get("ids", cgi.Jar())), names)
        everything = {s["id"]: s["value"] for s in self.get("all", cgi.Jar())}
        self.assertEqual(everything, {sid(jar): "v%d" % n for n, jar in enumerate(jars)})
        self.assertEqual(self.get("clear", cgi.Jar()), "cleared")
        self.assertEqual((self.get("length", cgi.Jar()), self.get("all", cgi.Jar())), (0, []))
        self.assertEqual(self.count(jars[0]), 1)

    def test_all_and_clear_of_many(self):
        """connect-redis names them all in one MGET, and in one DEL."""
        with self.store.client() as client:
            for n in range(5000):
                client.say("SET", "%s%d" % (KEY, n), '{"cookie":{}}', "EX", 1000)
            self.assertEqual(client.replies(5000), ["OK"] * 5000)
        self.assertEqual(len(self.get("all", cgi.Jar())), 5000)
        self.get("clear", cgi.Jar())
        self.assertEqual(self.get("length", cgi.Jar()), 0)


class TestRedis6Redis(Sessions, Node):
    kind = adopted.Redis


class TestRedis5Redis(Sessions, Node):
    kind = adopted.Redis
    client = "redis-5"


class TestIoredisRedis(Sessions, Node):
    kind = adopted.Redis
    client = "ioredis"


class TestRedis6(Sessions, Node):
    pass


class TestRedis6Resp2(Sessions, Node):
    client = "redis-6-resp2"


class TestRedis5(Sessions, Node):
    client = "redis-5"


class TestIoredis(Sessions, Node):
    client = "ioredis"


class Fastcgi(Node):
    @classmethod
    def place(cls, scope):
        return scope.unix("app")

    def ask(self, what, jar, query):
        answer = self.store.front.ask(urlencode(query), "/" + what, jar)
        self.assertTrue(answer.complete, answer)
        return answer

    def setUp(self):
        wait.until(lambda: self.ask("length", cgi.Jar(), {}).status == 200, "the application")
        super().setUp()


class TestFastcgiRedis(Sessions, Fastcgi):
    kind = adopted.Redis


class TestThroughWeir(Sessions, Fastcgi):
    def test_sixteen_at_once(self):
        """express-session has no lock: with Redis increments are lost."""
        jar = cgi.Jar()
        self.count(jar)

        def visit():
            own = cgi.Jar()
            own.values.update(jar.values)
            return self.count(own, hold=20)
        parallel = Parallel()
        for _ in range(16):
            parallel.start(visit)
        self.assertEqual(sorted(parallel.join()), list(range(2, 18)))
        self.assertEqual(self.count(jar), 18)
