"""Clients of Redis on the session socket: redis-py, redis-cli, redis-benchmark. Every test is asked of a real
redis-server first, and of weir then, and must find no difference."""
import re
import subprocess

import redis

from harness import address, adopted, process, wait
from harness.case import Case, Parallel

KEY = adopted.PREFIX


class Clients(Case):
    kind = adopted.Weir
    password = ""
    key = KEY

    @classmethod
    def place(cls, scope):
        return scope.unix("kv")

    @classmethod
    def start_shared(cls, scope):
        cls.store = cls.kind(scope, cls.place(scope), password=cls.password, key=cls.key, session="max-size = 2M")

    def setUp(self):
        super().setUp()
        self.store.clear()


class RedisPy:
    def setUp(self):
        super().setUp()
        family, where = address.split(self.store.where)
        if isinstance(where, str):
            self.redis = redis.Redis(unix_socket_path=where, password=self.store.password)
        else:
            self.redis = redis.Redis(*where, password=self.store.password)
        self.addCleanup(self.redis.close)

    def assert_lives(self, key, low_s, high_s):
        self.assertTrue(low_s <= self.redis.ttl(key) <= high_s, self.redis.ttl(key))

    def test_handshake(self):
        r = self.redis
        self.assertTrue(r.ping())
        self.assertEqual(r.echo("hello"), b"hello")
        self.assertEqual(r.info()["loading"], 0)
        self.assertTrue(r.client_setname("weir-test"))
        self.assertTrue(r.execute_command("SELECT", 0))
        self.assertTrue(r.execute_command("reset"))

    def test_get_and_set(self):
        r = self.redis
        self.assertIsNone(r.get(KEY + "a"))
        self.assertTrue(r.set(KEY + "a", b"one"))
        self.assertEqual(r.get(KEY + "a"), b"one")
        self.assertEqual(r.ttl(KEY + "a"), -1)
        self.assertTrue(r.set(KEY + "a", b"two"))
        self.assertEqual((r.get(KEY + "a"), r.strlen(KEY + "a"), r.strlen(KEY + "b")), (b"two", 3, 0))

    def test_values(self):
        every = bytes(range(256))
        for value in (b"", b"\r\n", every, every * 4096, b"\0" * 70000):
            self.assertTrue(self.redis.set(KEY + "a", value))
            self.assertTrue(self.redis.get(KEY + "a") == value, "%d bytes" % len(value))

    def test_keys(self):
        """What ids look like: PHP's, Express's, Django's, and of the longest that weir takes."""
        for name in ("0123456789abcdef0123456789", "Zq-_,x.y~z", "a" * 256, "\u00e4\u00f6", "a:b{c}*?[d]"):
            self.assertTrue(self.redis.set(KEY + name, name))
            self.assertEqual(self.redis.get(KEY + name), name.encode())
        self.assertEqual(len(list(self.redis.scan_iter())), 5)

    def test_set_with_time(self):
        r = self.redis
        r.set(KEY + "a", "x", ex=100)
        self.assert_lives(KEY + "a", 98, 100)
        r.set(KEY + "a", "x", px=100000)
        self.assert_lives(KEY + "a", 98, 100)
        self.assertTrue(98000 <= r.pttl(KEY + "a") <= 100000)
        r.set(KEY + "a", "y", keepttl=True)
        self.assert_lives(KEY + "a", 98, 100)
        self.assertEqual(r.get(KEY + "a"), b"y")
        r.set(KEY + "a", "z")
        self.assertEqual(r.ttl(KEY + "a"), -1)

    def test_set_nx_xx_get(self):
        r = self.redis
        self.assertIsNone(r.set(KEY + "a", "x", xx=True))
        self.assertIsNone(r.get(KEY + "a"))
        self.assertTrue(r.set(KEY + "a", "one", nx=True))
        self.assertIsNone(r.set(KEY + "a", "two", nx=True, ex=5))
        self.assertEqual((r.get(KEY + "a"), r.ttl(KEY + "a")), (b"one", -1))
        self.assertTrue(r.set(KEY + "a", "three", xx=True, ex=50))
        self.assertEqual(r.set(KEY + "a", "four", get=True), b"three")
        self.assertIsNone(r.set(KEY + "b", "new", get=True))
        self.assertEqual((r.get(KEY + "a"), r.get(KEY + "b")), (b"four", b"new"))

    def test_setex_psetex_setnx(self):
        r = self.redis
        r.setex(KEY + "a", 100, "x")
        self.assert_lives(KEY + "a", 98, 100)
        r.psetex(KEY + "a", 200000, "y")
        self.assert_lives(KEY + "a", 198, 200)
        self.assertFalse(r.setnx(KEY + "a", "z"))
        self.assertEqual(r.get(KEY + "a"), b"y")
        self.assertTrue(r.setnx(KEY + "b", "z"))
        self.assertEqual((r.get(KEY + "b"), r.ttl(KEY + "b")), (b"z", -1))

    def test_getex_getdel(self):
        r = self.redis
        r.set(KEY + "a", "x")
        self.assertEqual(r.getex(KEY + "a", ex=100), b"x")
        self.assert_lives(KEY + "a", 98, 100)
        self.assertEqual(r.getex(KEY + "a", px=50000), b"x")
        self.assert_lives(KEY + "a", 48, 50)
        self.assertEqual(r.getex(KEY + "a"), b"x")
        self.assert_lives(KEY + "a", 48, 50)
        self.assertEqual(r.getex(KEY + "a", persist=True), b"x")
        self.assertEqual(r.ttl(KEY + "a"), -1)
        self.assertIsNone(r.getex(KEY + "b", ex=5))
        self.assertEqual(r.getdel(KEY + "a"), b"x")
        self.assertIsNone(r.getdel(KEY + "a"))

    def test_times(self):
        r = self.redis
        self.assertEqual((r.ttl(KEY + "a"), r.pttl(KEY + "a")), (-2, -2))
        self.assertFalse(r.expire(KEY + "a", 5))
        self.assertFalse(r.persist(KEY + "a"))
        r.set(KEY + "a", "x")
        self.assertFalse(r.persist(KEY + "a"))
        self.assertTrue(r.expire(KEY + "a", 100))
        self.assert_lives(KEY + "a", 98, 100)
        self.assertTrue(r.pexpire(KEY + "a", 300000))
        self.assert_lives(KEY + "a", 298, 300)
        self.assertTrue(r.persist(KEY + "a"))
        self.assertEqual(r.ttl(KEY + "a"), -1)

    def test_a_time_that_is_over(self):
        for over in (0, -1):
            self.redis.set(KEY + "a", "x")
            self.assertTrue(self.redis.expire(KEY + "a", over))
            self.assertIsNone(self.redis.get(KEY + "a"))

    def test_ends_by_itself(self):
        r = self.redis
        r.set(KEY + "a", "x", px=300)
        r.setex(KEY + "b", 1, "x")
        r.set(KEY + "c", "x", ex=1)
        r.set(KEY + "d", "x")
        r.expire(KEY + "d", 1)
        wait.until(lambda: r.mget(*[KEY + k for k in "abcd"]) == [None] * 4, "the end of all four")
        self.assertEqual((r.exists(*[KEY + k for k in "abcd"]), r.ttl(KEY + "a")), (0, -2))
        wait.until(lambda: r.dbsize() == 0, "their end in the count")

    def test_reading_changes_no_time(self):
        r = self.redis
        r.set(KEY + "a", "x", ex=1)

        def gone():
            r.exists(KEY + "a"), r.ttl(KEY + "a"), r.strlen(KEY + "a"), r.mget(KEY + "a")
            return r.get(KEY + "a") is None
        wait.until(gone, "the end of a session that is read all the time")

    def test_several_keys(self):
        r = self.redis
        for k in "abcde":
            r.set(KEY + k, k * 3)
        self.assertEqual(r.exists(KEY + "a", KEY + "x", KEY + "b", KEY + "a"), 3)
        self.assertEqual(r.mget(KEY + "c", KEY + "x", KEY + "a", KEY + "c"), [b"ccc", None, b"aaa", b"ccc"])
        self.assertEqual(r.delete(KEY + "a", KEY + "x", KEY + "b", KEY + "a"), 2)
        self.assertEqual(r.unlink(KEY + "c", KEY + "a"), 1)
        self.assertEqual(r.dbsize(), 2)
        self.assertEqual(r.delete(KEY + "nobody"), 0)

    def test_scan(self):
        r = self.redis
        names = {("%s%d" % (KEY, n)).encode() for n in range(500)}
        for name in names:
            r.set(name, "x", ex=1000)
        self.assertEqual(set(r.scan_iter(count=10)), names)
        self.assertEqual(set(r.scan_iter()), names)
        self.assertEqual(set(r.scan_iter(match=KEY + "*", count=1000)), names)
        self.assertEqual(set(r.scan_iter(match=KEY + "1?")), {n for n in names if len(n) == len(KEY) + 2 and
                                                              n[len(KEY):len(KEY) + 1] == b"1"})
        self.assertEqual(set(r.scan_iter(match=KEY + "[23]0")), {(KEY + "20").encode(), (KEY + "30").encode()})
        self.assertEqual(list(r.scan_iter(match="nothing*")), [])
        self.assertEqual(r.dbsize(), 500)
        # As connect-redis empties a store: what has been found is deleted while it goes on.
        for name in r.scan_iter(match=KEY + "*", count=7):
            r.delete(name)
        self.assertEqual((list(r.scan_iter()), r.dbsize()), ([], 0))

    def test_scan_finds_what_stays(self):
        """Whatever comes and goes meanwhile."""
        r = self.redis
        stay = {("%sstay%d" % (KEY, n)).encode() for n in range(100)}
        for name in stay:
            r.set(name, "x")
        found = set()
        for n, name in enumerate(r.scan_iter(count=5)):
            found.add(name)
            r.set("%scome%d" % (KEY, n % 50), "x", ex=1000)
            r.delete("%scome%d" % (KEY, (n + 25) % 50))
        self.assertLessEqual(stay, found)

    def test_transaction(self):
        with self.redis.pipeline(transaction=True) as p:
            p.set(KEY + "a", "x").expire(KEY + "a", 100).get(KEY + "a").get(KEY + "none")
            p.delete(KEY + "a").exists(KEY + "a")
            self.assertEqual(p.execute(), [True, True, b"x", None, 1, 0])

    def test_pipeline(self):
        with self.redis.pipeline(transaction=False) as p:
            for n in range(1000):
                p.setex("%s%d" % (KEY, n), 100, n)
            for n in range(1000):
                p.get("%s%d" % (KEY, n))
            self.assertEqual(p.execute(), [True] * 1000 + [str(n).encode() for n in range(1000)])

    def test_an_error_within(self):
        """Of one command: the others are done."""
        for transaction in (True, False):
            with self.redis.pipeline(transaction=transaction) as p:
                p.set(KEY + "a", "x").execute_command("EXPIRE", KEY + "a", "soon").get(KEY + "a")
                first, error, last = p.execute(raise_on_error=False)
            self.assertEqual((first, last), (True, b"x"))
            self.assertRegex(str(error), "not an integer")

    def test_errors_that_clients_know(self):
        """By their words, as redis-py turns them into exceptions."""
        for words, said in (
                (("NOSUCH",), r"^unknown command .NOSUCH."),
                (("GET",), r"^wrong number of arguments for 'get' command"),
                (("SET", KEY + "a", "x", "EX", "0"), r"^invalid expire time in 'set' command"),
                (("SETEX", KEY + "a", "-1", "x"), r"^invalid expire time in 'setex' command"),
                (("SET", KEY + "a", "x", "EX", "1", "PX", "1"), r"^syntax error"),
                (("SET", KEY + "a", "x", "NX", "XX"), r"^syntax error"),
                (("SET", KEY + "a", "x", "EX"), r"^syntax error"),
                (("SET", KEY + "a", "x", "EX", "many"), r"^value is not an integer or out of range"),
                (("EXPIRE", KEY + "a", "many"), r"^value is not an integer or out of range"),
                (("GETEX", KEY + "a", "EX", "1", "PERSIST"), r"^syntax error"),
                (("SCAN", "first"), r"^invalid cursor"), (("SCAN", "0", "COUNT", "0"), r"^syntax error"),
                (("EXEC",), r"^EXEC without MULTI"), (("DISCARD",), r"^DISCARD without MULTI")):
            with self.subTest(words=words):
                with self.assertRaises(redis.ResponseError) as caught:
                    self.redis.execute_command(*words)
                self.assertRegex(str(caught.exception), said)
        with self.assertRaises(redis.exceptions.NoScriptError):
            self.redis.evalsha("0" * 40, 1, KEY + "a")
        self.assertIsNone(self.redis.get(KEY + "a"))

    def test_thirty_two_at_once(self):
        def work(number):
            for n in range(100):
                self.redis.set("%s%d" % (KEY, number), "%d-%d" % (number, n), ex=100)
                got = self.redis.get("%s%d" % (KEY, number)).decode()
                if got != "%d-%d" % (number, n):
                    raise AssertionError("another's value: %r" % got)
        parallel = Parallel()
        for number in range(32):
            parallel.start(work, number)
        parallel.join()
        self.assertEqual(self.redis.dbsize(), 32)


class TestRedisPyRedis(RedisPy, Clients):
    kind = adopted.Redis


class TestRedisPy(RedisPy, Clients):
    pass


class TestRedisPyTcp(RedisPy, Clients):
    """Over TCP with a password, as weir wants it there."""

    password = "correct horse"

    @classmethod
    def place(cls, _scope):
        return address.tcp()

    def test_wrong_password(self):
        place = address.split(self.store.where)[1]
        with self.assertRaisesRegex(redis.ResponseError, "^WRONGPASS "):
            redis.Redis(*place, password="wrong").ping()
        with self.assertRaisesRegex(redis.AuthenticationError, "^Authentication required"):
            redis.Redis(*place).ping()


class TestRedisPyTcpRedis(TestRedisPyTcp):
    kind = adopted.Redis


def run(name, *args, stdin=""):
    done = subprocess.run([process.find(name), *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=wait.BOUND * 3, check=False)
    return done.returncode, done.stdout, done.stderr


class RedisCli:
    versions = ((), ("-3",))  # RESP2 and RESP3

    def cli(self, *words, how=(), stdin=""):
        code, out, error = run("redis-cli", "-s", self.store.path, *how, *words, stdin=stdin)
        self.assertEqual((code, error), (0, ""), out)
        return out.rstrip("\n")

    def test_commands(self):
        for how in self.versions:
            with self.subTest(how=how):
                self.assertEqual(self.cli("SET", KEY + "a", "some value", "EX", "100", how=how), "OK")
                self.assertEqual(self.cli("GET", KEY + "a", how=how), "some value")
                self.assertIn(self.cli("TTL", KEY + "a", how=how), ("98", "99", "100"))
                self.assertEqual(self.cli("GET", KEY + "none", how=how), "")
                self.assertEqual(self.cli("--no-raw", "GET", KEY + "none", how=how), "(nil)")
                self.assertEqual(self.cli("--no-raw", "DEL", KEY + "a", KEY + "b", how=how), "(integer) 1")
                self.assertEqual(self.cli("PING", how=how), "PONG")
                self.assertTrue(self.cli("NOSUCH", how=how).startswith("ERR unknown command"))

    def test_value_from_standard_input(self):
        for how in self.versions:
            value = "".join("line %d\n" % n for n in range(10000))
            self.assertEqual(self.cli("-x", "SET", KEY + "a", how=how, stdin=value), "OK")
            self.assertEqual(self.cli("GET", KEY + "a", how=how), value.rstrip("\n"))

    def test_scan(self):
        for n in range(100):
            self.store.ask("SET", "%s%d" % (KEY, n), "x")
        for how in self.versions:
            self.assertEqual(len(self.cli("--scan", how=how).split()), 100)
            self.assertEqual(set(self.cli("--scan", "--pattern", KEY + "*7", how=how).split()),
                             {"%s%d" % (KEY, n) for n in range(100) if n % 10 == 7})

    def test_mass_insertion(self):
        """redis-cli --pipe: a file of commands, closed by an ECHO."""
        lines = "".join("*5\r\n$3\r\nSET\r\n$%d\r\n%s%d\r\n$5\r\nvalue\r\n$2\r\nEX\r\n$3\r\n100\r\n" %
                        (len("%s%d" % (KEY, n)), KEY, n) for n in range(20000))
        self.assertIn("errors: 0, replies: 20000", self.cli("--pipe", stdin=lines))
        self.assertEqual(self.store.ask("DBSIZE"), 20000)

    def test_transaction(self):
        for how in self.versions:
            script = "MULTI\nSET %sa 1\nGET %sa\nEXEC\n" % (KEY, KEY)
            self.assertEqual(self.cli(how=how, stdin=script).split("\n"), ["OK", "QUEUED", "QUEUED", "OK", "1"])


class TestRedisCliRedis(RedisCli, Clients):
    kind = adopted.Redis


class TestRedisCli(RedisCli, Clients):
    pass


class RedisBenchmark:
    """Its keys begin with "key:"."""

    key = "key:"

    def bench(self, *how):
        code, out, error = run("redis-benchmark", "-s", self.store.path, "--csv", *how)
        self.assertEqual(code, 0, out + error)
        rates = dict(re.findall(r'^"([^"]+)","([0-9.]+)"', out, re.MULTILINE))
        self.assertTrue(rates, out + error)
        self.assertTrue(all(float(r) > 0 for r in rates.values()), rates)
        return rates, out + error

    def test_get_and_set(self):
        for how in (("-c", "1"), ("-c", "50"), ("-c", "50", "-P", "16"), ("-c", "16", "-3")):
            rates, said = self.bench("-t", "get,set", "-n", "5000", "-d", "1024", *how)
            self.assertEqual({"SET", "GET"}, set(rates), said)
            self.assertNotRegex(said, "(?i)error")
            self.assertEqual(len(self.store.ask("GET", "key:__rand_int__") or b""), 1024)

    def test_many_keys(self):
        self.bench("-t", "set,get", "-n", "10000", "-r", "500", "-c", "20", "-P", "4")
        self.assertTrue(490 <= self.store.ask("DBSIZE") <= 501)


class TestBenchmarkRedis(RedisBenchmark, Clients):
    kind = adopted.Redis


class TestBenchmark(RedisBenchmark, Clients):
    pass
