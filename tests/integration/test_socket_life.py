"""The life of adopted sessions: who may work on one, what has ended stays ended, the held tail of an answer, and all
that managed sessions have as well: stores, expiry, restarts, weirctl."""
import json
import os
import signal
import time

from harness import admin, adopted, resp, stall, wait, weir
from harness.case import Case

KEY = adopted.PREFIX
OPEN = "admin { open = always }\nstatus { path = \"/weir-status\" }\n"


class Life(Case):
    session = ""
    tail = OPEN
    more = {}

    @classmethod
    def start_shared(cls, scope):
        cls.site = adopted.Scripted(scope, session=cls.session, tail=cls.tail, **cls.more)
        cls.store = cls.site.store

    def name(self):
        """An id that no other test uses."""
        return self.id().rpartition(".")[2]

    def client(self):
        client = self.site.client()
        self.addCleanup(client.close)
        return client


WRITES = {  # what a library writes its session with, and what weir says when that is dropped; NX: it was not set
    "set=late": "OK",
    "SETEX=100+late": "OK",
    "PSETEX=100000+late": "OK",
    "SET=late+NX": None,
    "SET=late+KEEPTTL": "OK",
    "SETNX=late": 0,
}


class Ended:
    """Two requests of one session; the first comes to write when the second has ended it (SCENARIOS.md B2)."""

    def check_straggler(self, write, reply):
        name = "%s-%s" % (self.name(), "".join(c for c in write if c.isalnum()))
        straggler = self.client()
        self.site.visit(name, "set=old")
        self.site.start(straggler, name, "get&gate=%s&%s&get" % (name, write))
        self.site.gate(name).wait_reached()
        self.end(name)
        self.assertIsNone(self.site.kept(name))
        self.site.open(name)
        self.assertEqual(json.loads(straggler.response().body), ["old", reply, None])
        self.assertIsNone(self.site.kept(name), "it came back")
        self.assertEqual(self.site.visit(name, "get&set=new&get"), [None, "OK", "new"], "a later log-in with the id")
        self.assertEqual(self.site.kept(name), b"new")

    def test_stays_ended(self):
        for write, reply in WRITES.items():
            with self.subTest(write=write):
                self.check_straggler(write, reply)

    def test_time_cannot_revive(self):
        name, straggler = self.name(), self.client()
        self.site.visit(name, "set=old")
        self.site.start(straggler, name, "get&gate=%s&EXPIRE=100&PERSIST=&GETEX=EX+100&SET=late+XX" % name)
        self.site.gate(name).wait_reached()
        self.end(name)
        self.site.open(name)
        self.assertEqual(json.loads(straggler.response().body), ["old", 0, 0, None, None])
        self.assertIsNone(self.site.kept(name))


TOUCHES = ("get", "GETEX=EX+100", "GETEX=", "set=x", "SET=x+XX+GET", "SETEX=100+x")
"""How a request works on its session, of all that it may say."""


class OwnAndForeign:
    """A DEL comes from the only request that works on the session, or from somebody else while that one runs. Its
    connection tells them apart: whoever works on a session reads it before he deletes it."""

    def check_foreign(self, name, end):
        """The request cannot bring back what `end` has ended, and whoever comes later can."""
        request = self.client()
        self.site.start(request, name, "get&gate=%s&set=late&get" % name)
        self.site.gate(name).wait_reached()
        end()
        self.assertIsNone(self.site.kept(name))
        self.site.open(name)
        self.assertEqual(json.loads(request.response().body), ["old", "OK", None])
        self.assertIsNone(self.site.kept(name), "it came back")
        self.assertEqual(self.site.visit(name, "get&set=new&get"), [None, "OK", "new"], "a later log-in with the id")

    def check_foreign_commands(self, number, commands, first=()):
        """On one connection: `first` before the request begins, `commands` while it runs."""
        name = "%s%d" % (self.name(), number)
        self.site.visit(name, "set=old")
        with self.store.client() as client:
            def ask(all_of_it):
                for words in all_of_it:
                    words = words.replace("KEY", KEY + name).replace("OTHER", KEY + "other").split()
                    self.assertNotIsInstance(client.ask(*words), Exception)
            ask(first)
            self.check_foreign(name, lambda: ask(commands))

    def test_by_nobodys_request(self):
        """A cron job, redis-cli: it may look before it deletes."""
        for number, commands in enumerate((["DEL KEY"], ["UNLINK OTHER KEY"], ["GETDEL KEY"], ["EXPIRE KEY 0"],
                                           ["SCAN 0", "MGET KEY OTHER", "DEL KEY"],
                                           ["EXISTS KEY", "TTL KEY", "STRLEN KEY", "EXPIRE KEY 100", "DEL KEY"],
                                           ["SET KEY_LOCK x NX PX 9000", "GET KEY_LOCK", "DEL KEY KEY_LOCK"])):
            with self.subTest(commands=commands):
                self.check_foreign_commands(number, commands)

    def test_by_a_connection_that_has_read_it_before(self):
        """One that is kept from request to request: what it has done for the last one does not count."""
        for number, first in enumerate((["GET KEY"], ["SET KEY old EX 1000"])):
            with self.subTest(first=first):
                self.check_foreign_commands(number, ["DEL KEY"], first)

    def test_by_a_connection_that_goes_from_one_session_to_another(self):
        """It has read it, and then another one: nobody knows whose the DEL is. Above all a connection that all the
        requests of a process share."""
        self.check_foreign_commands(0, ["GET KEY", "GET OTHER", "DEL KEY"])

    def test_by_another_sessions_request(self):
        """"Log out everywhere": an administrator's request, which has read its own session."""
        name = self.name()
        self.site.visit(name, "set=old")
        self.site.visit(name + "admin", "set=admin")
        self.check_foreign(name, lambda: self.assertEqual(
            self.site.visit(name + "admin", "get&UNLINK=%s&set=admin&get" % (KEY + name)), ["admin", 2, "OK", "admin"]))

    def test_who_is_alone_may_begin_it_anew(self):
        """session_destroy() and session_start() in one request; as often as it likes."""
        for number, touch in enumerate(TOUCHES):
            with self.subTest(touch=touch):
                name = "%s%d" % (self.name(), number)
                self.site.visit(name, "set=old")
                seen = self.site.visit(name, touch + "&del&get&set=new&get&del&get&set=newer")
                self.assertEqual(seen[1:], [1, None, "OK", "new", 1, None, "OK"])
                self.assertEqual(self.site.kept(name), b"newer")

    def test_who_reads_it_and_deletes_it_is_taken_for_it(self):
        """Whether he has a lock of his own, looks at it, and at others' sessions, or not."""
        name, request = self.name(), self.client()
        self.site.visit(name, "set=old")
        self.site.start(request, name, "gate=%s&set=new" % name)
        with self.store.client() as client:
            for words, reply in (("SET KEY_LOCK x NX PX 9000", "OK"), ("GET KEY", b"old"), ("GET KEY_LOCK", b"x"),
                                 ("EXISTS KEYother", 0), ("MGET KEYother", [None]), ("DEL KEYother KEY", 1),
                                 ("DEL KEY_LOCK", 1)):
                self.assertEqual(client.ask(*words.replace("KEY", KEY + name).split()), reply, words)
        self.site.open(name)
        self.assertEqual(json.loads(request.response().body), ["OK"])
        self.assertEqual(self.site.kept(name), b"new")

    def test_who_has_not_read_it_may_not(self):
        """Nothing says that the DEL is his; it may come by another connection of his pool."""
        name = self.name()
        self.site.visit(name, "set=old")
        self.assertEqual(self.site.visit(name, "del&set=new&get"), [1, "OK", None])
        self.assertEqual(self.site.visit(name, "set=new&get"), ["OK", "new"])


class TestEndedShared(OwnAndForeign, Ended, Life):
    session = "lock = shared"

    def end(self, name):
        self.assertEqual(self.site.visit(name, "del"), [1])

    def test_several_stragglers(self):
        name = self.name()
        self.site.visit(name, "set=old")
        stragglers = [self.client() for _ in range(5)]
        for n, client in enumerate(stragglers):
            self.site.start(client, name, "gate=%s%d&set=late%d" % (name, n, n))
        self.end(name)
        for n, client in enumerate(stragglers):
            self.site.open("%s%d" % (name, n))
            self.assertEqual(json.loads(client.response().body), ["OK"])
            self.assertIsNone(self.site.kept(name))
        self.assertEqual(self.site.visit(name, "set=new&get"), ["OK", "new"])

    def test_who_is_not_alone_may_not(self):
        """Nobody knows which of the two has ended it. When they have gone there is a new session as ever."""
        name, other = self.name(), self.client()
        self.site.visit(name, "set=old")
        self.site.start(other, name, "gate=%s&set=late&get" % name)
        self.assertEqual(self.site.visit(name, "get&del&set=new&get"), ["old", 1, "OK", None])
        self.site.open(name)
        self.assertEqual(json.loads(other.response().body), ["OK", None])
        self.assertEqual(self.site.visit(name, "set=new&get"), ["OK", "new"])


class TestEndedByAnOperator(Ended, Life):
    """With whichever lock: it is nobody's request that ends it."""

    session = "lock = exclusive"

    def end(self, name):
        """All that there are: none of another test is used any more."""
        for session in admin.ask(self.site.weir, "sessions --limit 1000 --json").json["sessions"]:
            self.assertEqual(admin.ask(self.site.weir, "session end " + session["session"]).code, "ok")


class TestEndedExclusive(OwnAndForeign, Life):
    session = "lock = exclusive"
    more = {"workers": 1}

    def test_who_waited_meanwhile_cannot_revive_it(self):
        """It came before the end, so it is of the session that has ended."""
        name, ender, straggler = self.name(), self.client(), self.client()
        self.site.visit(name, "set=old")
        self.site.start(ender, name, "gate=%s&get&del" % name)
        self.site.start(straggler, name, "get&set=late&get", queued=True)
        for _ in range(2):  # there is one worker: it has read the straggler when it answers this
            self.site.visit(name + "-other", "PING=")
        self.site.open(name)
        self.assertEqual(json.loads(ender.response().body), ["old", 1])
        self.assertEqual(json.loads(straggler.response().body), [None, "OK", None])
        self.assertIsNone(self.site.kept(name))
        self.assertEqual(self.site.visit(name, "set=new&get"), ["OK", "new"])


class TestClaims(Life):
    """lock = exclusive, from the side of the socket; test_adopted.py is the side of the request."""

    session = "lock = exclusive"
    more = {"workers": 1}

    def test_one_after_the_other(self):
        """The second finds what the first has written, whether there was a session before or not."""
        for before in (["set=old"], []):
            name = "%s%d" % (self.name(), len(before))
            for query in before:
                self.site.visit(name, query)
            first, second = self.client(), self.client()
            self.site.start(first, name, "get&gate=%s&set=first" % name)
            self.site.start(second, name, "get", queued=True)
            for _ in range(2):  # there is one worker: it has read the second when it answers this
                self.site.visit(name + "-other", "PING=")
            self.site.open(name)
            self.assertEqual(json.loads(first.response().body)[1], "OK")
            self.assertEqual(json.loads(second.response().body), ["first"])

    def test_others_do_not_wait(self):
        """Neither does the socket: whoever asks it without a request, or for another session."""
        name, client = self.name(), self.client()
        self.site.start(client, name, "set=first&gate=%s&get" % name)
        self.assertEqual(self.site.kept(name), b"first")
        self.assertEqual(self.site.visit(name + "-other", "set=x&get"), ["OK", "x"])
        self.assertEqual(self.store.ask("SET", KEY + name, "cron job", "KEEPTTL"), "OK")
        self.site.open(name)
        self.assertEqual(json.loads(client.response().body), ["OK", "cron job"])

    def test_ids_that_nobody_created(self):
        """They are passed through, and create nothing."""
        before = self.store.ask("DBSIZE")
        for value in ("x", "a" * 256, "a" * 4000, "%00", "\xff\xfe", "", "../../etc/passwd", '"quoted"'):
            answer = self.site.ask("PING=", cookie=b"PHPSESSID=" + value.encode("latin-1"))
            self.assertEqual((answer.status, answer.all("Set-Cookie")), (200, []), value)
            self.assertEqual(self.site.backend.requests[-1].params["HTTP_COOKIE"], "PHPSESSID=" + value)
        self.assertEqual(self.store.ask("DBSIZE"), before)

    def test_a_thousand_requests_with_ids_that_nobody_created(self):
        before = self.store.ask("DBSIZE")
        client = self.client()
        for n in range(1000):
            self.assertEqual(client.ask(self.site.params("PING=", cookie="PHPSESSID=%026d" % n)).status, 200)
        self.assertEqual(self.store.ask("DBSIZE"), before)


class Hold:
    """The last byte of an answer goes when the application has said that the request is over, and so has written its
    session (SCENARIOS.md B10). Side by side, so that nothing else makes the next request wait."""

    session = 'lock = shared  read-only = { "/read-only" }  stateless = { "/stateless" }'

    @classmethod
    def start_shared(cls, scope):
        cls.site = adopted.Scripted(scope, cls.protocol, session=cls.session)
        cls.store = cls.site.store

    def test_the_last_byte_waits(self):
        for size in (5, 1, 0, 200000):
            with self.subTest(size=size):
                name, client = "%s%d" % (self.name(), size), self.client()
                self.site.visit(name, "set=old")
                self.site.start(client, name, "body=%d&gate=%s&set=new" % (size, name))
                answer = adopted.Whole(client)
                answer.all_but_the_last()
                self.assertEqual(self.site.kept(name), b"old")
                self.site.open(name)
                answer.wait()
                self.assertEqual(self.site.kept(name), b"new")
                response = client.response()
                self.assertEqual((response.complete, response.body), (True, b"x" * size))

    def test_not_where_nothing_is_written(self):
        for number, (more, kind) in enumerate((({"path": "/read-only"}, "text/html"),
                                               ({"path": "/stateless"}, "text/html"), ({}, "text/event-stream"))):
            with self.subTest(more=more, kind=kind):
                name, client = "%s%d" % (self.name(), number), self.client()
                self.site.start(client, name, "type=%s&body=5&gate=%s" % (kind, name), **more)
                adopted.Whole(client).wait()
                self.site.open(name)
                self.assertTrue(client.response().complete)


class TestHold(Hold, Life):
    protocol = "fastcgi"

    def test_the_application_dies_behind_its_answer(self):
        """The answer was not whole, and the client must not take it for one."""
        name, client = self.name(), self.client()
        self.site.start(client, name, "body=5&gate=%s&die" % name, method="POST")
        answer = adopted.Whole(client)
        answer.all_but_the_last()
        length = answer.length()
        self.site.open(name)
        self.assertLess(len(client.response().raw), length)


class TestHoldScgi(Hold, Life):
    """An SCGI application says no more than that its connection ends."""

    protocol = "scgi"


class Stores(Case):
    def start(self, memory="", session="", **more):
        site = adopted.Scripted(self.scope, session=session, tail="store { memory { %s } }\n" % memory + OPEN, **more)
        admin.wait_open(site.weir)
        return site

    def documents(self, site):
        return admin.ask(site.weir, "sessions --limit 1000 --json").json["sessions"]

    def demote_all(self, site):
        for session in self.documents(site):
            self.assertEqual(admin.ask(site.weir, "session demote %s --json" % session["session"]).json["in"], "disk")

    def fill(self, site, count=100):
        with site.store.client() as client:
            for n in range(count):
                client.ask("SET", "%s%d" % (KEY, n), "value %d" % n, "EX", 1000)
            client.ask("SET", KEY + "ever", "for ever")
            client.ask("SET", KEY + "empty", "", "EX", 1000)
        return {b"%s%d" % (KEY.encode(), n) for n in range(count)} | {KEY.encode() + b"ever", KEY.encode() + b"empty"}

    def assert_all(self, site, names):
        with site.store.client() as client:
            found, cursor = set(), b"0"
            while True:
                cursor, keys = client.ask("SCAN", cursor)
                found |= set(keys)
                if cursor == b"0":
                    break
            self.assertEqual(found, names)
            self.assertEqual(client.ask("DBSIZE"), len(names))
            for n in range(len(names) - 2):
                self.assertEqual(client.ask("GET", "%s%d" % (KEY, n)), b"value %d" % n)
            self.assertEqual((client.ask("GET", KEY + "ever"), client.ask("TTL", KEY + "ever")), (b"for ever", -1))
            self.assertEqual(client.ask("GET", KEY + "empty"), b"")
            self.assertTrue(900 < client.ask("TTL", KEY + "0") <= 1000)


class TestStores(Stores):
    def test_restart(self):
        site = self.start()
        names = self.fill(site)
        site.restart()
        self.assert_all(site, names)
        self.assertEqual(site.visit("0", "get&set=after&get"), ["value 0", "OK", "after"])

    def test_kill(self):
        """What was on disk is there; what was only in memory is lost, as the documentation says."""
        site = self.start()
        names = self.fill(site)
        self.demote_all(site)
        site.store.ask("SET", KEY + "memory", "only", "EX", 1000)
        site.restart(signal.SIGKILL)
        wait.until(lambda: site.kept("0") is not None, "the first session from disk")
        self.assert_all(site, names)
        self.assertIsNone(site.kept("memory"))

    def test_delete_counts_when_it_is_answered(self):
        """The disk does not bring it back either: many that are in memory and on disk, and the process is killed as soon
        as the reply is there."""
        site = self.start()
        self.fill(site, 300)
        self.demote_all(site)
        with site.store.client() as client:
            self.assertNotIn(None, client.ask("MGET", *["%s%d" % (KEY, n) for n in range(250)]))
            self.assertEqual(client.ask("DEL", *["%s%d" % (KEY, n) for n in range(250)]), 250)
            site.weir.process.send(signal.SIGKILL)
        site.restart(signal.SIGKILL)
        wait.until(lambda: site.kept("299") == b"value 299", "a session from disk")
        self.assertEqual([n for n in range(250) if site.kept(str(n)) is not None], [])
        self.assertEqual(site.store.ask("DBSIZE"), 52)

    def test_a_disk_that_cannot_be_read(self):
        """Nobody can say whether there is a session of that key: all that needs to know it is answered with an error, after
        the patience that was configured; then the disk is there again."""
        site = self.start(session="lock-wait = 1s")
        site.store.ask("SET", KEY + "a", "x", "EX", 1000)
        path = self.scope.path("state/sessions")
        site.weir.stop()
        os.rename(path, path + ".aside")
        with open(path, "w", encoding="ascii"):
            pass
        site.weir._stopped = False
        site.weir.start()
        site.weir.wait_line("event=store_failed")
        with site.store.client() as client:
            for words in (("SET", KEY + "a", "y", "EX", 1000), ("SET", KEY + "new", "y"), ("SETNX", KEY + "a", "y"),
                          ("GET", KEY + "a"), ("DEL", KEY + "a"), ("EXPIRE", KEY + "a", 9), ("SCAN", 0)):
                with self.subTest(words=words):
                    reply = client.ask(*words)
                    self.assertIsInstance(reply, resp.Error)
                    self.assertRegex(reply.text, "^ERR the sessions? cannot be ")
        os.unlink(path)
        os.rename(path + ".aside", path)
        wait.until(lambda: site.kept("a") == b"x", "the session from disk")
        self.assertEqual(site.store.ask("SET", KEY + "a", "y", "EX", 1000), "OK")
        self.assertEqual((site.kept("a"), site.kept("new")), (b"y", None))

    def test_a_page_that_nobody_takes(self):
        """The client of a SCAN has gone, with or without a reset, while the page is read. Leaks are told at the end."""
        site = self.start(workers=1)
        self.fill(site)
        gone, reset = site.store.client(), site.store.client()
        with stall.stalled(site.weir.pid, "weir-store"):
            reset.say("PING")
            for client in (gone, reset):
                client.say("SCAN", 0, "COUNT", 1000)
            for _ in range(2):
                site.store.ask("PING")
            gone.close()
            reset.close()
            for _ in range(2):
                site.store.ask("PING")
        self.assertEqual(site.store.ask("DBSIZE"), 102)

    def test_replies_that_nobody_will_read(self):
        """The client has gone while its first command waits for the disk. Those behind it are done, and what they
        answer is not kept."""
        site = self.start(session="max-size = 1M", workers=1, program=weir.release_binary(), env=weir.SMALL)
        site.store.ask("SET", KEY + "below", "x", "EX", 1000)
        self.demote_all(site)
        site.store.ask("SET", KEY + "big", "x" * 60000)
        before, client = site.weir.peak_kib(), site.store.client()
        with stall.stalled(site.weir.pid, "weir-store"):
            client.sock.sendall(resp.command("DEL", KEY + "below") + resp.command("GET", KEY + "big") * 1500
                                + resp.command("SET", KEY + "last", "y"))
            site.store.ask("PING")
            client.close()
            site.store.ask("PING")
        wait.until(lambda: site.kept("last") == b"y", "the last command")
        self.assertLess(site.weir.peak_kib() - before, 16 * 1024)

    def test_on_disk_all_commands_find_it(self):
        site = self.start()
        names = self.fill(site)
        self.demote_all(site)
        self.assert_all(site, names)
        self.demote_all(site)
        with site.store.client() as client:
            key = [KEY + str(n) for n in range(20)]
            self.assertEqual(client.ask("EXISTS", key[0], KEY + "none", key[1]), 2)
            self.assertEqual(client.ask("STRLEN", key[2]), 7)
            self.assertEqual(client.ask("EXPIRE", key[3], 500), 1)
            self.assertTrue(490 < client.ask("TTL", key[3]) <= 500)
            self.assertIsNone(client.ask("SET", key[4], "x", "NX"))
            self.assertEqual(client.ask("SET", key[5], "x", "XX", "KEEPTTL"), "OK")
            self.assertTrue(900 < client.ask("TTL", key[5]) <= 1000)
            self.assertEqual(client.ask("GETEX", key[6], "PERSIST"), b"value 6")
            self.assertEqual(client.ask("TTL", key[6]), -1)
            self.assertEqual(client.ask("MGET", key[7], KEY + "none", key[8]), [b"value 7", None, b"value 8"])
            self.assertEqual(client.ask("SET", key[9], "new", "GET"), b"value 9")
            self.assertEqual(client.ask("DEL", key[10], KEY + "none", key[11]), 2)
            self.assertEqual(client.ask("SETNX", key[12], "x"), 0)
            self.assertEqual(client.ask("SETNX", key[10], "again"), 1)
            self.assertEqual(client.ask("GET", key[10]), b"again")

    def test_brought_up_before_the_application_asks(self):
        site = self.start()
        site.store.ask("SET", KEY + "one", "x", "EX", 1000)
        self.demote_all(site)
        with site.client() as client:
            site.start(client, "one", "gate=up&get")
            self.assertEqual([s["in"] for s in self.documents(site)], ["memory"])
            site.open("up")
            self.assertEqual(json.loads(client.response().body), ["x"])

    def test_more_than_memory_holds(self):
        site = self.start("max = 1M  evict = lru")
        value = "x" * 10000
        with site.store.client() as client:
            for n in range(400):
                self.assertEqual(client.ask("SET", "%s%d" % (KEY, n), "%d %s" % (n, value), "EX", 1000), "OK")
            for n in range(400):
                self.assertEqual(client.ask("GET", "%s%d" % (KEY, n)), b"%d %s" % (n, value.encode()))
            self.assertEqual(client.ask("DBSIZE"), 400)

    def test_expires_once(self):
        """In memory and on disk."""
        site = self.start()
        with site.store.client() as client:
            for n in range(10):
                client.ask("SET", "%sdisk%d" % (KEY, n), "x", "EX", 2)
        self.demote_all(site)
        with site.store.client() as client:
            for n in range(10):
                client.ask("SET", "%smemory%d" % (KEY, n), "x", "EX", 1)
            client.ask("SET", KEY + "stays", "x", "EX", 1000)
            wait.until(lambda: client.ask("DBSIZE") == 1, lambda: "the end of 20: %s" % client.ask("DBSIZE"))
            ended = ["%s%s%d" % (KEY, where, n) for where in ("disk", "memory") for n in range(10)]
            self.assertEqual(client.ask("MGET", *ended), [None] * 20)

        def expired():
            text = admin.ask(site.weir, "metrics").text
            return sum(float(line.split()[-1]) for line in text.splitlines()
                       if line.startswith("weir_sessions_expired_total"))
        self.assertEqual(wait.until(lambda: expired() >= 20 and expired(), "the count"), 20)
        self.assertEqual(site.store.ask("GET", KEY + "stays"), b"x")

    def test_what_is_under_way_at_the_end(self):
        """After TERM a request that runs still has its sessions, on old connections and on new ones; who waits for a lock
        is answered; connections of which nothing is asked do not keep weir from ending."""
        site = self.start(node_more="  drain-timeout = 60s\n")
        idle, holder, waiting = site.store.client(), site.store.client(), site.store.client()
        for client in (idle, holder, waiting):
            self.addCleanup(client.close)
        idle.ask("PING")
        holder.ask("SET", KEY + "a_LOCK", "one", "NX", "PX", 60000)
        waiting.say("SET", KEY + "a_LOCK", "two", "NX", "PX", 60000)
        with site.client() as client:
            site.start(client, "one", "gate=end&set=written&get")
            site.weir.process.send(signal.SIGTERM)
            site.weir.wait_line("event=draining")
            self.assertEqual(site.store.ask("SET", KEY + "two", "late", "EX", 1000), "OK")
            site.open("end")
            self.assertEqual(json.loads(client.response().body), ["OK", "written"])
        self.assertIn(waiting.reply(), (None, "OK"))  # OK: its holder's connection was closed first
        self.assertEqual(site.weir.wait_exit(), 0)
        site.restart()
        self.assertEqual((site.kept("one"), site.kept("two")), (b"written", b"late"))

    def test_who_waits_for_a_lock_at_the_end(self):
        """Is told nil at once, also for the next one that it has asked for already."""
        site = self.start(workers=1, session="lock-wait = 60s")
        waiting, holder = site.store.client(), site.store.client()
        for client in (waiting, holder):
            self.addCleanup(client.close)
        waiting.ask("PING")  # it is the first that hears of the end
        for name in "ab":
            self.assertEqual(holder.ask("SET", KEY + name + "_LOCK", "one", "NX", "PX", 60000), "OK")
        for name in "ab":
            waiting.say("SET", KEY + name + "_LOCK", "two", "NX", "PX", 60000)
        holder.ask("PING")
        site.weir.process.send(signal.SIGTERM)
        self.assertEqual(waiting.replies(2), [None, None])
        self.assertTrue(waiting.closed())
        self.assertEqual(site.weir.wait_exit(), 0)

    def test_reload(self):
        """Connections to the socket stay, and what they wait for."""
        site = self.start()
        with site.store.client() as client, site.store.client() as waiting:
            client.ask("SET", KEY + "a_LOCK", "one", "NX", "PX", 60000)
            waiting.say("SET", KEY + "a_LOCK", "two", "NX", "PX", 60000)
            client.ask("SET", KEY + "a", "x", "EX", 1000)
            site.weir.process.send(signal.SIGHUP)
            site.weir.wait_line("event=reloaded")
            self.assertEqual(client.ask("GET", KEY + "a"), b"x")
            self.assertEqual(client.ask("DEL", KEY + "a_LOCK"), 1)
            self.assertEqual(waiting.reply(), "OK")
            self.assertEqual(site.store.ask("GET", KEY + "a"), b"x")


class TestOperator(Stores):
    def test_sessions_and_show(self):
        site = self.start()
        site.store.ask("SET", KEY + "secret-id-of-mine", "secret state", "EX", 1000)
        (session,) = self.documents(site)
        self.assertEqual((session["app"], session["in"]), ("main", "memory"))
        self.assertRegex(session["session"], r"^[0-9a-f]{16}$")
        for line in ("sessions", "sessions --json", "session show %s" % session["session"],
                     "session show %s --json" % session["session"]):
            self.assertNotIn("secret", admin.ask(site.weir, line).text, line)
        shown = admin.ask(site.weir, "session show %s --state --json" % session["session"])
        self.assertIn("secret state", shown.text)
        code, out, error = admin.weirctl("-s", admin.path_of(site.weir), "sessions")
        self.assertEqual((code, error), (0, ""))
        self.assertIn(session["session"], out)

    def test_end(self):
        site = self.start()
        site.store.ask("SET", KEY + "a", "x", "EX", 1000)
        (session,) = self.documents(site)
        self.assertEqual(admin.ask(site.weir, "session end " + session["session"]).code, "ok")
        self.assertIsNone(site.kept("a"))
        self.assertEqual((site.store.ask("DBSIZE"), self.documents(site)), (0, []))
        self.assertEqual(site.visit("a", "set=new&get"), ["OK", "new"])

    def test_time_that_is_left(self):
        site = self.start()
        site.store.ask("SET", KEY + "a", "x", "EX", 500)
        (session,) = self.documents(site)
        self.assertTrue(480 <= session["expires_at"] - time.time() <= 505, session)

    def shown_life(self, site, name):
        """As text and as JSON, of one session and in the list."""
        fields = admin.ask(site.weir, "session show " + name).fields
        (listed,) = self.documents(site)
        for session in (admin.ask(site.weir, "session show %s --json" % name).json, listed):
            self.assertEqual((session["ttl_s"], session["expires_at"]), (None, None))
        self.assertEqual((fields["ttl"], fields["expires"]), ("never", "never"))
        head, row = admin.ask(site.weir, "sessions").text.splitlines()
        self.assertIn("EXPIRES", head)
        self.assertEqual(row.split().count("never"), 2, row)

    def test_without_an_end(self):
        site = self.start()
        site.store.ask("SET", KEY + "a", "x")
        (session,) = self.documents(site)
        self.shown_life(site, session["session"])
        self.demote_all(site)
        self.shown_life(site, session["session"])
        site.store.ask("EXPIRE", KEY + "a", 500)
        (session,) = self.documents(site)
        self.assertEqual(session["ttl_s"], 500)

    def test_no_id_and_no_state_in_the_log(self):
        site = self.start(password="open-sesame")
        client = resp.Client(site.store.where)
        client.ask("AUTH", "wrong-secret")
        client.close()
        site.visit("secret-id-of-mine", "set=secret-state&get&SET=secret-state+NX&nosuch=&del")
        site.store.ask("SET", KEY + "secret-id-of-mine_LOCK", "secret-token", "NX", "PX", 10)
        with site.store.client() as broken:
            broken.send(b"*1\r\n$x-secret\r\n")
            broken.reply()
        log = site.weir.process.log()
        for word in ("secret", "open-sesame"):
            self.assertNotIn(word, log)

    def test_two_apps_with_the_same_ids(self):
        where = self.scope.unix("other")
        other = weir.app("other", [adopted.NOBODY], "", 'mode = adopted  socket = "%s"  key = "%s"  cookie = "OTHER"' %
                         (where, KEY), ["path:/other"])
        site = self.start(other=[other])
        with site.store.client() as mine, resp.Client(where) as theirs:
            mine.ask("SET", KEY + "same", "mine", "EX", 1000)
            self.assertIsNone(theirs.ask("GET", KEY + "same"))
            self.assertEqual((theirs.ask("DBSIZE"), theirs.ask("SCAN", 0)[1]), (0, []))
            self.assertEqual(theirs.ask("SET", KEY + "same_LOCK", "x", "NX", "PX", 9000), "OK")
            self.assertEqual(mine.ask("SET", KEY + "same_LOCK", "y", "NX", "PX", 9000), "OK")
            theirs.ask("SET", KEY + "same", "theirs", "EX", 1000)
            self.assertEqual((mine.ask("GET", KEY + "same"), mine.ask("DBSIZE")), (b"mine", 1))
            self.assertEqual(theirs.ask("DEL", KEY + "same"), 1)
            self.assertEqual(mine.ask("GET", KEY + "same"), b"mine")
