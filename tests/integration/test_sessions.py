"""Managed sessions on one node: what the application sees of them, and what the browser."""
import fcntl
import json
import os
import struct
import termios
import time

from harness import cgi, fcgi, wait, weir
from harness.backend import Backend
from harness.case import Case, Parallel
from harness.site import Site


def cookies(answer, name="WEIRSID"):
    """[(value, {attribute: value})] of that cookie."""
    jar = []
    for text in answer.all("Set-Cookie"):
        pair, *rest = [p.strip() for p in text.split(";")]
        if pair.startswith(name + "="):
            jar.append((pair[len(name) + 1:], dict((p.partition("=")[0].lower(), p.partition("=")[2]) for p in rest)))
    return jar


class SessionCase(Case):
    session = ""
    site_options = {}

    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, cls.session, **cls.site_options)

    def new(self, data="one", site=None, **kwargs):
        """A jar with a session that has this state."""
        jar = cgi.Jar()
        answer = (site or self.site).ask("set=" + data, jar=jar, **kwargs)
        self.assertEqual(answer.status, 200, answer)
        self.assertIn("WEIRSID", jar.values, answer)
        return jar

    def assert_expires(self, answer, name="WEIRSID"):
        got = cookies(answer, name)
        self.assertEqual(len(got), 1, answer)
        self.assertEqual((got[0][0], got[0][1].get("max-age")), ("", "0"), answer)

    def assert_no_weir_headers(self, answer):
        self.assertEqual([n for n, _ in answer.headers if n.lower().startswith("weir-")], [], answer)


class TestLife(SessionCase):
    def test_states_none_new_live(self):
        jar = cgi.Jar()
        env = self.site.seen("set=hello+world", jar=jar)
        self.assertEqual(env["SESSION_STATE"], "none")
        self.assertFalse(env.get("SESSION_ID"))
        self.assertFalse(env.get("SESSION_DATA"))
        self.assertEqual(self.site.state(jar), ("new", "hello world"))
        self.assertEqual(self.site.state(jar), ("live", "hello world"))
        self.site.ask("set=other", jar=jar)
        self.assertEqual(self.site.state(jar), ("live", "other"))

    def test_cookie_is_set_once(self):
        jar = cgi.Jar()
        first = self.site.ask("set=a", jar=jar)
        self.assertEqual(len(cookies(first)), 1)
        self.assertEqual(cookies(self.site.ask("set=b", jar=jar)), [])
        self.assertEqual(cookies(self.site.ask("", jar=jar)), [])

    def test_a_request_without_session_gets_no_cookie(self):
        self.assertEqual(self.site.ask("").all("Set-Cookie"), [])

    def test_default_attributes(self):
        value, attributes = cookies(self.site.ask("set=a"))[0]
        self.assertEqual(len(value), 32)
        self.assertRegex(value, r"^[A-Za-z0-9_-]+$")
        self.assertEqual(attributes.get("path"), "/")
        self.assertIn("httponly", attributes)
        self.assertEqual(attributes.get("samesite", "").lower(), "lax")
        self.assertNotIn("secure", attributes)
        self.assertNotIn("domain", attributes)
        self.assertNotIn("max-age", attributes)

    def test_secure_over_https(self):
        answer = self.site.ask("set=a", https=True)
        self.assertIn("secure", cookies(answer)[0][1])
        # Some web servers say it in this way.
        self.assertNotIn("secure", cookies(self.site.ask("set=a", HTTPS="off"))[0][1])

    def test_public_name_is_not_the_id(self):
        jar = self.new()
        env = self.site.seen(jar=jar)
        name, value = env["SESSION_ID"], jar.values["WEIRSID"]
        self.assertTrue(name)
        self.assertNotIn(name, value)
        self.assertNotIn(value, name)
        self.assertEqual(self.site.seen(jar=jar)["SESSION_ID"], name)
        self.assertNotEqual(self.site.seen(jar=self.new())["SESSION_ID"], name)

    def test_created_and_ttl(self):
        before = int(time.time())
        jar = self.new()
        env = self.site.seen(jar=jar)
        self.assertTrue(before - 2 <= int(env["SESSION_CREATED"]) <= int(time.time()) + 2, env["SESSION_CREATED"])
        self.assertEqual(env["SESSION_TTL"], "1800")
        self.site.ask("ttl=77", jar=jar)
        self.assertEqual(self.site.seen(jar=jar)["SESSION_TTL"], "77")

    def test_created_does_not_wander(self):
        """One session has one time of birth, whichever moment of a second it is asked at."""
        jar = self.new()
        seen, end = set(), time.monotonic() + 2.2
        while time.monotonic() < end:
            seen.add(self.site.seen(jar=jar)["SESSION_CREATED"])
            time.sleep(0.02)
        self.assertEqual(len(seen), 1, seen)

    def test_no_whole_id_and_no_state_in_the_log(self):
        jar = self.new("very-secret-state")
        self.site.ask("set=very-secret-state-2", jar=jar)
        self.site.ask("renew=1", jar=jar)
        self.site.ask("end=1", jar=jar)
        log = self.site.weir.process.log()
        self.assertNotIn("very-secret", log)
        self.assertNotIn(jar.values.get("WEIRSID", "?none?"), log)

    def test_empty_state(self):
        jar = self.new("")
        env = self.site.seen(jar=jar)
        self.assertEqual((env["SESSION_STATE"], env["SESSION_DATA"]), ("new", ""))
        self.site.ask("set=x", jar=jar)
        self.site.ask("set=", jar=jar)
        self.assertEqual(self.site.state(jar), ("live", ""))

    def test_bytes_of_a_state(self):
        text = "a:b;c=d, \"e\" \\ \t %25 \xe4\xf6"
        quoted = "a:b;c%3Dd,+%22e%22+%5C+%09+%2525+%E4%F6".replace(";", "%3B")
        jar = cgi.Jar()
        self.site.ask("set=" + quoted, jar=jar)
        self.assertEqual(self.site.state(jar), ("new", text))

    def test_the_applications_own_headers_pass(self):
        answer = self.site.ask("set=a&status=418+Teapot")
        self.assertEqual((answer.status, answer.header("X-App")), (418, "yes"))
        self.assert_no_weir_headers(answer)

    def test_weir_headers_never_reach_the_client(self):
        jar = cgi.Jar()
        for query in ("set=a", "set=b&ttl=60", "ttl=abc", "renew=1", "renew=maybe", "end=1", "end=1", "ttl=", "set=z"):
            answer = self.site.ask(query, jar=jar)
            self.assertEqual(answer.status, 200, (query, answer))
            self.assert_no_weir_headers(answer)

    def test_every_answer_implies_its_commit(self):
        """B10: whoever has the answer finds the state that it implies, on any connection."""
        jar = self.new("0")
        for i in range(1, 101):
            self.site.ask("incr=1", jar=jar)
            self.assertEqual(self.site.state(jar)[1], str(i))

    def test_state_goes_with_the_head(self):
        """The commit is made when the head is let go, long before the body ends."""
        jar = self.new("old")
        with self.site.client() as client:
            client.start(self.site.params("set=early&head=1&gate=body", jar=jar))
            client.wait_output(1, 10)
            self.assertEqual(self.site.state(jar, path="/read-only"), ("live", "early"))
            self.site.open("body")
            self.assertTrue(client.response().complete)

    session = 'read-only = { "/read-only" }'


class TestEnd(SessionCase):
    def test_end(self):
        jar = self.new()
        answer = self.site.ask("end=1", jar=jar, cookie=jar.header())
        self.assert_expires(answer)
        self.assertNotIn("WEIRSID", jar.values)

    def test_an_ended_id_is_unknown(self):
        jar = self.new()
        old = jar.header()
        self.site.ask("end=1", jar=jar)
        answer = self.site.ask("", cookie=old)
        self.assertEqual(json.loads(answer.body)["SESSION_STATE"], "none")
        self.assert_expires(answer)

    def test_end_wins_over_data_and_renew(self):
        jar = self.new()
        old = jar.header()
        self.assert_expires(self.site.ask("end=1&set=zombie&renew=1", jar=jar))
        self.assertEqual(self.site.seen(cookie=old)["SESSION_STATE"], "none")

    def test_end_without_session(self):
        self.assertEqual(self.site.ask("end=1").status, 200)

    def test_a_new_session_after_the_end(self):
        jar = self.new()
        old = jar.values["WEIRSID"]
        self.site.ask("end=1", jar=jar)
        self.site.ask("set=again", jar=jar, cookie="WEIRSID=" + old)
        self.assertNotEqual(jar.values["WEIRSID"], old, "an unknown id was adopted")
        self.assertEqual(self.site.state(jar), ("new", "again"))


class TestRenew(SessionCase):
    def test_renew(self):
        jar = self.new("state")
        old = jar.values["WEIRSID"]
        created = int(self.site.seen(jar=jar)["SESSION_CREATED"])
        answer = self.site.ask("renew=1", jar=jar)
        self.assertEqual(len(cookies(answer)), 1)
        self.assertNotEqual(jar.values["WEIRSID"], old)
        env = self.site.seen(jar=jar)
        self.assertEqual(env["SESSION_DATA"], "state")
        self.assertAlmostEqual(int(env["SESSION_CREATED"]), created, delta=1)
        self.assertIn(env["SESSION_STATE"], ("new", "live"))

    def test_renew_with_new_state(self):
        jar = self.new("state")
        self.site.ask("renew=1&set=logged-in", jar=jar)
        self.assertEqual(self.site.state(jar)[1], "logged-in")

    def test_the_old_id_is_dead_and_leaves_the_cookie_alone(self):
        """A straggler with the old id must not make the browser forget the new one."""
        jar = self.new("state")
        old = jar.header()
        self.site.ask("renew=1", jar=jar)
        answer = self.site.ask("set=stolen", cookie=old)
        env = json.loads(answer.body)
        self.assertEqual((answer.status, env["SESSION_STATE"], env.get("SESSION_DATA", "")), (200, "none", ""))
        answer = self.site.ask("", cookie=old)
        self.assertEqual(cookies(answer), [])
        self.assertEqual(self.site.state(jar)[1], "state")

    def test_parallel_requests_with_the_old_id(self):
        jar = self.new("state")
        with self.site.client() as client:
            old = cgi.Jar()
            old.values.update(jar.values)
            client.start(self.site.params("renew=1&gate=login", jar=old), request_id=1)
            self.site.wait_at("login")
            for i in range(2, 8):
                client.start(self.site.params("", jar=old), request_id=i)
            self.site.open("login")
            login = client.response(1)
            jar.take(login.all("Set-Cookie"))
            for i in range(2, 8):
                answer = client.response(i)
                self.assertEqual((answer.status, cookies(answer)), (200, []), answer)
                self.assertEqual(json.loads(answer.body)["SESSION_STATE"], "none")
        self.assertEqual(self.site.state(jar)[1], "state")

    def test_renew_without_session(self):
        self.assertEqual(self.site.ask("renew=1").status, 200)


class TestIds(SessionCase):
    def assert_unknown(self, value):
        answer = self.site.ask("", cookie=b"WEIRSID=" + value)
        self.assertEqual(answer.status, 200, answer)
        env = json.loads(answer.body)
        self.assertEqual((env["SESSION_STATE"], env.get("SESSION_DATA", ""), env.get("SESSION_ID", "")),
                         ("none", "", ""), value)
        self.assert_expires(answer)

    def test_forged_ids(self):
        good = self.new().values["WEIRSID"].encode()
        flipped = bytes([good[0] ^ 1 if good[0] not in b"_-" else 65]) + good[1:]
        for value in (b"x", b"A" * 32, b"-" * 32, flipped, good[:-1], good + b"A", good + b"=", good[:16], b"A" * 4000,
                      good[:10] + b"\xff\xfe" + good[12:], b"\xc3\xa4" * 16, b"../../etc/passwd", b"%41" + good[1:],
                      good.swapcase()):
            with self.subTest(value=value[:60]):
                self.assert_unknown(value)

    def test_a_last_character_with_spare_bits(self):
        """24 bytes are 32 characters with no bits to spare: each other character is another id."""
        good = self.new().values["WEIRSID"].encode()
        for c in b"AZaz09-_":
            if c != good[-1]:
                self.assert_unknown(good[:-1] + bytes([c]))

    def test_two_cookies_of_the_same_name(self):
        jar = self.new("mine")
        good = jar.values["WEIRSID"]
        for header in ("WEIRSID=forged; WEIRSID=" + good, "WEIRSID=%s; WEIRSID=forged" % good,
                       "a=b; WEIRSID=%s; c=d" % good, "WEIRSID=\"%s\"" % good, "XWEIRSID=x;WEIRSID=" + good):
            with self.subTest(header=header):
                answer = self.site.ask("", cookie=header)
                env = json.loads(answer.body)
                self.assertIn(env["SESSION_STATE"], ("new", "live"))
                self.assertEqual(env["SESSION_DATA"], "mine")
                self.assertEqual(cookies(answer), [])

    def test_other_cookies_reach_the_application(self):
        env = self.site.seen(cookie="a=b; c=d")
        self.assertEqual(env["HTTP_COOKIE"], "a=b; c=d")

    def test_strange_cookie_headers(self):
        for header in (b"", b";", b"=", b"WEIRSID", b"weirsid=x", b";;;=;=;", b"\xff\x00\x01" * 30, b"a" * 8000,
                       b"; " * 2000):
            with self.subTest(header=header[:40]):
                self.assertEqual(self.site.ask("", cookie=header).status, 200)

    def test_thousand_unknown_ids(self):
        with self.site.client() as client:
            for i in range(1000):
                answer = client.ask(self.site.params("", cookie="WEIRSID=%032d" % i))
                self.assertEqual(answer.status, 200)

    def test_names_of_the_client_are_overwritten(self):
        forged = {"SESSION_STATE": "live", "SESSION_DATA": "forged", "SESSION_ID": "forged", "SESSION_CREATED": "1",
                  "SESSION_TTL": "1"}
        jar = self.new("true")
        for cookie, expected in ((None, ("none", "")), (jar.header(), ("new", "true"))):
            self.site.ask("", cookie=cookie, **forged)
            x = self.site.backend.requests[-1]
            names = [name for name, _ in x.pairs if name.startswith("SESSION_")]
            self.assertEqual(len(names), len(set(names)), names)
            self.assertEqual((x.params["SESSION_STATE"], x.params.get("SESSION_DATA", "")), expected)
            self.assertNotIn("forged", [value for _, value in x.pairs])


class TestSize(SessionCase):
    session = "max-size = 1000"

    def test_exactly_the_limit(self):
        jar = self.new()
        self.assertEqual(self.site.ask("size=1000", jar=jar).status, 200)
        self.assertEqual(self.site.state(jar)[1], "x" * 1000)

    def test_one_byte_more(self):
        jar = self.new("old")
        answer = self.site.ask("size=1001", jar=jar)
        self.assertEqual(answer.status, 413, answer)
        self.assert_no_weir_headers(answer)
        self.assertIsNone(answer.header("X-App"))
        self.assertEqual(self.site.state(jar), ("live", "old"))

    def test_no_session_of_one_byte_more(self):
        answer = self.site.ask("size=1001")
        self.assertEqual((answer.status, cookies(answer)), (413, []))


    def test_far_more_than_the_answers_head_may_hold(self):
        """The application said too much; the backend is as good as before."""
        jar = self.new("old")
        for size in (60000, 70000, 70000, 70000, 70000, 70000):
            answer = self.site.ask("size=%d" % size, jar=jar)
            self.assertEqual(answer.status, 413, answer)
            self.assert_no_weir_headers(answer)
        self.assertEqual(self.site.state(jar), ("live", "old"))
        self.assertEqual(self.site.weir.lines("backend_down"), [])


class TestLargeState(SessionCase):
    session = "max-size = 1M"
    site_options = {"options": "max-header = 2M", "listen": "max-params = 64k"}

    def test_a_mebibyte(self):
        """The state is no part of max-params, which bounds what the web server sends."""
        jar = cgi.Jar()
        self.assertEqual(self.site.ask("size=1048576", jar=jar).status, 200)
        self.assertEqual(self.site.state(jar), ("new", "x" * 1048576))
        self.assertEqual(self.site.ask("size=1048577", jar=jar).status, 413)

    def test_pairs_stay_whole(self):
        """A8: PHP reads each PARAMS record on its own."""
        jar = cgi.Jar()
        self.site.ask("size=60000", jar=jar)
        self.site.ask("", jar=jar, X_FILL="y" * 30000)
        x = self.site.backend.requests[-1]
        self.assertEqual((len(x.params["SESSION_DATA"]), len(x.params["X_FILL"])), (60000, 30000))
        for record in x.connection.raw_params:
            fcgi.parse_pairs(record)


class TestFullStore(SessionCase):
    """Memory is all there is."""
    session = "max-size = 400k"
    site_options = {"options": "max-header = 1M", "tail": "store { memory { max = 1M } disk { max = 0 } }\n"}

    def test_what_lives_is_kept(self):
        jars, refused = [], []
        for i in range(4):
            jar = cgi.Jar()
            answer = self.site.ask("size=400000", jar=jar)
            (jars if answer.status == 200 else refused).append(jar)
            if answer.status != 200:
                self.assertIn(answer.status, (413, 503, 507))
                self.assertNotIn("WEIRSID", jar.values)
        self.assertTrue(jars and refused, (len(jars), len(refused)))
        for jar in jars:
            self.assertEqual(len(self.site.state(jar)[1]), 400000)
        self.site.ask("end=1", jar=jars[0])
        self.assertEqual(self.site.ask("size=300000", jar=refused[0]).status, 200)


class TestExclusive(SessionCase):
    session = 'lock = exclusive  read-only = { "/status", "/assets/" }  stateless = { "*.css", "/static/" }'
    site_options = {"backend": "connections = 4"}

    def test_both_effects_are_there(self):
        """B1, over both workers."""
        jar = self.new("0")

        def visitor():
            for _ in range(10):
                if self.site.ask("incr=1", jar=jar).status != 200:
                    raise AssertionError("no answer")
        parallel = Parallel()
        for _ in range(8):
            parallel.start(visitor)
        parallel.join()
        self.assertEqual(self.site.state(jar)[1], "80")

    def test_one_at_a_time_first_come_first_served(self):
        jar = self.new("")
        with self.site.client() as client:
            client.start(self.site.params("gate=first", jar=jar), request_id=1)
            self.site.wait_at("first")
            before = len(self.site.backend.requests)
            for i in range(2, 10):
                client.start(self.site.params("set=%d" % i, jar=jar, path="/fifo/%d" % i), request_id=i)
            self.site.open("first")
            for i in range(1, 10):
                self.assertEqual(client.response(i).status, 200)
        order = [x.params["SCRIPT_NAME"] for x in self.site.backend.requests[before:]]
        self.assertEqual(order, ["/fifo/%d" % i for i in range(2, 10)])
        # Each saw what the one before it had stored.
        seen = [x.params["SESSION_DATA"] for x in self.site.backend.requests[before + 1:]]
        self.assertEqual(seen, [str(i) for i in range(2, 9)])

    def test_who_waits_holds_no_backend_connection(self):
        jar, other = self.new(), self.new()
        with self.site.client() as client:
            client.start(self.site.params("gate=held", jar=jar), request_id=1)
            self.site.wait_at("held")
            before = len(self.site.backend.requests)
            for i in range(2, 20):  # far more than the four connections
                client.start(self.site.params("", jar=jar), request_id=i)
            client.start(self.site.params("", jar=other), request_id=20)
            self.assertEqual(client.response(20).status, 200)
            self.assertEqual(len(self.site.backend.requests), before + 1)
            self.site.open("held")
            for i in range(1, 20):
                self.assertEqual(client.response(i).status, 200)

    def test_other_sessions_do_not_wait(self):
        jar = self.new()
        with self.site.client() as client:
            client.start(self.site.params("gate=mine", jar=jar))
            self.site.wait_at("mine")
            self.assertEqual(self.site.state(self.new("other"))[1], "other")
            self.assertEqual(self.site.ask("").status, 200)
            self.site.open("mine")
            client.response()

    def test_read_only(self):
        jar = self.new("old")
        with self.site.client() as client:
            client.start(self.site.params("gate=writer&set=new", jar=jar))
            self.site.wait_at("writer")
            for path in ("/status", "/status/more", "/assets/logo.png"):
                answer = self.site.ask("set=nonsense&renew=1&end=1", path=path, jar=jar)
                self.assertEqual((answer.status, answer.all("Set-Cookie")), (200, []))
                self.assert_no_weir_headers(answer)
                self.assertEqual(json.loads(answer.body)["SESSION_DATA"], "old")
            self.site.open("writer")
            self.assertEqual(client.response().status, 200)
        self.assertEqual(self.site.state(jar)[1], "new")

    def test_read_only_creates_nothing(self):
        self.assertEqual(self.site.ask("set=x", path="/status").all("Set-Cookie"), [])

    def test_stateless(self):
        jar = self.new("old")
        with self.site.client() as client:
            client.start(self.site.params("gate=page", jar=jar))
            self.site.wait_at("page")
            for path in ("/style.css", "/a/b.css", "/static/x"):
                answer = self.site.ask("set=nonsense", path=path, jar=jar)
                self.assertEqual((answer.status, answer.all("Set-Cookie")), (200, []))
                self.assert_no_weir_headers(answer)
                env = json.loads(answer.body)
                self.assertIn(env.get("SESSION_STATE", "none"), ("none", ""))
                self.assertFalse(env.get("SESSION_DATA"))
            self.site.open("page")
            client.response()
        self.assertEqual(self.site.ask("", path="/style.css", cookie="WEIRSID=forged").all("Set-Cookie"), [])
        self.assertEqual(self.site.state(jar)[1], "old")

    def test_client_that_goes_while_it_waits(self):
        """B8"""
        jar = self.new("0")
        with self.site.client() as holder:
            holder.start(self.site.params("gate=hold-a&incr=1", jar=jar))
            self.site.wait_at("hold-a")
            for reset in (False, True):
                leaver = self.site.client()
                leaver.start(self.site.params("incr=1", jar=jar, path="/gone"))
                leaver.reset() if reset else leaver.close()
            with self.site.client() as waiter:
                waiter.start(self.site.params("incr=1", jar=jar))
                self.site.open("hold-a")
                self.assertEqual(holder.response().status, 200)
                self.assertEqual(waiter.response().status, 200)
        # The leavers may have been served before their leaving was noticed; nobody else may be missing.
        self.assertGreaterEqual(int(self.site.state(jar)[1]), 2)

    def test_client_that_goes_in_the_middle_of_a_large_body(self):
        """Its body has filled the room that there is, so nothing is read from it: its leaving is noticed all the
        same, and the application never hears of it."""
        jar = self.new("0")

        def descriptors():
            return len(os.listdir("/proc/%d/fd" % self.site.weir.pid))
        with self.site.client() as holder:
            holder.start(self.site.params("gate=hold-c&incr=1", jar=jar))
            self.site.wait_at("hold-c")
            before = descriptors()
            leaver = self.site.client()
            variables = self.site.params("incr=1", jar=jar, path="/large", method="POST", body_length=400000)
            head = fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(variables))
            leaver.send(head, fcgi.stream(fcgi.STDIN, 1, b"x" * 150000, final=False))
            unread = struct.Struct("i")

            def queued():
                return unread.unpack(fcntl.ioctl(leaver.sock, termios.TIOCOUTQ, bytes(unread.size)))[0]
            first = queued()
            wait.until(lambda: descriptors() > before and (queued() < first or queued() < 100000), "a read of the body")
            leaver.close()
            wait.until(lambda: descriptors() <= before, "the end of the connection of the client that went", 8)
            self.site.open("hold-c")
            self.assertEqual(holder.response().status, 200)
        self.assertEqual(self.site.state(jar)[1], "1")
        self.assertNotIn("/large", [x.params["SCRIPT_NAME"] for x in self.site.backend.requests])

    def test_abort_while_it_waits(self):
        jar = self.new("0")
        with self.site.client() as client:
            client.start(self.site.params("gate=hold-b", jar=jar), request_id=1)
            self.site.wait_at("hold-b")
            client.start(self.site.params("", jar=jar, path="/aborted"), request_id=2)
            client.send(fcgi.record(fcgi.ABORT, 2))
            client.response(2)
            client.start(self.site.params("", jar=jar), request_id=3)
            self.site.open("hold-b")
            self.assertEqual(client.response(3).status, 200)
        self.assertNotIn("/aborted", [x.params["SCRIPT_NAME"] for x in self.site.backend.requests])

    def test_application_that_dies_with_the_lock(self):
        """B8"""
        jar = self.new("kept")
        with self.site.client() as client:
            client.start(self.site.params("gate=death&die=1&set=lost", jar=jar, method="POST"), request_id=1)
            self.site.wait_at("death")
            client.start(self.site.params("", jar=jar), request_id=2)
            self.site.open("death")
            self.assertEqual(client.response(1).status, 502)
            answer = client.response(2)
            self.assertEqual(json.loads(answer.body)["SESSION_DATA"], "kept")

    def test_client_that_goes_while_it_holds(self):
        jar = self.new("kept")
        client = self.site.client()
        client.start(self.site.params("gate=never", jar=jar))
        x, = self.site.wait_at("never")
        client.close()
        self.assertEqual(self.site.state(jar)[1], "kept")  # within lock-wait, with the first one never answered
        self.assertTrue(x.wait_gone())
        self.site.open("never")

    def test_an_end_while_others_wait(self):
        jar = self.new("alive")
        with self.site.client() as client:
            client.start(self.site.params("gate=ending&end=1", jar=jar), request_id=1)
            self.site.wait_at("ending")
            client.start(self.site.params("", jar=jar), request_id=2)
            client.start(self.site.params("set=zombie", jar=jar), request_id=3)
            self.site.open("ending")
            self.assert_expires(client.response(1))
            for request_id in (2, 3):
                answer = client.response(request_id)
                self.assertEqual(json.loads(answer.body)["SESSION_STATE"], "none")
                self.assertEqual([value for value, _ in cookies(answer) if value], [],
                                 "who began before the end made a session after it")


class TestLockWait(SessionCase):
    session = "lock-wait = 300ms"

    def test_503_with_retry_after(self):
        jar = self.new("kept")
        with self.site.client() as client:
            client.start(self.site.params("gate=long", jar=jar), request_id=1)
            self.site.wait_at("long")
            began = time.monotonic()
            client.start(self.site.params("", jar=jar, path="/impatient"), request_id=2)
            answer = client.response(2)
            self.assertEqual(answer.status, 503, answer)
            self.assertGreaterEqual(int(answer.header("Retry-After")), 1)
            self.assertGreaterEqual(time.monotonic() - began, 0.25)
            self.assertEqual(answer.all("Set-Cookie"), [])
            self.site.open("long")
            self.assertEqual(client.response(1).status, 200)
        self.assertEqual(self.site.state(jar)[1], "kept")
        self.assertNotIn("/impatient", [x.params["SCRIPT_NAME"] for x in self.site.backend.requests])


class TestShared(SessionCase):
    session = "lock = shared"

    def test_side_by_side_and_the_last_commit_wins(self):
        jar = self.new("start")
        with self.site.client() as client:
            client.start(self.site.params("gate=a&set=a", jar=jar), request_id=1)
            client.start(self.site.params("gate=b&set=b", jar=jar), request_id=2)
            self.site.wait_at("a")
            self.site.wait_at("b")
            self.site.open("b")
            self.assertEqual(client.response(2).status, 200)
            self.assertEqual(self.site.state(jar)[1], "b")
            self.site.open("a")
            self.assertEqual(client.response(1).status, 200)
        self.assertEqual(self.site.state(jar)[1], "a")

    def test_an_ended_session_stays_ended(self):
        """B2"""
        jar = self.new("alive")
        old = jar.header()
        with self.site.client() as client:
            client.start(self.site.params("gate=slow&set=revived", jar=jar))
            self.site.wait_at("slow")
            self.site.ask("end=1", jar=jar)
            self.site.open("slow")
            answer = client.response()
            self.assertEqual(answer.status, 200)
            self.assertEqual([value for value, _ in cookies(answer) if value], [])
        self.assertEqual(self.site.seen(cookie=old)["SESSION_STATE"], "none")

    def test_a_renewed_session_is_not_overwritten_by_the_past(self):
        jar = self.new("guest")
        with self.site.client() as client:
            client.start(self.site.params("gate=past&set=guest-again", jar=jar))
            self.site.wait_at("past")
            self.site.ask("renew=1&set=logged-in", jar=jar)
            self.site.open("past")
            answer = client.response()
            self.assertEqual((answer.status, cookies(answer)), (200, []))
        self.assertEqual(self.site.state(jar)[1], "logged-in")

    def test_ended_while_the_answer_streams(self):
        jar = self.new("alive")
        with self.site.client() as client:
            client.start(self.site.params("gate=stream&head=1&set=x", jar=jar))
            client.wait_output(1, 10)
            self.site.ask("end=1", jar=jar)
            self.site.open("stream")
            self.assertTrue(client.response().complete)


class TestExpiry(SessionCase):
    session = "ttl = 2s"

    def test_an_unused_session_expires(self):
        """B5: the browser is told once, and then has no cookie."""
        jars = [self.new("x") for _ in range(20)]
        long = self.new("long")
        self.site.ask("ttl=3600", jar=long)
        # Looking would keep them alive; the time to live itself has to pass.
        time.sleep(4)
        for jar in jars:
            answer = self.site.ask("", jar=jar)
            self.assertEqual(json.loads(answer.body)["SESSION_STATE"], "none")
            self.assert_expires(answer)
            self.assertEqual(self.site.ask("", jar=jar).all("Set-Cookie"), [])
        self.assertEqual(self.site.state(long)[1], "long")

    def test_use_keeps_it_alive(self):
        jar = self.new("x")
        end = time.monotonic() + 4
        while time.monotonic() < end:
            self.assertIn(self.site.state(jar), (("new", "x"), ("live", "x")))
            time.sleep(0.1)

    def test_a_running_request_keeps_it_alive(self):
        jar = self.new("x")
        with self.site.client() as client:
            client.start(self.site.params("gate=longer&set=y", jar=jar))
            self.site.wait_at("longer")
            time.sleep(3.5)
            self.site.open("longer")
            answer = client.response()
            self.assertEqual((answer.status, answer.all("Set-Cookie")), (200, []))
        self.assertEqual(self.site.state(jar)[1], "y")


class TestTtl(SessionCase):
    def test_a_ttl_of_its_own(self):
        jar, other = self.new("x"), self.new("y")
        self.site.ask("ttl=1", jar=jar)
        time.sleep(3)
        self.assertEqual(self.site.state(jar), ("none", ""))
        self.assertEqual(self.site.state(other)[1], "y")

    def test_a_ttl_with_the_creation(self):
        jar = cgi.Jar()
        self.site.ask("set=x&ttl=123", jar=jar)
        self.assertEqual(self.site.seen(jar=jar)["SESSION_TTL"], "123")


class TestNoSessions(SessionCase):
    """mode = none, and no session section: a plain proxy."""

    @classmethod
    def start_shared(cls, scope):
        cls.sites = [Site(scope, "mode = none"), Site(scope, None)]

    def test_nothing_is_added_and_nothing_taken(self):
        for site in self.sites:
            answer = site.ask("set=text&ttl=5&renew=1", cookie="WEIRSID=forged")
            self.assertEqual((answer.status, answer.all("Set-Cookie")), (200, []))
            self.assertEqual((answer.header("Weir-Session-Data"), answer.header("Weir-Session-TTL"),
                              answer.header("Weir-Session-Renew")), ("text", "5", "1"))
            env = json.loads(answer.body)
            self.assertEqual(env["HTTP_COOKIE"], "WEIRSID=forged")


class TestCookieOptions(SessionCase):
    @classmethod
    def start_shared(cls, scope):
        pass

    def cookie(self, options, name="WEIRSID", **kwargs):
        site = Site(self.scope, options)
        jar = cgi.Jar()
        answer = site.ask("set=x", jar=jar, **kwargs)
        self.assertEqual(site.state(jar), ("new", "x"))
        return cookies(answer, name)[0][1], site, jar

    def test_all_options(self):
        attributes, site, jar = self.cookie(
            'cookie = "SHOP" cookie-path = "/shop" cookie-domain = "example.org" cookie-http-only = no '
            'cookie-same-site = strict cookie-secure = always', "SHOP")
        self.assertEqual((attributes.get("path"), attributes.get("domain"), attributes["samesite"].lower()),
                         ("/shop", "example.org", "strict"))
        self.assertNotIn("httponly", attributes)
        self.assertIn("secure", attributes)
        # The cookie is taken away under the same path and domain, or the browser keeps it.
        gone = cookies(site.ask("end=1", jar=jar), "SHOP")[0][1]
        self.assertEqual((gone.get("path"), gone.get("domain"), gone.get("max-age")), ("/shop", "example.org", "0"))

    def test_never_secure(self):
        self.assertNotIn("secure", self.cookie("cookie-secure = never", https=True)[0])

    def test_same_site_none(self):
        self.assertEqual(self.cookie("cookie-same-site = none cookie-secure = always")[0]["samesite"].lower(), "none")


class TestProtocols(SessionCase):
    """The same over every pair of protocols."""

    @classmethod
    def start_shared(cls, scope):
        cls.sites = {(front, back): Site(scope, "", front=front, protocol=back)
                     for front in ("fastcgi", "scgi") for back in ("fastcgi", "scgi")}

    def test_life(self):
        for pair, site in self.sites.items():
            with self.subTest(pair=pair):
                jar = cgi.Jar()
                for i in range(5):
                    answer = site.ask("incr=1", jar=jar)
                    self.assertEqual(answer.status, 200)
                    self.assert_no_weir_headers(answer)
                self.assertEqual(site.state(jar), ("live", "5"))
                site.ask("renew=1", jar=jar)
                self.assertEqual(site.state(jar)[1], "5")
                self.assert_expires(site.ask("end=1", jar=jar))

    def test_over_limit_and_lock(self):
        for pair, site in self.sites.items():
            with self.subTest(pair=pair):
                jar = self.new("0", site=site)
                parallel = Parallel()
                for _ in range(20):
                    parallel.start(site.ask, "incr=1", jar=jar)
                self.assertEqual({a.status for a in parallel.join()}, {200})
                self.assertEqual(site.state(jar)[1], "20")


class TestApps(SessionCase):
    @classmethod
    def start_shared(cls, scope):
        cls.second = Backend(scope)
        second = weir.app("second", [cls.second.text()], "", "", ["path:/second"])
        cls.site = Site(scope, "", apps=[second])

    def test_an_id_is_good_for_its_own_app_only(self):
        jar = self.new("first's")
        self.site.ask("", path="/second/x", jar=None, cookie=jar.header())
        seen = self.second.wait_requests(1).params
        self.assertEqual((seen["SESSION_STATE"], seen.get("SESSION_DATA", "")), ("none", ""))
        self.assertEqual(self.site.state(jar)[1], "first's")


class TestHeadForms(SessionCase):
    """How the application writes its head does not matter."""

    @classmethod
    def start_shared(cls, scope):
        cls.head = b""

        def handler(x):
            x.out(cls.head + json.dumps(x.params).encode())
            x.end()
        cls.site = Site(scope, "", handler=handler)

    def test_forms(self):
        forms = {
            "lf": b"Weir-Session-Data: v\nContent-Type: text/plain\n\n",
            "lower case": b"weir-session-data: v\r\ncontent-type: text/plain\r\n\r\n",
            "no blank": b"Weir-Session-Data:v\r\n\r\n",
            "many blanks": b"Weir-Session-Data: \t  v \t \r\nX: y\r\n\r\n",
            "last": b"Content-Type: text/plain\r\nSet-Cookie: a=b\r\nWEIR-SESSION-DATA: v\r\n\r\n",
        }
        for name, head in forms.items():
            with self.subTest(form=name):
                type(self).head = head
                jar = cgi.Jar()
                answer = self.site.ask("", jar=jar)
                self.assert_no_weir_headers(answer)
                self.assertIn("WEIRSID", jar.values)
                type(self).head = b"Content-Type: text/plain\r\n\r\n"
                self.assertEqual(self.site.state(jar), ("new", "v"))

    def test_a_folded_line_does_not_leak(self):
        """What continues a line is part of that line, and goes where it goes."""
        for name in (b"Weir-Session-Data", b"weir-session-data", b"Weir-Session-Unknown"):
            for blank in (b" ", b"\t", b"  \t"):
                with self.subTest(name=name, blank=blank):
                    type(self).head = (b"X-Note: hello\r\n" + name + b": user=1;\r\n" + blank + b"secret=42\r\n" +
                                       blank + b"secret=43\r\nContent-Type: text/plain\r\n\r\n")
                    answer = self.site.ask("")
                    self.assertNotIn(b"secret", answer.raw)
                    self.assert_no_weir_headers(answer)

    def test_doubled_and_oddly_written(self):
        for first, second in ((b"weIr-sEssion-daTa", b"Weir-Session-Data"), (b"WEIR-SESSION-DATA",) * 2):
            with self.subTest(first=first, second=second):
                type(self).head = first + b": v1\r\nX: y\r\n" + second + b": v2\r\n\r\n"
                jar = cgi.Jar()
                answer = self.site.ask("", jar=jar)
                self.assertEqual((answer.status, answer.header("X")), (200, "y"))
                self.assert_no_weir_headers(answer)
                type(self).head = b"Content-Type: text/plain\r\n\r\n"
                self.assertIn(self.site.state(jar), (("new", "v1"), ("new", "v2")))
