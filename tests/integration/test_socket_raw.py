"""The session socket, byte by byte: what no client library does. What Redis does as well is asked of a real
redis-server first."""
import resource
import socket
import time

from harness import adopted, resp, wait, weir
from harness.case import Case, Parallel

KEY = adopted.PREFIX
UNKNOWN = r"^ERR unknown command"

# Each command that there is, and numbers of arguments that it does not take.
ARITY = {
    "AUTH": (0, 3), "SELECT": (0, 2), "ECHO": (0, 2), "PING": (2,), "RESET": (1,), "GET": (0, 2), "SET": (0, 1),
    "GETEX": (0,), "SETEX": (0, 2, 4), "PSETEX": (0, 2, 4), "SETNX": (0, 1, 3), "EXISTS": (0,), "TTL": (0, 2),
    "PTTL": (0, 2), "EXPIRE": (0, 1), "PEXPIRE": (0, 1), "PERSIST": (0, 2), "DEL": (0,), "UNLINK": (0,), "MGET": (0,), "STRLEN": (0, 2),
    "GETDEL": (0, 2), "SCAN": (0,), "DBSIZE": (1,), "MULTI": (1,), "EXEC": (1,), "DISCARD": (1,), "EVAL": (0, 1),
    "EVALSHA": (0, 1), "CLIENT": (0,),
}


class Raw(Case):
    kind = adopted.Weir
    password = ""
    session = "max-size = 1M"
    more = {}

    @classmethod
    def start_shared(cls, scope):
        cls.store = cls.kind(scope, scope.unix("kv"), password=cls.password, session=cls.session, **cls.more)

    def client(self):
        client = self.store.client()
        self.addCleanup(client.close)
        return client

    def assert_error(self, reply, pattern):
        self.assertIsInstance(reply, resp.Error)
        self.assertRegex(reply.text, pattern)

    def assert_alive(self):
        """Others are served."""
        self.assertEqual(self.store.ask("PING"), "PONG")
        key = KEY + "alive"
        self.assertEqual((self.store.ask("SET", key, "x", "EX", 9), self.store.ask("GET", key)), ("OK", b"x"))


class Wire:
    def test_a_byte_at_a_time(self):
        client = self.client()
        for byte in resp.command("SET", KEY + "slow", "a\r\nb") + resp.command("GET", KEY + "slow"):
            client.send(bytes([byte]))
        self.assertEqual(client.replies(2), ["OK", b"a\r\nb"])

    def test_inline(self):
        client = self.client()
        self.assertEqual(client.inline("PING"), "PONG")
        self.assertEqual(client.inline("set %sin value EX 100" % KEY), "OK")
        self.assertEqual(client.inline("  get   %sin  " % KEY), b"value")
        self.assertEqual(client.inline("set %sin \"two words\\x21\"" % KEY), "OK")
        self.assertEqual(client.inline("get '%sin'" % KEY), b"two words!")
        client.send(b"\r\n\r\nPING\n")  # empty lines are nothing, and a line may end like this
        self.assertEqual(client.reply(), "PONG")
        self.assert_error(client.inline("nosuch"), UNKNOWN)
        self.assertEqual(client.ask("PING"), "PONG")

    def test_inline_that_is_none(self):
        client = self.client()
        client.send(b"set \"open\r\n")
        self.assert_error(client.reply(), r"^ERR Protocol error: unbalanced quotes")
        self.assertTrue(client.closed())

    def test_inline_without_end(self):
        client = self.client()
        client.send(b"x" * (80 * 1024))
        self.assert_error(client.reply(), r"^ERR Protocol error: too big inline request")
        self.assertTrue(client.closed())

    def test_nothing(self):
        """Arrays of nothing are passed over."""
        client = self.client()
        client.send(b"*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n")
        self.assertEqual(client.reply(), "PONG")

    def test_names_in_any_case(self):
        client = self.client()
        self.assertEqual(client.ask("sEt", KEY + "case", "x", "eX", 100, "Nx"), "OK")
        self.assertEqual(client.ask("gEt", KEY + "case"), b"x")
        self.assertEqual(client.ask("del", KEY + "case"), 1)

    def test_ten_thousand_at_once(self):
        """By a client that reads while it writes."""
        client = self.client()
        pipeline = b"".join(resp.command("SET", "%s%d" % (KEY, n % 100), "%d" % n, "EX", 100) +
                            resp.command("GET", "%s%d" % (KEY, n % 100)) for n in range(10000))
        parallel = Parallel()
        parallel.start(client.send, pipeline)
        for n in range(10000):
            self.assertEqual(client.replies(2), ["OK", b"%d" % n])
        parallel.join()

    def test_small_replies_are_taken_late(self):
        """A pipeline of which not one reply is read before all is written, as simple clients do."""
        client = self.client()
        for _ in range(10000):
            client.say("PING")
        self.assertEqual(client.replies(10000), ["PONG"] * 10000)

    def test_protocol_error_in_a_pipeline(self):
        """What came before it is answered, then the error, then the end; what follows is not looked at."""
        for broken, said in ((b"*1\r\n:4\r\nPING\r\n", r"expected '\$', got ':'"),
                             (b"*1\r\n*1\r\n$4\r\nPING\r\n", r"expected '\$', got '\*'"),  # nested
                             (b"*x\r\n", "invalid multibulk length"), (b"*2147483648\r\n", "invalid multibulk length"),
                             (b"*1\r\n$-5\r\n", "invalid bulk length"), (b"*1\r\n$x\r\n", "invalid bulk length"),
                             (b"*2\r\n$3\r\nGET\r\n$2147483648\r\n", "invalid bulk length"),
                             (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
                             (b"*1\r\n$1" + b"0" * 70000, "(too big bulk count string|invalid bulk length)")):
            with self.subTest(broken=broken[:40]):
                client = self.client()
                client.send(resp.command("SET", KEY + "p", "before") + resp.command("GET", KEY + "p") + broken +
                            resp.command("SET", KEY + "p", "behind"))
                self.assertEqual(client.replies(2), ["OK", b"before"])
                self.assert_error(client.reply(), "^ERR Protocol error: " + said)
                self.assertTrue(client.closed())
                self.assertEqual(self.store.ask("GET", KEY + "p"), b"before")

    def test_closed_in_the_middle(self):
        """The last command did not come whole: it is none."""
        self.store.ask("SET", KEY + "cut", "whole")
        for keep in (1, 20, -1):
            with self.store.client() as client:
                client.send(resp.command("SET", KEY + "cut", "half" * 1000)[:keep])
            self.assert_alive()
        self.assertEqual(self.store.ask("GET", KEY + "cut"), b"whole")

    def test_half_closed(self):
        """A client that has said all and still listens, as `printf | nc` does."""
        client = self.client()
        client.send(resp.command("SET", KEY + "half", "x") + resp.command("GET", KEY + "half"))
        client.sock.shutdown(socket.SHUT_WR)
        self.assertEqual(client.replies(2), ["OK", b"x"])
        self.assertTrue(client.closed())

    def test_quit(self):
        client = self.client()
        client.send(resp.command("PING") + resp.command("QUIT") + resp.command("SET", KEY + "quit", "x"))
        self.assertEqual(client.replies(2), ["PONG", "OK"])
        self.assertTrue(client.closed())
        self.assertIsNone(self.store.ask("GET", KEY + "quit"))


class Commands:
    def test_wrong_number_of_arguments(self):
        client = self.client()
        for name, numbers in ARITY.items():
            for number in numbers:
                with self.subTest(name=name, number=number):
                    self.assert_error(client.ask(name, *[KEY + "a"] * number),
                                      "^(ERR|EXECABORT .*:) (wrong number of arguments for '%s' command|syntax error)" %
                                      name.lower())
        self.assertEqual(client.ask("PING"), "PONG")

    def test_unknown(self):
        client = self.client()
        for words in (("NOSUCH",), ("GETT", KEY + "a"), ("\r\n",), ("x" * 300, "y" * 300), ("",)):
            with self.subTest(words=words):
                self.assert_error(client.ask(*words), UNKNOWN)
        self.assertEqual(client.ask("PING"), "PONG")

    def test_hello(self):
        client = self.client()
        hello = client.ask("HELLO")
        self.assertEqual(hello[hello.index(b"proto") + 1], 2)
        hello = client.ask("HELLO", 3)
        self.assertEqual(hello["proto"], 3)
        self.assertEqual((hello["server"], hello["mode"], hello["role"], hello["modules"]),
                         (b"redis", b"standalone", b"master", []))
        self.assertIsInstance(hello["id"], int)
        client.send(resp.command("GET", KEY + "none"))
        self.assertEqual(client._line(), b"_")
        self.assertEqual(client.ask("HELLO", 3, "SETNAME", "tester")["proto"], 3)
        client.ask("HELLO", 2)
        client.send(resp.command("GET", KEY + "none"))
        self.assertEqual(client._line(), b"$-1")

    def test_hello_of_another_version(self):
        client = self.client()
        for version in (1, 4, 99):
            self.assert_error(client.ask("HELLO", version), "^NOPROTO ")
        self.assert_error(client.ask("HELLO", "three"), "^ERR Protocol version is not an integer")
        self.assert_error(client.ask("HELLO", 3, "NOSUCH"), "^ERR [Ss]yntax error")
        self.assertEqual(client.ask("PING"), "PONG")

    def test_reset(self):
        client = self.client()
        client.ask("HELLO", 3)
        client.ask("MULTI")
        self.assertEqual(client.ask("RESET"), "RESET")
        client.send(resp.command("GET", KEY + "none"))
        self.assertEqual(client._line(), b"$-1", "RESP2 again, and out of MULTI")

    def test_select(self):
        client = self.client()
        self.assertEqual(client.ask("SELECT", 0), "OK")
        self.assert_error(client.ask("SELECT", 99), "^ERR DB index is out of range")
        self.assert_error(client.ask("SELECT", "x"), "^ERR (value is not an integer or out of range|invalid DB index)")

    def test_client(self):
        client = self.client()
        self.assertEqual(client.ask("CLIENT", "SETNAME", "shop"), "OK")
        self.assert_error(client.ask("CLIENT", "NOSUCH"), "^ERR ([Uu]nknown subcommand|unknown command)")

    def test_info(self):
        info = self.store.ask("INFO").decode()
        self.assertIn("\r\nloading:0\r\n", info)
        self.assertRegex(info, r"(?m)^redis_version:[67]\.")

    def test_multi(self):
        client = self.client()
        self.assertEqual(client.ask("MULTI"), "OK")
        self.assert_error(client.ask("MULTI"), "^ERR MULTI calls can not be nested")
        self.assertEqual([client.ask("SET", KEY + "m", "1"), client.ask("GET", KEY + "m")], ["QUEUED"] * 2)
        self.assertIsNone(self.store.ask("GET", KEY + "m"), "nothing is done before EXEC")
        self.assertEqual(client.ask("EXEC"), ["OK", b"1"])
        client.ask("MULTI")
        client.ask("SET", KEY + "m", "2")
        self.assertEqual(client.ask("DISCARD"), "OK")
        self.assertEqual((client.ask("GET", KEY + "m"), client.ask("MULTI"), client.ask("EXEC")), (b"1", "OK", []))

    def test_multi_with_an_error(self):
        """Of a command that cannot be queued: nothing is done."""
        for words in (("NOSUCH",), ("GET",)):
            client = self.client()
            client.ask("MULTI")
            client.ask("SET", KEY + "e", "x")
            self.assertIsInstance(client.ask(*words), resp.Error)
            self.assert_error(client.ask("EXEC"), "^EXECABORT Transaction discarded because of previous errors")
            self.assertIsNone(client.ask("GET", KEY + "e"))

    def test_multi_and_the_end_of_the_connection(self):
        with self.store.client() as client:
            client.ask("MULTI")
            client.ask("SET", KEY + "gone", "x")
        self.assert_alive()
        self.assertIsNone(self.store.ask("GET", KEY + "gone"))

    def test_numbers(self):
        """No zeros and no plus in front, and what cannot be a moment is none."""
        client = self.client()
        key = KEY + "number"
        for time in ("010", "00", "-0", "-05", "+5", " 5", "", "x", "9223372036854775", "9223372036854775807",
                     "9223372036854775808"):
            for words in (("SET", key, "y", "EX", time), ("SETEX", key, time, "y"), ("EXPIRE", key, time),
                          ("GETEX", key, "EX", time)):
                with self.subTest(words=words):
                    client.ask("SET", key, "x")
                    self.assert_error(client.ask(*words), "^ERR (value is not an integer or out of range|invalid expire time)")
                    self.assertEqual((client.ask("GET", key), client.ask("TTL", key)), (b"x", -1))
        for words in (("HELLO", "03"), ("SELECT", "00"), ("SCAN", "0", "COUNT", "010")):
            self.assert_error(client.ask(*words), "^ERR ")

    def test_long_times(self):
        """Longer than anybody lives."""
        client = self.client()
        key = KEY + "long"
        for words in (("SET", key, "x", "EX", "4294967295"), ("SETEX", key, "9999999999", "x"),
                      ("EXPIRE", key, "10000000000"), ("PEXPIRE", key, "9223372036854775"),
                      ("SET", key, "x", "PX", "99999999999999"), ("SET", key, "x", "EXAT", "9223372036854775"),
                      ("SET", key, "x", "PXAT", "9223372036854775807"), ("GETEX", key, "EX", "99999999999")):
            with self.subTest(words=words):
                self.assertIn(client.ask(*words), ("OK", 1, b"x"))
                self.assertGreater(client.ask("TTL", key), 4000000000)

    def test_getex_of_nothing(self):
        """What is not there gets no time, so none is wrong; but the words have to be right."""
        client = self.client()
        for time in ("x", "0", "-1", "", "010", "9223372036854775808"):
            for option in ("EX", "PX", "EXAT"):
                self.assertIsNone(client.ask("GETEX", KEY + "none", option, time))
        for words in (("EX",), ("NX",), ("EX", "5", "PERSIST"), ("KEEPTTL",)):
            self.assert_error(client.ask("GETEX", KEY + "none", *words), "^ERR syntax error")

    def test_exec_with_an_argument(self):
        """It is none, and ends the transaction; another command that is wrong spoils it."""
        client = self.client()
        abort = "^EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
        self.assert_error(client.ask("EXEC", "x"), abort)
        client.ask("MULTI")
        client.ask("SET", KEY + "arg", "x")
        self.assert_error(client.ask("EXEC", "x"), abort)
        self.assert_error(client.ask("EXEC"), "^ERR EXEC without MULTI")
        self.assertIsNone(client.ask("GET", KEY + "arg"))
        for words in (("DISCARD", "x"), ("MULTI", "x"), ("RESET", "x")):
            client.ask("MULTI")
            self.assert_error(client.ask(*words), "^ERR wrong number of arguments")
            self.assert_error(client.ask("EXEC"), "^EXECABORT Transaction discarded because of previous errors")
            self.assert_error(client.ask("DISCARD"), "^ERR DISCARD without MULTI")

    def test_set_get_with_nx(self):
        """SET NX GET is allowed since Redis 7: the old value, whether it was set or not."""
        client = self.client()
        client.ask("DEL", KEY + "n")
        self.assertIsNone(client.ask("SET", KEY + "n", "one", "NX", "GET"))
        self.assertEqual(client.ask("SET", KEY + "n", "two", "NX", "GET"), b"one")
        self.assertEqual(client.ask("GET", KEY + "n"), b"one")


class TestWireRedis(Wire, Raw):
    kind = adopted.Redis


class TestCommandsRedis(Commands, Raw):
    kind = adopted.Redis


class TestWire(Wire, Raw):
    def test_half_closed_with_more_than_fits(self):
        """Replies that do not fit into the socket's buffer come whole all the same; Redis drops what is left."""
        for count in (3, 50):
            client = self.client()
            client.ask("SET", KEY + "half", b"x" * 100000)
            client.send(resp.command("GET", KEY + "half") * count)
            client.sock.shutdown(socket.SHUT_WR)
            for _ in range(8):
                self.assert_alive()  # and so each worker has heard of the end before a reply is taken
            self.assertEqual([len(reply) for reply in client.replies(count)], [100000] * count)
            self.assertTrue(client.closed())


class TestCommands(Commands, Raw):
    """And what weir does in its own way."""

    def test_keys_outside_the_prefix(self):
        client = self.client()
        for key in ("other", "", KEY[:-1], KEY, KEY.lower() + "a", "x" + KEY + "a"):
            for words in (("GET", key), ("SET", key, "x"), ("SETEX", key, 10, "x"), ("DEL", key), ("EXISTS", key),
                          ("EXPIRE", key, 10), ("TTL", key), ("MGET", KEY + "a", key), ("DEL", KEY + "a", key),
                          ("SET", key + "_LOCK", "token", "NX", "PX", "1000"), ("GETDEL", key)):
                if key == KEY and words[0] == "SET" and words[1].endswith("_LOCK"):
                    continue
                with self.subTest(words=words):
                    self.assert_error(client.ask(*words), "^ERR .*(key|prefix)")
        self.assertEqual(client.ask("PING"), "PONG")

    def test_nothing_is_done_when_one_of_the_keys_is_refused(self):
        client = self.client()
        client.ask("SET", KEY + "a", "x")
        self.assertIsInstance(client.ask("DEL", KEY + "a", "other"), resp.Error)
        self.assertEqual(client.ask("GET", KEY + "a"), b"x")

    def test_ids_that_are_none(self):
        client = self.client()
        for name in ("a" * 257, "a b", "a\n", "\0", "\x7f"):
            with self.subTest(name=name[:20]):
                self.assert_error(client.ask("SET", KEY + name, "x"), "^ERR ")
        self.assertEqual(client.ask("SET", KEY + "a" * 256, "x"), "OK")

    def test_not_in_the_set(self):
        """What Redis has, and an application's sessions have no use for."""
        client = self.client()
        for words in (("KEYS", "*"), ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"), ("SHUTDOWN",),
                      ("DEBUG", "SLEEP", "9"), ("HSET", KEY + "a", "b", "c"), ("LPUSH", KEY + "a", "b"), ("SUBSCRIBE", "a"), ("MONITOR",),
                      ("REPLICAOF", "no", "one"), ("SCRIPT", "LOAD", "return 1"), ("WATCH", KEY + "a"),
                      ("INCR", KEY + "a"), ("APPEND", KEY + "a", "b"), ("RENAME", KEY + "a", KEY + "b"), ("SAVE",), ("SYNC",)):
            with self.subTest(words=words):
                self.assert_error(client.ask(*words), UNKNOWN)
        self.assertEqual(client.ask("PING"), "PONG")

    def test_scripts(self):
        """None but those that release a lock."""
        client = self.client()
        self.assert_error(client.ask("EVAL", "return 1", 0), "^(ERR|NOSCRIPT) ")
        self.assert_error(client.ask("EVAL", "redis.call('del', KEYS[1])", 1, KEY + "a"), "^(ERR|NOSCRIPT) ")
        self.assert_error(client.ask("EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 0), "^NOSCRIPT ")

    def test_client_info(self):
        """Since Redis 7.2."""
        client = self.client()
        for words in (("LIB-NAME", "redis-py"), ("lib-ver", "5.0.1")):
            self.assertEqual(client.ask("CLIENT", "SETINFO", *words), "OK")

    def test_select_of_another(self):
        self.assert_error(self.client().ask("SELECT", 1), "^ERR DB index is out of range")


class TestSizes(Raw):
    session = "max-size = 100000"

    def test_exactly_the_limit(self):
        client = self.client()
        for size in (0, 100000):
            self.assertEqual(client.ask("SET", KEY + "a", b"x" * size, "EX", 100), "OK")
            self.assertEqual(len(client.ask("GET", KEY + "a")), size)

    def test_one_byte_more(self):
        """Refused in words, and the old state stays."""
        with self.store.client() as client:
            client.ask("SET", KEY + "a", "old")
            self.assert_error(client.ask("SET", KEY + "a", b"x" * 100001), "^ERR ")
        self.assertEqual(self.store.ask("GET", KEY + "a"), b"old")

    def test_far_more_than_the_limit(self):
        """Said at the length: nobody has to send it all to hear that."""
        client = self.client()
        client.send(b"*3\r\n$3\r\nSET\r\n" + b"$%d\r\n%sa\r\n" % (len(KEY) + 1, KEY.encode()) + b"$500000000\r\n")
        self.assert_error(client.reply(), "^ERR Protocol error: invalid bulk length")
        self.assertTrue(client.closed())

    def test_too_many_arguments(self):
        client = self.client()
        self.assertEqual(client.ask("MGET", *[KEY + "none"] * 65535), [None] * 65535)
        client.send(b"*65537\r\n$4\r\nMGET\r\n")
        self.assert_error(client.reply(), "^ERR Protocol error: invalid multibulk length")
        self.assertTrue(client.closed())
        self.assert_alive()

    def test_arguments_that_are_too_long_together(self):
        """4 MiB besides a value. Said at the length, as ever."""
        client = self.client()
        fit = (2 * 100000 + (64 << 10) + (4 << 20) - len("MGET")) // 256
        client.send(b"*60000\r\n$4\r\nMGET\r\n" + (b"$256\r\n" + KEY.encode().ljust(256, b"x") + b"\r\n") * fit)
        client.send(b"$256\r\n")
        self.assert_error(client.reply(), "^ERR Protocol error: invalid bulk length")
        self.assertTrue(client.closed())
        self.assert_alive()


class TestPassword(Raw):
    password = "swordfish"

    def nobody(self):
        client = resp.Client(self.store.where)
        self.addCleanup(client.close)
        return client

    def test_without(self):
        client = self.nobody()
        for words in (("GET", KEY + "a"), ("SET", KEY + "a", "x"), ("PING",), ("INFO",), ("SCAN", "0"), ("DBSIZE",),
                      ("MULTI",), ("CLIENT", "SETNAME", "x"), ("SELECT", "0")):
            with self.subTest(words=words):
                self.assert_error(client.ask(*words), "^NOAUTH Authentication required")
        self.assert_error(client.ask("HELLO", 3), "^NOAUTH ")
        self.assertEqual(client.ask("AUTH", "swordfish"), "OK")
        self.assertEqual(client.ask("PING"), "PONG")

    def test_wrong(self):
        client = self.nobody()
        for password in ("", "swordfis", "swordfish ", "Swordfish", "x" * 5000):
            self.assert_error(client.ask("AUTH", password), "^WRONGPASS ")
            self.assert_error(client.ask("PING"), "^NOAUTH ")
        self.assert_error(client.ask("AUTH", "nobody", "swordfish"), "^WRONGPASS ")
        self.assert_error(client.ask("HELLO", 3, "AUTH", "default", "wrong"), "^WRONGPASS ")

    def test_right(self):
        for words in (("AUTH", "swordfish"), ("AUTH", "default", "swordfish")):
            client = self.nobody()
            self.assertEqual(client.ask(*words), "OK")
            self.assertEqual(client.ask("SET", KEY + "a", "x", "EX", 9), "OK")
        client = self.nobody()
        self.assertEqual(client.ask("HELLO", 3, "AUTH", "default", "swordfish")["proto"], 3)
        self.assertEqual(client.ask("PING"), "PONG")

    def test_a_wrong_one_later(self):
        """It does not take away what the connection may."""
        client = self.client()
        self.assert_error(client.ask("AUTH", "wrong"), "^WRONGPASS ")
        self.assertEqual(client.ask("PING"), "PONG")

    def test_reset_forgets_it(self):
        client = self.client()
        self.assertEqual(client.ask("RESET"), "RESET")
        self.assert_error(client.ask("PING"), "^NOAUTH ")

    def test_one_who_may_not_cannot_announce_much(self):
        """Redis: 16 KiB and ten arguments before AUTH."""
        for announced in (b"*2\r\n$3\r\nGET\r\n$900000\r\n", b"*1000\r\n$4\r\nMGET\r\n"):
            client = self.nobody()
            client.send(announced)
            self.assert_error(client.reply(), "^ERR Protocol error: unauthenticated ")
            self.assertTrue(client.closed())


class TestPasswordRedis(TestPassword):
    kind = adopted.Redis


class TestNoPassword(Raw):
    def test_auth_where_there_is_none(self):
        self.assert_error(self.client().ask("AUTH", "x"), "^ERR AUTH <password> called without any password configured")


class TestNoPasswordRedis(TestNoPassword):
    kind = adopted.Redis


class TestMany(Raw):
    def test_a_thousand_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        clients = [self.client() for _ in range(1000)]
        for n, client in enumerate(clients):
            client.say("SET", "%s%d" % (KEY, n), n, "EX", 100)
        for client in clients:
            self.assertEqual(client.reply(), "OK")
        for n, client in enumerate(clients):
            client.say("GET", "%s%d" % (KEY, n))
        self.assertEqual([client.reply() for client in clients], [b"%d" % n for n in range(1000)])


class TestManyRedis(TestMany):
    kind = adopted.Redis


class TestBounds(Raw):
    """weir alone: Redis lets a client that reads nothing fill its memory."""

    session = "max-size = 1M"

    @classmethod
    def start_shared(cls, scope):
        cls.more = {"program": weir.release_binary(), "env": weir.SMALL}
        super().start_shared(scope)

    def test_a_client_that_reads_nothing(self):
        """Replies of a gigabyte are asked for. weir holds some of them, and reads no further."""
        self.store.ask("SET", KEY + "big", b"x" * 100000)
        before = self.store.gateway.rss_kib()
        deaf, others = [self.client() for _ in range(8)], self.client()
        ask = resp.command("GET", KEY + "big") * 1250
        for client in deaf:
            client.sock.setblocking(False)
            sent = 0
            while sent < len(ask):
                try:
                    sent += client.sock.send(ask[sent:])
                except BlockingIOError:
                    break  # weir takes no more
        worst = 0.0
        for _ in range(300):
            began = time.monotonic()
            self.assertEqual(others.ask("GET", KEY + "big"), b"x" * 100000)
            worst = max(worst, time.monotonic() - began)
        self.assertLess(worst, 2, "others are disturbed")
        self.assertLess(self.store.gateway.rss_kib() - before, 32 * 1024)
        # When it reads after all, it gets all that was asked for.
        client = deaf[0]
        client.sock.settimeout(wait.BOUND)
        for _ in range(100):
            self.assertEqual(len(client.reply()), 100000)

    def test_a_transaction_of_which_nothing_is_read(self):
        """EXEC stands still where too many of its replies are not taken, and goes on."""
        self.store.ask("SET", KEY + "big", b"x" * 100000)
        client = self.client()
        client.ask("MULTI")
        for _ in range(500):
            client.ask("GET", KEY + "big")
        before = self.store.gateway.rss_kib()
        client.say("EXEC")
        for _ in range(8):
            self.assert_alive()  # on each worker, behind what it does with EXEC
        self.assertLess(self.store.gateway.rss_kib() - before, 16 * 1024)
        self.assertEqual(client.reply(), [b"x" * 100000] * 500)

    def test_many_values_in_one_reply(self):
        """An MGET's reply is made whole before it leaves: one session's bound and 16 MiB, and no more."""
        self.store.ask("SET", KEY + "big", b"x" * 100000)
        client = self.client()
        self.assertEqual(client.ask("MGET", *[KEY + "big"] * 170), [b"x" * 100000] * 170)
        before = self.store.gateway.peak_kib()
        self.assert_error(client.ask("MGET", *[KEY + "big"] * 5000), "^ERR the values asked for are too large together")
        self.assertLess(self.store.gateway.peak_kib() - before, 64 * 1024)
        self.assertEqual(client.ask("PING"), "PONG")

    def test_announced_and_never_sent(self):
        before = self.store.gateway.rss_kib()
        clients = []
        for _ in range(40):
            client = self.client()
            client.send(b"*3\r\n$3\r\nSET\r\n$%d\r\n%sa\r\n$1048576\r\nx" % (len(KEY) + 1, KEY.encode()))
            clients.append(client)
        self.assert_alive()
        self.assertLess(self.store.gateway.rss_kib() - before, 8 * 1024, "memory is taken for what is only announced")

    def test_many_arguments_again_and_again(self):
        """What a command with many has needed is given back, also if it never came whole."""
        asked = resp.command("PING", *["x"] * 60000)
        clients = [self.client() for _ in range(40)]
        before = self.store.gateway.rss_kib()
        for client in clients:
            client.send(asked)
            self.assert_error(client.reply(), "^ERR wrong number of arguments")
            with self.store.client() as cut:
                cut.send(asked[:-1])
        self.assert_alive()
        wait.until(lambda: self.store.gateway.rss_kib() - before < 16 * 1024, "what was taken is given back")

    def test_endless_multi(self):
        """What MULTI queues is bounded, in number and in bytes."""
        for value, count in (("x", 5000), ("x" * 100000, 50)):
            client = self.client()
            client.ask("MULTI")
            refused = False
            for n in range(count):
                reply = client.ask("SET", KEY + "m", value)
                if isinstance(reply, resp.Error):
                    refused = True
                    break
            self.assertTrue(refused, "%d commands of %d bytes were queued" % (n + 1, len(value)))
        self.assert_alive()


class TestDeaf(Raw):
    def test_who_never_reads_is_closed(self):
        """After the write-timeout, which is 60 seconds; who reads slowly is not."""
        self.store.ask("SET", KEY + "big", b"x" * 100000)
        deaf, slow = self.client(), self.client()
        for client in (deaf, slow):
            client.send(resp.command("GET", KEY + "big") * 100)
        dropped = "event=socket_client_dropped .*replies are not read"
        read = 0

        def is_closed():
            nonlocal read
            if read < 90:
                slow.sock.recv(20000, socket.MSG_DONTWAIT)
                read += 1
            return self.store.gateway.lines(dropped)
        wait.until(is_closed, "the end of the one that reads nothing", bound=60 + wait.BOUND, pause=1)
        with self.assertRaises((resp.Closed, ConnectionError)):
            deaf.replies(100)
        self.assertEqual(len(self.store.gateway.lines(dropped)), 1)
        self.assert_alive()


class TestTooMany(Raw):
    session = "socket-connections = 50"

    def test_one_connection_too_many(self):
        """The one above the bound is told so, as Redis does it; those that are there go on."""
        clients = [wait.until(self.taken, "a connection is taken") for _ in range(50)]
        late = resp.Client(self.store.where)
        self.addCleanup(late.close)
        self.assert_error(late.reply(), "^ERR max number of clients reached")
        self.assertTrue(late.closed())
        self.assertEqual([c.ask("PING") for c in clients], ["PONG"] * 50)
        clients[0].close()
        wait.until(self.taken, "a connection is taken again")

    def taken(self):
        """A connection that is served, or None."""
        client = self.client()
        try:
            return client if client.ask("PING") == "PONG" else client.close()
        except (resp.Closed, ConnectionError):
            return client.close()
