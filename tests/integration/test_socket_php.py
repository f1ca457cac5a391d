"""PHP with its sessions in "Redis": phpredis as its users configure it, Predis, Symfony's handler. Every test is asked
of a real redis-server first, so that it says what PHP does, and then of weir's session socket."""
import json
import os
from urllib.parse import urlencode

from harness import adopted, address, apps, cgi, servers, wait, web
from harness.case import Case, Parallel

SETTINGS = {
    "plain": {},
    "strict": {"session.use_strict_mode": 1},
    "locking": {"redis.session.locking_enabled": 1},
    "locking_strict": {"redis.session.locking_enabled": 1, "session.use_strict_mode": 1},
}
NAME = "PHPSESSID"


def ini(settings):
    return {"ini[%s]" % name: value for name, value in settings.items()}


class Php(Case):
    kind = adopted.Weir
    session = ""
    how = ""  # more of session.save_path
    listens = ()

    @classmethod
    def start_shared(cls, scope):
        where = scope.unix("kv")
        path = "unix://%s%s" % (where.removeprefix("unix:"), cls.how)
        cls.app = apps.PhpFpm(scope, processes=16, settings=(
            ("session.save_handler", "redis"), ("session.save_path", path), ("log_errors", "1"),
            ("error_reporting", "8191")))
        cls.store = cls.kind(scope, where, [cls.app], session=cls.session, listens=cls.listens)

    def ask(self, jar, do, settings=(), path="/shop", **query):
        """The answer; PHP must have had nothing to complain about."""
        query = {"do": do, **ini(dict(settings)), **query}
        answer = self.store.front.ask(urlencode(query), jar=jar, path=path,
                                      SCRIPT_FILENAME=os.path.join(apps.APPS, "session.php"))
        self.assertEqual((answer.status, answer.stderr, answer.complete), (200, b"", True), answer)
        return answer

    def visit(self, jar, do, settings=(), **query):
        """(id, what the session holds) as PHP sees it at the end of the request."""
        seen = json.loads(self.ask(jar, do, settings, **query).body)
        return seen["id"], seen["session"]

    def count(self, jar, settings=(), **query):
        return self.visit(jar, "count", settings, **query)[1]["n"]

    def kept(self, name):
        """What is kept under an id, as PHP has serialized it."""
        return self.store.ask("GET", adopted.PREFIX + name)


def with_cookie(value):
    jar = cgi.Jar()
    jar.values[NAME] = value
    return jar


class Checks:
    """Asked with each of SETTINGS."""

    def check_counts(self, settings):
        jar, other = cgi.Jar(), cgi.Jar()
        self.assertEqual([self.count(jar, settings) for _ in range(5)], [1, 2, 3, 4, 5])
        self.assertEqual(self.count(other, settings), 1)
        self.assertNotEqual(jar.values[NAME], other.values[NAME])
        self.assertEqual(self.kept(jar.values[NAME]), b"n|i:5;")

    def check_read_and_close(self, settings):
        jar = cgi.Jar()
        self.count(jar, settings)
        self.assertEqual(self.visit(jar, "read", settings, once=1)[1], {"n": 1})
        self.assertEqual(self.count(jar, settings), 2)

    def check_abort_writes_nothing(self, settings):
        jar = cgi.Jar()
        self.visit(jar, "set", settings, value="kept")
        self.visit(jar, "set", settings, value="dropped", drop=1)
        self.assertEqual(self.visit(jar, "read", settings)[1], {"value": "kept"})

    def check_values_of_any_bytes(self, settings):
        jar = cgi.Jar()
        text = "\u00e4\u20ac|;:{}\"'\r\n$5\r\n*3\r\n" + "x" * 3000
        self.visit(jar, "set", settings, value=text)
        self.assertEqual(self.visit(jar, "read", settings)[1], {"value": text})

    def check_regenerate_and_delete(self, settings):
        jar = cgi.Jar()
        self.count(jar, settings)
        old = jar.values[NAME]
        name, seen = self.visit(jar, "regenerate", settings, delete=1)
        self.assertEqual((name, seen), (jar.values[NAME], {"n": 1}))
        self.assertNotEqual(name, old)
        self.assertIsNone(self.kept(old))
        self.assertEqual(self.count(jar, settings), 2)
        self.assertEqual(self.visit(with_cookie(old), "read", settings)[1], {})

    def check_regenerate_and_keep(self, settings):
        jar = cgi.Jar()
        self.count(jar, settings)
        old = jar.values[NAME]
        self.visit(jar, "regenerate", settings)
        self.assertNotEqual(jar.values[NAME], old)
        self.assertEqual(self.count(jar, settings), 2)
        self.assertEqual(self.visit(with_cookie(old), "read", settings)[1], {"n": 1})

    def check_destroy(self, settings):
        jar = cgi.Jar()
        self.count(jar, settings)
        old = jar.values[NAME]
        self.visit(jar, "destroy", settings)
        self.assertIsNone(self.kept(old))
        self.assertEqual(self.count(jar, settings), 1, "a later request starts anew")
        self.assertEqual(self.count(jar, settings), 2)
        self.assertEqual(jar.values[NAME] != old, bool(settings.get("session.use_strict_mode")))

    def check_destroy_and_start_again(self, settings):
        """In one request. Without strict mode the id is the same."""
        jar = cgi.Jar()
        self.visit(jar, "set", settings, value="old")
        self.assertEqual(self.visit(jar, "destroy", settings, restart=1)[1], {"n": 1})
        self.assertEqual(self.visit(jar, "read", settings)[1], {"n": 1})

    def check_unknown_id(self, settings):
        """Strict mode is PHP's answer to session fixation: it has to be told that there is nothing."""
        jar = with_cookie("0123456789abcdef0123456789")
        self.addCleanup(self.store.ask, "DEL", adopted.PREFIX + "0123456789abcdef0123456789")
        self.assertEqual(self.count(jar, settings), 1)
        if settings.get("session.use_strict_mode"):
            self.assertNotEqual(jar.values[NAME], "0123456789abcdef0123456789")
            self.assertIsNone(self.kept("0123456789abcdef0123456789"))
        self.assertEqual(self.count(jar, settings), 2)

    def check_lazy_write(self, settings):
        """Nothing has changed: PHP gives the session its time anew, and does not write it."""
        jar = cgi.Jar()
        limit = {**settings, "session.gc_maxlifetime": 500}
        self.count(jar, limit)
        key = adopted.PREFIX + jar.values[NAME]
        for lazy in (1, 0):
            self.assertEqual(self.store.ask("EXPIRE", key, "100"), 1)
            self.visit(jar, "read", {**limit, "session.lazy_write": lazy})
            self.assertTrue(400 < self.store.ask("TTL", key) <= 500)
        self.assertEqual(self.visit(jar, "read", limit)[1], {"n": 1})

    def check_expiry(self, settings):
        jar = cgi.Jar()
        self.count(jar, {**settings, "session.gc_maxlifetime": 1})
        wait.until(lambda: self.visit(with_cookie(jar.values[NAME]), "read", settings, once=1)[1] == {}, "the end")

    def check_sixteen_at_once(self, settings):
        """All increments are there; without a lock Redis loses some."""
        if not (self.serial or settings.get("redis.session.locking_enabled")):
            return
        jar = cgi.Jar()
        self.count(jar, settings)
        parallel = Parallel()
        for _ in range(16):
            parallel.start(self.count, with_cookie(jar.values[NAME]), {**settings, **self.patience}, hold=0.02)
        self.assertEqual(sorted(parallel.join()), list(range(2, 18)))
        self.assertEqual(self.count(jar, settings), 18)

    # Whether requests of one session run one after the other whatever PHP does.
    serial = False
    # phpredis tries ten times within 20 ms, and gives up. With weir one attempt waits until the lock is free.
    patience = {}


for _check in [name for name in vars(Checks) if name.startswith("check_")]:
    for _title, _settings in SETTINGS.items():
        def _test(self, check=_check, settings=_settings):
            getattr(self, check)(settings)
        setattr(Checks, "test_%s_%s" % (_check[6:], _title), _test)


class TestRedis(Checks, Php):
    kind = adopted.Redis
    patience = {"redis.session.lock_retries": -1}


class TestExclusive(Checks, Php):
    serial = True
    session = "lock = exclusive"


class TestPersistentRedis(TestRedis):
    """Connections that PHP keeps from one request to the next; each of its processes has one."""

    how = "?persistent=1&database=0"


class TestPersistent(TestExclusive):
    how = "?persistent=1&database=0"


class TestShared(Checks, Php):
    session = "lock = shared"


class Handlers:
    """Handlers that are written in PHP."""

    def check_handler(self, handler):
        how = {"handler": handler, "at": self.store.path}
        jar = cgi.Jar()
        self.assertEqual([self.count(jar, **how) for _ in range(3)], [1, 2, 3])
        self.assertIn(b"n|i:3;", self.kept(jar.values[NAME]))
        self.assertGreater(self.store.ask("TTL", adopted.PREFIX + jar.values[NAME]), 0)
        old = jar.values[NAME]
        self.assertEqual(self.visit(jar, "regenerate", delete=1, **how)[1], {"n": 3})
        self.assertIsNone(self.kept(old))
        self.assertEqual(self.count(jar, **how), 4)
        old = jar.values[NAME]
        self.visit(jar, "destroy", **how)
        self.assertIsNone(self.kept(old))
        self.assertEqual(self.count(jar, **how), 1)

    def test_predis(self):
        self.check_handler("predis")

    def test_symfony(self):
        self.check_handler("symfony")


class TestHandlersRedis(Handlers, Php):
    kind = adopted.Redis


class TestHandlers(Handlers, Php):
    def test_sixteen_at_once(self):
        """Neither handler has a lock of its own."""
        for handler in ("predis", "symfony"):
            how = {"handler": handler, "at": self.store.path}
            jar = cgi.Jar()
            self.count(jar, **how)
            parallel = Parallel()
            for _ in range(16):
                parallel.start(self.count, with_cookie(jar.values[NAME]), hold=0.02, **how)
            self.assertEqual(sorted(parallel.join()), list(range(2, 18)), handler)


class TestRace(Php):
    """PHP writes its session after it has printed everything. A client that has its whole answer must find what the
    request has written (DESIGN.md section 5, SCENARIOS.md B10). With lock = shared, so that nothing but the held tail
    keeps the second request behind the first."""

    session = 'lock = shared  read-only = { "/read-only" }  stateless = { "/stateless" }'

    @classmethod
    def start_shared(cls, scope):
        cls.listens = [address.tcp()]
        super().start_shared(scope)

    def start(self, client, jar, path="/shop", **query):
        client.start(self.store.front.params(urlencode({"do": "late", **query}), path, jar,
                                             SCRIPT_FILENAME=os.path.join(apps.APPS, "session.php")))
        return adopted.Whole(client)

    def test_whoever_has_the_answer_has_the_session(self):
        jar = cgi.Jar()
        self.assertEqual(self.count(jar), 1)
        for n in range(2, 6):
            with self.store.front.client() as client:
                self.start(client, jar, pause=0.3).wait()
                self.assertEqual(self.visit(jar, "read", once=1)[1], {"n": n})

    def test_all_but_the_last_byte_comes_at_once(self):
        jar = cgi.Jar()
        self.assertEqual(self.count(jar), 1)
        gate = self.scope.path("gate")
        with self.store.front.client() as client:
            whole = self.start(client, jar, gate=gate)
            whole.all_but_the_last()
            self.assertEqual(self.kept(jar.values[NAME]), b"n|i:1;")
            self.scope.write("gate", "")
            whole.wait()
            self.assertEqual(self.kept(jar.values[NAME]), b"n|i:2;")
            answer = client.response()
        self.assertEqual((answer.complete, json.loads(answer.body)["session"]), (True, {"n": 2}))

    def check_not_held(self, **how):
        jar = cgi.Jar()
        self.assertEqual(self.count(jar), 1)
        gate = self.scope.fresh("gate")
        with self.store.front.client() as client:
            self.start(client, jar, gate=gate, **how).wait()
            with open(gate, "w", encoding="ascii"):
                self.assertTrue(client.response().complete)

    def test_not_held_where_no_session_is_written(self):
        self.check_not_held(path="/read-only")
        self.check_not_held(path="/stateless")

    def test_not_held_when_it_is_a_stream_of_events(self):
        self.check_not_held(type="text/event-stream")

    def test_behind_nginx(self):
        """A browser, and a page whose length it knows."""
        server = servers.Nginx(self.scope, self.listens[0], apps.APPS)
        with web.Browser(server.where) as browser:
            for n in range(1, 5):
                answer = browser.ask("/session.php?do=late&pause=0.3")
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(json.loads(answer.body)["session"], {"n": n})
                key = adopted.PREFIX + browser.jar.values[NAME]
                self.assertEqual(self.store.ask("GET", key), b"n|i:%d;" % n)


class TestRaceRedis(Php):
    """What the race is: the same page without weir. If this fails, the tests above prove nothing."""

    kind = adopted.Redis

    def test_the_answer_is_there_before_the_session(self):
        jar = cgi.Jar()
        self.count(jar)
        gate = self.scope.path("gate")
        with self.store.front.client() as client:
            client.start(self.store.front.params(urlencode({"do": "late", "gate": gate}), jar=jar,
                                                 SCRIPT_FILENAME=os.path.join(apps.APPS, "session.php")))
            adopted.Whole(client).wait()
            self.assertEqual(self.kept(jar.values[NAME]), b"n|i:1;")
            self.scope.write("gate", "")
            self.assertTrue(client.response().complete)
        self.assertEqual(self.kept(jar.values[NAME]), b"n|i:2;")
