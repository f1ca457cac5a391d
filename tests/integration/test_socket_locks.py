"""Locks that clients take on the session socket, as phpredis does: SET KEY_LOCK token NX PX ms, released by a script. A
redis-server says no when the lock is taken, and the client asks again and again; weir lets it wait in line."""
import hashlib
import socket

from harness import adopted, resp, wait
from harness.case import Case, Parallel

KEY = adopted.PREFIX
# phpredis 5.3.7, redis_session.c
SCRIPT = 'if redis.call("get",KEYS[1]) == ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end'
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()


class Locks(Case):
    kind = adopted.Weir
    session = ""

    @classmethod
    def start_shared(cls, scope):
        cls.store = cls.kind(scope, scope.unix("kv"), session=cls.session, workers=1)
        cls.other = cls.store.client()
        scope.at_end(cls.other.close)

    def client(self):
        client = self.store.client()
        self.addCleanup(client.close)
        return client

    def lock_name(self):
        """Of a session that no other test uses."""
        return KEY + self.id().rpartition(".")[2] + "_LOCK"

    def take(self, client, token, ms=60000):
        return client.ask("SET", self.lock_name(), token, "NX", "PX", ms)

    def release(self, client, token):
        return client.ask("EVALSHA", SHA, 1, self.lock_name(), token)

    def holder(self):
        return self.other.ask("GET", self.lock_name())

    def begin(self, client, token, ms=60000):
        """Asks for it, and does not wait for the answer. When this returns weir has read it: there is one worker, and
        it has answered what was sent later."""
        client.say("SET", self.lock_name(), token, "NX", "PX", ms)
        for _ in range(2):
            self.other.ask("PING")


class Plain:
    def test_take_and_release_by_sha(self):
        """phpredis tries the SHA first; a server that has never seen the script says NOSCRIPT, and gets it as text."""
        client = self.client()
        self.assertEqual(self.take(client, "one"), "OK")
        self.assertEqual(self.holder(), b"one")
        released = self.release(client, "one")
        if isinstance(released, resp.Error):
            self.assertEqual(released.code, "NOSCRIPT")
            released = client.ask("EVAL", SCRIPT, 1, self.lock_name(), "one")
        self.assertEqual(released, 1)
        self.assertIsNone(self.holder())
        self.assertEqual(self.take(client, "two"), "OK")
        self.assertEqual(self.release(client, "two"), 1)

    def test_release_by_text(self):
        client = self.client()
        self.take(client, "one")
        self.assertEqual(client.ask("EVAL", SCRIPT, 1, self.lock_name(), "one"), 1)
        self.assertIsNone(self.holder())
        self.assertEqual(client.ask("EVAL", SCRIPT, 1, self.lock_name(), "one"), 0)

    def test_another_token_releases_nothing(self):
        client = self.client()
        self.take(client, "mine")
        self.assertEqual(self.other.ask("EVAL", SCRIPT, 1, self.lock_name(), "yours"), 0)
        self.assertEqual(self.holder(), b"mine")
        self.assertEqual(client.ask("EVAL", SCRIPT, 1, self.lock_name(), "mine"), 1)

    def test_release_by_delete(self):
        client = self.client()
        self.take(client, "one")
        self.assertEqual(self.other.ask("DEL", self.lock_name()), 1)
        self.assertIsNone(self.holder())

    def test_goes_with_its_time(self):
        client = self.client()
        self.take(client, "one", 200)
        wait.until(lambda: self.holder() is None, "the end of the lock")
        self.assertEqual(client.ask("EVAL", SCRIPT, 1, self.lock_name(), "one"), 0)

    def test_another_time(self):
        client, lock = self.client(), self.lock_name()
        for words in (("EXPIRE", lock, 100), ("PERSIST", lock)):
            self.assertEqual(client.ask(*words), 0)
        for words in (("EX", 100), ("PERSIST",), ()):
            self.assertIsNone(client.ask("GETEX", lock, *words))
        self.take(client, "one", 10000)
        self.assertEqual(client.ask("GETEX", lock), b"one")
        self.assertEqual(client.ask("EXPIRE", lock, 100), 1)
        self.assertTrue(90 < client.ask("TTL", lock) <= 100)
        self.assertEqual(client.ask("GETEX", lock, "EX", 500), b"one")
        self.assertTrue(490 < client.ask("TTL", lock) <= 500)
        self.assertEqual(client.ask("GETEX", lock, "PERSIST"), b"one")
        self.assertEqual(client.ask("TTL", lock), -1)
        self.assertEqual(client.ask("DEL", lock), 1)

    def test_its_session_is_another_key(self):
        client = self.client()
        session = self.lock_name().removesuffix("_LOCK")
        self.take(client, "one")
        self.assertIsNone(client.ask("GET", session))
        client.ask("SETEX", session, 100, "state")
        self.assertEqual((client.ask("GET", session), self.holder()), (b"state", b"one"))
        client.ask("DEL", session)
        self.assertEqual(self.holder(), b"one")
        self.assertEqual(client.ask("EVAL", SCRIPT, 1, self.lock_name(), "one"), 1)


class TestPlainRedis(Plain, Locks):
    kind = adopted.Redis


class TestPlain(Plain, Locks):
    def test_not_a_session(self):
        """Neither counted nor listed."""
        before = self.other.ask("DBSIZE")
        self.take(self.client(), "one")
        self.assertEqual(self.other.ask("DBSIZE"), before)
        self.assertNotIn(self.lock_name().encode(), self.other.ask("SCAN", 0, "COUNT", 1000)[1])


class TestParked(Locks):
    """What weir does in its own way."""

    def test_in_the_order_of_their_coming(self):
        clients = [self.client() for _ in range(6)]
        self.assertEqual(self.take(clients[0], "0"), "OK")
        for n, client in enumerate(clients[1:], 1):
            self.begin(client, str(n))
        for n, client in enumerate(clients):
            if n > 0:
                self.assertEqual(client.reply(), "OK")
            self.assertEqual(self.holder(), b"%d" % n)
            self.assertTrue(all(later.silent() for later in clients[n + 1:]), "two have the lock")
            self.assertEqual(self.release(client, str(n)), 1)
        self.assertIsNone(self.holder())

    def test_known_by_its_sha(self):
        """Whether it has seen the text before or not."""
        client = self.client()
        self.take(client, "one")
        self.assertEqual(self.release(client, "one"), 1)

    def test_freed_by_the_end_of_the_connection(self):
        dying, waiting = self.client(), self.client()
        self.take(dying, "dying")
        self.begin(waiting, "waiting")
        self.assertTrue(waiting.silent())
        dying.close()
        self.assertEqual(waiting.reply(), "OK")
        self.assertEqual(self.holder(), b"waiting")

    def test_freed_by_its_time(self):
        slow, waiting = self.client(), self.client()
        self.take(slow, "slow", 300)
        self.begin(waiting, "waiting")
        self.assertEqual(waiting.reply(), "OK")
        self.assertEqual((self.release(slow, "slow"), self.holder()), (0, b"waiting"))

    def test_freed_by_delete(self):
        holder, waiting = self.client(), self.client()
        self.take(holder, "holder")
        self.begin(waiting, "waiting")
        self.assertEqual(self.other.ask("DEL", self.lock_name()), 1)
        self.assertEqual(waiting.reply(), "OK")

    def test_one_that_waits_goes_away(self):
        """The lock passes it over."""
        holder, gone, waiting = self.client(), self.client(), self.client()
        self.take(holder, "holder")
        self.begin(gone, "gone")
        self.begin(waiting, "waiting")
        gone.close()
        self.assertEqual(self.other.ask("PING"), "PONG")
        self.assertEqual(self.release(holder, "holder"), 1)
        self.assertEqual(waiting.reply(), "OK")
        self.assertEqual(self.holder(), b"waiting")

    def test_what_comes_behind_waits_with_it(self):
        """Replies come in the order of the commands."""
        holder, waiting = self.client(), self.client()
        self.take(holder, "holder")
        self.begin(waiting, "waiting")
        waiting.say("GET", self.lock_name())
        waiting.say("PING")
        self.assertEqual(self.release(holder, "holder"), 1)
        self.assertEqual(waiting.replies(3), ["OK", b"waiting", "PONG"])

    def test_one_that_has_said_all_waits_on(self):
        """What it has said behind is done as well; then it is closed, and its lock is free."""
        holder, waiting = self.client(), self.client()
        self.take(holder, "holder")
        self.begin(waiting, "waiting")
        waiting.say("GET", self.lock_name())
        waiting.send(b"".join(resp.command("ECHO", "x" * 1000) for _ in range(100)))
        waiting.sock.shutdown(socket.SHUT_WR)
        for _ in range(2):
            self.other.ask("PING")
        self.assertEqual(self.holder(), b"holder")
        self.assertEqual(self.release(holder, "holder"), 1)
        self.assertEqual(waiting.replies(102), ["OK", b"waiting"] + [b"x" * 1000] * 100)
        self.assertTrue(waiting.closed())
        wait.until(lambda: self.holder() is None, "the end of the lock")

    def test_other_sessions_do_not_wait(self):
        self.take(self.client(), "one")
        client = self.client()
        self.assertEqual(client.ask("SET", KEY + "another_LOCK", "x", "NX", "PX", 1000), "OK")

    def test_a_hundred_in_turn(self):
        """Each finds what the one before has left, and nobody is forgotten."""
        session = self.lock_name().removesuffix("_LOCK")
        self.other.ask("SET", session, "0", "EX", 100)

        def work(number):
            with self.store.client() as client:
                if self.take(client, "t%d" % number) != "OK":
                    raise AssertionError("no lock")
                count = int(client.ask("GET", session))
                client.ask("SET", session, count + 1, "EX", 100)
                if self.release(client, "t%d" % number) != 1:
                    raise AssertionError("the lock was another's")
        parallel = Parallel()
        for number in range(100):
            parallel.start(work, number)
        parallel.join()
        self.assertEqual(self.other.ask("GET", session), b"100")


class TestPatience(Locks):
    session = "lock-wait = 1s"

    def test_it_ends(self):
        """Then the answer is that of Redis, and asking again is answered at once: the client counts its attempts."""
        holder, waiting = self.client(), self.client()
        self.take(holder, "holder")
        self.begin(waiting, "waiting")
        self.assertTrue(waiting.silent(), "nobody waited")
        self.assertIsNone(waiting.reply())
        for _ in range(5000):  # of a second each, if they waited
            self.assertIsNone(self.take(waiting, "waiting"))
        self.assertEqual(waiting.ask("PING"), "PONG")
        self.begin(waiting, "waiting")
        self.assertTrue(waiting.silent(), "it is patient again")
        self.release(holder, "holder")
        self.assertEqual(waiting.reply(), "OK")

    def test_impatient_and_lucky(self):
        holder, waiting = self.client(), self.client()
        self.take(holder, "holder")
        self.assertIsNone(self.take(waiting, "waiting"))
        self.release(holder, "holder")
        self.assertEqual(self.take(waiting, "waiting"), "OK")
