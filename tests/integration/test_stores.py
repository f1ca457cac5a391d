"""The stack of stores as its users see it: what survives which end, what memory's bound means, what a broken disk does,
and that a session is found while it moves (doc/stores.md)."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import unittest

from harness import admin, cgi, record, stall, wait, weir
from harness.backend import Backend
from harness.case import Case, Parallel
from harness.site import Site

STATUS = 'status { path = "/weir-status" }\n'


def store(memory="", disk=""):
    return "store { memory { %s } disk { %s } }\n" % (memory, disk) + STATUS


def stats(site):
    """What the gateway says of its stores: {"memory": {...}, "disk": {...}}."""
    answer = site.ask("json", path="/weir-status", REMOTE_ADDR="127.0.0.1")
    if answer.status != 200:
        raise AssertionError("no status: %r" % answer)
    return json.loads(answer.body)


class StoreCase(Case):
    def site(self, memory="", disk="", **kwargs):
        kwargs.setdefault("workers", 2)
        return Site(self.scope, kwargs.pop("session", ""), tail=store(memory, disk), **kwargs)

    def new(self, site, data, **kwargs):
        jar = cgi.Jar()
        answer = site.ask("set=" + data, jar=jar, **kwargs)
        self.assertEqual(answer.status, 200, answer)
        self.assertIn("WEIRSID", jar.values, answer)
        return jar

    def wait_disk_ready(self, site):
        wait.until(lambda: stats(site)["disk"]["state"] == "ready", lambda: "the disk store: %r" % stats(site))

    def wait_demoted(self, site, left=0):
        """Until memory holds no more than so many."""
        wait.until(lambda: stats(site)["memory"]["sessions"] <= left, lambda: "demotion: %r" % stats(site))

    def assert_has(self, site, jar, data):
        state = site.state(jar)
        self.assertEqual(state[1], data, state)

    def assert_gone(self, site, jar):
        self.assertEqual(site.state(jar)[0], "none")


class TestRestart(StoreCase):
    def test_in_good_order_nothing_is_lost(self):
        site = self.site()
        jars = {("state %d" % i): self.new(site, "state+%d" % i) for i in range(200)}
        first = site.seen(jar=jars["state 0"])
        site.ask("set=changed", jar=jars["state 1"])
        jars["changed"] = jars.pop("state 1")
        site.weir.restart()
        for data, jar in jars.items():
            self.assert_has(site, jar, data)
        again = site.seen(jar=jars["state 0"])
        for name in ("SESSION_ID", "SESSION_CREATED", "SESSION_TTL"):
            self.assertEqual(first[name], again[name])
        self.assertEqual(site.seen(jar=self.new(site, "x"))["SESSION_STATE"], "new")

    def test_new_stays_new(self):
        """The request that created it was the last one before the restart."""
        site = self.site()
        jar = self.new(site, "one")
        site.weir.restart()
        self.assertEqual(site.state(jar), ("new", "one"))
        site.weir.restart()
        self.assertEqual(site.state(jar), ("live", "one"))

    def test_an_empty_state_and_a_large_one(self):
        site = self.site(session="max-size = 600k", options="max-header = 1M")
        jars = [self.new(site, "") for _ in range(3)]
        large = cgi.Jar()
        self.assertEqual(site.ask("size=600000", jar=large).status, 200)
        site.weir.restart()
        for jar in jars:
            self.assertEqual(site.state(jar), ("new", ""))
        self.assertEqual(len(site.state(large)[1]), 600000)

    def test_int_keeps_what_is_on_disk(self):
        site = self.site("after = 1s")
        stored = self.new(site, "stored")
        self.wait_demoted(site)
        memory = self.new(site, "memory")
        site.weir.restart(signal.SIGINT)
        self.assert_has(site, stored, "stored")
        self.assert_gone(site, memory)

    def test_other_app_other_session(self):
        """The id of one app is worth nothing in another, on disk as in memory."""
        where = Backend(self.scope, lambda x: x.answer(json.dumps(x.params).encode()))
        site = self.site("after = 1s", apps=[weir.app("other", [where.text()], session="", match=["path:/other"])])
        jar = self.new(site, "main")
        cookie = jar.header()
        self.wait_demoted(site)
        self.assertEqual(site.seen(path="/other", cookie=cookie)["SESSION_STATE"], "none")
        self.assertEqual(site.seen(cookie=cookie)["SESSION_DATA"], "main")


class TestCrash(StoreCase):
    def test_what_was_stored_is_there_once(self):
        site = self.site("after = 1s")
        jars = {("state %d" % i): self.new(site, "state+%d" % i) for i in range(300)}
        self.wait_demoted(site)
        site.weir.restart(signal.SIGKILL)
        self.wait_disk_ready(site)
        self.assertEqual(stats(site)["disk"]["sessions"], 300)
        for data, jar in jars.items():
            self.assert_has(site, jar, data)

    def test_its_last_stored_version(self):
        site = self.site("after = 1s")
        jar = self.new(site, "one")
        for data in ("two", "three"):
            self.wait_demoted(site)
            site.ask("set=" + data, jar=jar)
        site.weir.restart(signal.SIGKILL)
        self.assert_has(site, jar, "two")

    def test_in_the_midst_of_moving(self):
        """Killed again and again while sessions move down and up: what is found is whole, and what was on disk and
        not touched since is found."""
        site = self.site("max = 1M  after = 1s")
        jars = {}
        for turn in range(4):
            parallel = Parallel()
            for part in range(4):
                def create(part=part):
                    for i in range(60):
                        name = "%d-%d-%d-" % (turn, part, i)
                        jars[name] = self.new(site, name + "x" * 3000)
                parallel.start(create)
            parallel.join()
            before = stats(site)
            wait.until(lambda: stats(site)["memory"]["sessions"] < before["memory"]["sessions"], "some demotion")
            on_disk = stats(site)["disk"]["sessions"]
            site.weir.restart(signal.SIGKILL)
            self.wait_disk_ready(site)
            self.assertGreaterEqual(stats(site)["disk"]["sessions"], on_disk)
            found = {}
            for name, jar in jars.items():
                state, data = site.state(jar)
                if state != "none":
                    self.assertEqual(data, name + "x" * 3000)
                    found[name] = jar
            self.assertGreaterEqual(len(found), on_disk)
            jars = found

    def test_an_ended_session_stays_ended(self):
        """Killed the moment the answer is there."""
        site = self.site("after = 1s")
        ended, renewed = self.new(site, "ended"), self.new(site, "renewed")
        self.wait_demoted(site)
        old, dead = renewed.header(), ended.header()
        self.assertEqual(site.ask("end=1", jar=ended).status, 200)
        self.assertEqual(site.ask("renew=1", jar=renewed).status, 200)
        self.assertNotEqual(old, renewed.header())
        site.weir.restart(signal.SIGKILL)
        for cookie in (old, dead):
            self.assertEqual(site.seen(cookie=cookie)["SESSION_STATE"], "none")


class TestPressure(StoreCase):
    COUNT, BYTES = 7500, 200

    def test_memory_stays_below_its_bound(self):
        """Far more than memory holds: none is refused, all are found, and those in use never leave."""
        site = self.site("max = 1M  evict = lru")
        busy = [self.new(site, "busy") for _ in range(10)]
        jars, most = {}, []
        stop = threading.Event()

        def use():
            while not stop.is_set():
                for jar in busy:
                    self.assert_has(site, jar, "busy")

        def look():
            while not stop.is_set():
                most.append(stats(site)["memory"]["bytes"])

        def create(part):
            for i in range(self.COUNT // 3):
                name = "%d-%d-" % (part, i)
                jars[name] = self.new(site, name + "x" * self.BYTES)
        parallel, watch = Parallel(), Parallel()
        watch.start(use)
        watch.start(look)
        for part in range(3):
            parallel.start(create, part)
        parallel.join()
        self.assertEqual(stats(site)["disk"]["promoted"], 0)
        stop.set()
        watch.join()
        self.assertLessEqual(max(most), 1 << 20)
        self.assertGreater(stats(site)["disk"]["sessions"], 3000)
        for name, jar in jars.items():
            self.assert_has(site, jar, name + "x" * self.BYTES)
        self.assertGreater(stats(site)["disk"]["promoted"], 1000)

    def test_never_refuses(self):
        """New sessions, and those on disk, until there is room. The log says why, once."""
        for evict in ("never", "ttl"):
            site = self.site("max = 1M  evict = " + evict)
            self.wait_disk_ready(site)
            down, name, _ = admin.new_session(site, "size=50000")
            self.assertEqual(admin.ask(site.weir, "session demote " + name).code, "ok")
            statuses = [site.ask("size=50000", jar=cgi.Jar()).status for _ in range(30)]
            self.assertEqual(set(statuses), {200, 503}, evict)
            self.assertEqual(stats(site)["disk"]["demoted"], 1)
            for _ in range(3):
                answer = site.ask("", jar=down)
                self.assertEqual((answer.status, answer.header("Set-Cookie")), (503, None))
                self.assertTrue(answer.header("Retry-After"))
            [line] = site.weir.lines("event=memory_full")
            self.assertIn('level=error event=memory_full max=1048576 evict=%s reason="nothing moves to disk"' % evict,
                          line)
            for s in admin.ask(site.weir, "sessions --in memory --limit 3 --json").json["sessions"]:
                self.assertEqual(admin.ask(site.weir, "session end " + s["session"]).code, "ok")
            site.weir.wait_line("event=memory_has_room")
            self.assertEqual(len(site.state(down)[1]), 50000)
            site.weir.stop()

    def test_while_all_are_in_use_a_request_waits_for_room(self):
        """Sessions in use do not leave; when one is let go, there is room."""
        site = self.site("max = 1M  evict = lru", session="max-size = 300k  lock-wait = 20s",
                         options="max-header = 1M", backend="connections = 16")
        jars = [cgi.Jar() for _ in range(3)]
        parallel = Parallel()
        for jar in jars:
            self.assertEqual(site.ask("size=290000", jar=jar).status, 200)
            parallel.start(site.ask, "gate=hold", jar=jar)
        site.wait_at("hold", 3)
        late = cgi.Jar()
        waiting = Parallel()
        waiting.start(lambda: self.assertEqual(site.ask("size=290000", jar=late).status, 200))
        wait.until(lambda: stats(site)["memory"]["room_waits"] > 0, "the request that waits for room")
        site.open("hold")
        parallel.join()
        waiting.join()
        for jar in (*jars, late):
            self.assertEqual(len(site.state(jar)[1]), 290000)

    def test_room_does_not_come(self):
        site = self.site("max = 1M  evict = lru", session="max-size = 300k  lock-wait = 200ms",
                         options="max-header = 1M", backend="connections = 16")
        jars = [cgi.Jar() for _ in range(3)]
        parallel = Parallel()
        for jar in jars:
            self.assertEqual(site.ask("size=290000", jar=jar).status, 200)
            parallel.start(site.ask, "gate=hold", jar=jar)
        site.wait_at("hold", 3)
        answer = site.ask("size=290000", jar=cgi.Jar())
        self.assertEqual(answer.status, 503)
        self.assertTrue(answer.header("Retry-After"))
        self.assertEqual(len(site.weir.wait_line("memory for sessions is full")), 1)
        site.open("hold")
        parallel.join()

    def test_the_client_goes_while_it_waits_for_room(self):
        site = self.site("max = 1M  evict = lru", session="max-size = 300k  lock-wait = 20s",
                         options="max-header = 1M", backend="connections = 16")
        jars = [cgi.Jar() for _ in range(3)]
        parallel = Parallel()
        for jar in jars:
            self.assertEqual(site.ask("size=290000", jar=jar).status, 200)
            parallel.start(site.ask, "gate=hold", jar=jar)
        site.wait_at("hold", 3)
        client = site.client()
        client.start(site.params("size=290000"))
        wait.until(lambda: stats(site)["memory"]["room_waits"] > 0, "the request that waits for room")
        client.close()
        site.open("hold")
        parallel.join()
        self.assertEqual(site.ask("size=1000", jar=cgi.Jar()).status, 200)


class TestMoving(StoreCase):
    def test_found_at_every_instant(self):
        """Idle for a second, demoted, promoted, over and over: a counter in each of them never loses a step."""
        site = self.site("after = 1s")
        jars = [self.new(site, "0") for _ in range(20)]
        steps = [0] * len(jars)
        end = threading.Event()

        def use(part):
            rng = random.Random(part)
            while not end.is_set():
                i = rng.randrange(part, len(jars), 4)
                if i % 4 != part:
                    continue
                answer = site.ask("incr=1", jar=jars[i])
                if answer.status != 200:
                    raise AssertionError("%r" % answer)
                steps[i] += 1
                end.wait(rng.choice((0, 0, 0.3, 1.1)))
        parallel = Parallel()
        for part in range(4):
            parallel.start(use, part)
        wait.until(lambda: stats(site)["disk"]["promoted"] >= 15, lambda: "promotions: %r" % stats(site), bound=60)
        end.set()
        parallel.join()
        for jar, n in zip(jars, steps):
            self.assert_has(site, jar, str(n))

    def test_many_ask_for_one_at_once(self):
        """One look-up below serves them all, one after the other."""
        site = self.site("after = 1s", backend="connections = 16")
        jar = self.new(site, "0")
        self.wait_demoted(site)
        parallel = Parallel()
        for _ in range(12):
            parallel.start(lambda: self.assertEqual(site.ask("incr=1", jar=jar).status, 200))
        parallel.join()
        self.assert_has(site, jar, "12")
        self.assertEqual(stats(site)["disk"]["promoted"], 1)

    def test_the_second_cookie_is_the_good_one(self):
        """The first has a session no more; both are looked for below."""
        site = self.site("after = 1s")
        gone, good = self.new(site, "gone"), self.new(site, "good")
        site.ask("end=1", cookie=gone.header())
        self.wait_demoted(site)
        env = site.seen(cookie=gone.header() + "; " + good.header())
        self.assertEqual(env.get("SESSION_DATA"), "good")

    def test_it_expires_below(self):
        """Once, and it is not served in between."""
        site = self.site("after = 1s")
        jars = [self.new(site, "x", ) for _ in range(5)]
        for jar in jars:
            site.ask("ttl=4", jar=jar)
        self.wait_demoted(site)
        self.assertEqual(stats(site)["disk"]["sessions"], 5)
        wait.until(lambda: stats(site)["disk"]["sessions"] == 0, "expiry on disk")
        for jar in jars:
            answer = site.ask("", jar=jar)
            self.assertEqual(json.loads(answer.body)["SESSION_STATE"], "none")
        counts = stats(site)
        self.assertEqual(counts["disk"]["expired"] + counts["memory"]["expired"], 5)


class TestStuck(StoreCase):
    """The disk does not answer: what ends has to be removed there, and nobody knows when that will be."""

    def both(self, site, data):
        """In memory, and on disk as it was before."""
        jar = self.new(site, data)
        self.wait_demoted(site)
        self.assert_has(site, jar, data)
        return jar

    def test_an_answer_waits_for_lock_wait_and_no_longer(self):
        site = self.site("after = 1s", session="lock-wait = 300ms")
        ended, renewed = self.both(site, "ended"), self.new(site, "renewed")
        self.wait_demoted(site)
        for jar, data in ((ended, "ended"), (renewed, "renewed")):
            self.assert_has(site, jar, data)
        dead, old = ended.header(), renewed.header()
        with stall.stalled(site.weir.pid, "weir-store"):
            self.assertEqual(site.ask("end=1", jar=ended).status, 200)
            self.assertEqual(site.ask("renew=1", jar=renewed).status, 200)
            self.assertEqual(len(site.weir.wait_line("event=session_end_not_stored", 2)), 2)
            self.assertNotIn("WEIRSID", ended.values)
            self.assertNotEqual(renewed.header(), old)
            for cookie in (dead, old):
                self.assertEqual(site.seen(cookie=cookie)["SESSION_STATE"], "none")
            self.assert_has(site, renewed, "renewed")
        wait.until(lambda: stats(site)["disk"]["sessions"] == 0, lambda: "the removals: %r" % stats(site))
        self.assertEqual(site.seen(cookie=dead)["SESSION_STATE"], "none")

    def test_an_answer_that_is_in_time_says_nothing(self):
        site = self.site("after = 1s", session="lock-wait = 20s")
        jar = self.both(site, "ended")
        answers = Parallel()
        with stall.stalled(site.weir.pid, "weir-store"):
            answers.start(lambda: self.assertEqual(site.ask("end=1", jar=jar).status, 200))
            wait.until(lambda: site.seen(cookie=jar.header())["SESSION_STATE"] == "none", "the end in memory")
        answers.join()
        self.assertEqual(site.weir.lines("session_end_not_stored"), [])

    def test_who_waits_in_vain_keeps_no_worker(self):
        """His client has gone; TERM ends the workers, and only the store is waited for."""
        site = self.site("after = 1s", session="lock-wait = 20s")
        jar = self.both(site, "ended")
        with stall.stalled(site.weir.pid, "weir-store"):
            client = site.client()
            client.start(site.params("end=1", jar=jar))
            wait.until(lambda: site.seen(cookie=jar.header())["SESSION_STATE"] == "none", "the end in memory")
            client.close()
            site.weir.process.send(signal.SIGTERM)
            wait.until(lambda: "weir-worker" not in stall.threads(site.weir.pid).values(), "the end of the workers")
        self.assertEqual(site.weir.wait_exit(), 0)
        site.weir._stopped = False
        site.weir.start()
        self.assertEqual(site.seen(cookie=jar.header())["SESSION_STATE"], "none")


class TestTrouble(StoreCase):
    def restart_with(self, site, damage):
        site.weir.stop()
        damage(self.scope.path("state/sessions"))
        site.weir._stopped = False
        site.weir.start()

    def assert_works_in_memory(self, site):
        jar = self.new(site, "in memory")
        self.assert_has(site, jar, "in memory")
        site.ask("end=1", jar=jar)

    def test_the_folder_is_a_file(self):
        path = self.scope.path("state/sessions")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w"):
            pass
        site = self.site()
        line = site.weir.wait_line("event=store_failed")[0]
        self.assertIn(path, line)
        self.assert_works_in_memory(site)
        self.assertEqual(stats(site)["disk"]["state"], "broken")
        self.assertTrue(stats(site)["disk"]["trouble"])
        os.unlink(path)
        self.wait_disk_ready(site)

    def test_nobody_can_say(self):
        """A cookie whose session may be on the disk that cannot be read: 503, and the cookie stays."""
        site = self.site("after = 1s")
        jar = self.new(site, "kept")
        self.wait_demoted(site)
        path = self.scope.path("state/sessions")
        site.weir.stop()
        os.rename(path, path + ".aside")
        with open(path, "w"):
            pass
        site.weir._stopped = False
        site.weir.start()
        site.weir.wait_line("event=store_failed")
        answer = site.ask("", jar=jar)
        self.assertEqual(answer.status, 503)
        self.assertTrue(answer.header("Retry-After"))
        self.assertIn("WEIRSID", jar.values)
        os.unlink(path)
        os.rename(path + ".aside", path)
        self.wait_disk_ready(site)
        self.assert_has(site, jar, "kept")

    def test_a_second_process(self):
        site = self.site()
        self.wait_disk_ready(site)
        other = self.site()
        line = other.weir.wait_line("event=store_failed")[0]
        self.assertIn(str(site.weir.pid), line)
        self.assert_works_in_memory(other)
        site.weir.stop()
        self.wait_disk_ready(other)

    def test_the_folder_is_removed(self):
        """While it is used: what was there is lost, and what is in memory goes on, into a new folder."""
        site = self.site("after = 3s")
        self.wait_disk_ready(site)
        stored = self.new(site, "stored")
        self.wait_demoted(site)
        memory = self.new(site, "memory")
        shutil.rmtree(self.scope.path("state/sessions"))
        line = site.weir.wait_line("event=store_broken")[0]
        self.assertIn('reason="the folder was removed"', line)
        self.wait_disk_ready(site)
        self.wait_demoted(site)
        self.assert_has(site, memory, "memory")
        self.assert_gone(site, stored)
        self.assertEqual(site.weir.process.log().count("event=store_full"), 0)
        self.assertEqual(site.weir.process.log().count("event=store_broken"), 1)
        site.weir.restart()
        self.assert_has(site, memory, "memory")

    @unittest.skipIf(os.geteuid() != 0, "only root can give a folder away")
    def test_a_folder_that_is_not_ours(self):
        path = self.scope.path("state/sessions")
        os.makedirs(path)
        os.chmod(path, 0o700)
        os.chmod(self.scope.path(""), 0o755)
        os.makedirs(self.scope.path("run"), exist_ok=True)
        for name in ("state", "run"):
            subprocess.run(["chown", "nobody:nogroup", self.scope.path(name)], check=True)
        site = self.site(node='user = "nobody"  group = "nogroup"')
        line = site.weir.wait_line("event=store_failed")[0]
        self.assertIn(path, line)
        self.assertRegex(line, r"another user")
        self.assert_works_in_memory(site)

    def test_random_bytes_in_the_file(self):
        """What can be read is kept, and nothing is served that is not as it was stored."""
        site = self.site()
        jars = {("state %d " % i + "y" * 900): self.new(site, "state+%d+" % i + "y" * 900) for i in range(400)}

        def damage(path):
            rng = random.Random(7)
            file = os.path.join(path, "sessions.db")
            with open(file, "r+b") as f:
                size = os.path.getsize(file)
                for _ in range(3):
                    f.seek(rng.randrange(size // 3, size - 300))
                    f.write(bytes(rng.randrange(256) for _ in range(200)))
        self.restart_with(site, damage)
        kept = 0
        for data, jar in jars.items():
            answer = site.ask("", jar=jar)
            tries = 0
            while answer.status == 503 and tries < 200:
                wait.until(lambda: stats(site)["disk"]["state"] == "ready", "the store is back")
                answer = site.ask("", jar=jar)
                tries += 1
            self.assertEqual(answer.status, 200)
            env = json.loads(answer.body)
            if env["SESSION_STATE"] != "none":
                self.assertEqual(env["SESSION_DATA"], data)
                kept += 1
        self.assertGreater(kept, 300)
        site.weir.wait_line("event=store_damaged")

    def test_a_record_of_a_newer_weir(self):
        """It is told apart from a damaged one, left alone, and there again for who can read it."""
        site = self.site()
        newer, other = self.new(site, "from+the+future"), self.new(site, "of+today")
        name = site.seen(jar=newer)["SESSION_ID"]
        self.restart_with(site, lambda path: self.assertEqual(record.set_format(path, b"from the future", 2), 1))
        self.wait_disk_ready(site)
        for _ in range(2):
            answer = site.ask("", jar=newer)
            self.assertEqual((answer.status, answer.header("Set-Cookie")), (503, None))
        self.assert_has(site, other, "of today")
        site.weir.wait_line("level=error event=session_too_new store=disk session=" + name)
        [told] = admin.ask(site.weir, "sessions --is unreadable --json").json["sessions"]
        self.assertEqual(told, {"session": name, "in": "disk", "error": "of a newer format"})
        self.assertEqual(admin.ask(site.weir, "session show " + name).fields["error"], "of a newer format")
        self.assertEqual(admin.ask(site.weir, "session promote " + name).text, "of a newer format\n")
        self.assertEqual(site.weir.lines("event=store_(failed|broken|damaged)"), [])
        self.restart_with(site, lambda path: self.assertEqual(record.set_format(path, b"from the future", 1), 1))
        self.wait_disk_ready(site)
        self.assert_has(site, newer, "from the future")

    def test_a_foreign_file(self):
        """What it held is in the log as well, as long as that goes back so far."""
        site = self.site()
        kept, ended = self.new(site, "kept"), self.new(site, "ended")
        cookie = ended.header()
        site.weir.restart()
        site.ask("end=1", jar=ended)

        def damage(path):
            with open(os.path.join(path, "sessions.db"), "wb") as f:
                f.write(b"this is no database\n" * 2000)
        self.restart_with(site, damage)
        self.wait_disk_ready(site)
        line = site.weir.wait_line("event=store_damaged")[0]
        self.assertIn("recovered=log", line)
        self.assertIn("kept=1", line)
        self.assert_has(site, kept, "kept")
        self.assertEqual(site.seen(cookie=cookie)["SESSION_STATE"], "none")
        self.assert_works_in_memory(site)

    def mount(self, size):
        """state-dir on a disk of its own."""
        state = self.scope.path("state")
        os.makedirs(state, exist_ok=True)
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", state],
                                               check=False).returncode != 0:
            self.skipTest("mounting is not permitted here")
        self.scope.at_end(subprocess.run, ["umount", "-l", state])
        return state

    def fill(self, path):
        """To the last byte."""
        with open(path, "wb", buffering=0) as f:
            for piece in (1 << 16, 1 << 12):
                try:
                    while True:
                        f.write(b"x" * piece)
                except OSError:
                    pass

    def test_a_disk_that_is_too_small(self):
        state = self.mount("8m")
        site = self.site()
        line = site.weir.wait_line("event=store_failed")[0]
        self.assertIn(state, line)
        self.assertIn("one of 16 MiB at least", line)
        self.assert_works_in_memory(site)
        self.assertEqual(stats(site)["disk"]["troubles"], 1)

    def test_a_small_disk(self):
        """It holds some megabytes, and when it is full it can be opened again."""
        state = self.mount("24m")
        site = self.site("max = 2M  evict = lru")
        self.wait_disk_ready(site)
        jars = {}
        while "event=store_full" not in site.weir.process.log() and len(jars) < 1000:
            jar, size = cgi.Jar(), 40000 + len(jars)
            if site.ask("size=%d" % size, jar=jar).status == 200:
                jars[size] = jar
        there = stats(site)["disk"]["sessions"]
        self.assertGreater(there, 200)
        for how in (signal.SIGTERM, signal.SIGKILL):
            site.weir.restart(how)
            self.wait_disk_ready(site)
            self.assertGreaterEqual(stats(site)["disk"]["sessions"], there)
        lengths = {size: len(site.state(jar)[1]) for size, jar in jars.items() if site.state(jar)[0] != "none"}
        self.assertGreaterEqual(len(lengths), there)
        self.assertTrue(all(length == size for size, length in lengths.items()))
        self.assertEqual(stats(site)["disk"]["troubles"], 0)

    def test_a_disk_without_a_free_byte(self):
        """Others have filled it, and the process dies: what it holds is found all the same, and can end."""
        state = self.mount("64m")
        site = self.site("after = 1s")
        self.wait_disk_ready(site)
        jars = [self.new(site, "stored %d" % i + "x" * 3000) for i in range(50)]
        self.wait_demoted(site)
        self.fill(os.path.join(state, "ballast"))
        site.weir.restart(signal.SIGKILL)
        self.wait_disk_ready(site)
        for i, jar in enumerate(jars):
            self.assert_has(site, jar, "stored %d" % i + "x" * 3000)
        cookie = jars[0].header()
        self.assertEqual(site.ask("end=1", jar=jars[0]).status, 200)
        site.weir.restart(signal.SIGKILL)
        self.wait_disk_ready(site)
        self.assertEqual(site.seen(cookie=cookie)["SESSION_STATE"], "none")
        os.unlink(os.path.join(state, "ballast"))
        wait.until(lambda: stats(site)["disk"]["state"] == "ready", "room again")

    def test_a_full_disk(self):
        state = self.mount("160m")
        site = self.site("max = 2M  evict = lru", "cache = 4M")
        self.wait_disk_ready(site)
        ballast = os.path.join(state, "ballast")
        first = self.new(site, "first")
        self.fill(ballast)
        jars, refused = {}, 0
        for i in range(100):
            jar, size = cgi.Jar(), 40000 + i
            if site.ask("size=%d" % size, jar=jar).status == 200:
                jars[size] = jar
            else:
                refused += 1
        site.weir.wait_line("event=store_full")
        self.assertGreater(refused, 0)
        self.assertGreater(len(jars), 20)
        for size, jar in jars.items():
            self.assertEqual(len(site.state(jar)[1]), size)
        os.unlink(ballast)
        wait.until(lambda: site.ask("size=40000", jar=cgi.Jar()).status == 200, "room again")
        site.weir.wait_line("event=store_has_room")
        for size, jar in jars.items():
            self.assertEqual(len(site.state(jar)[1]), size)
        self.assert_has(site, first, "first")
        self.assertEqual(len(re.findall("event=store_full", site.weir.process.log())), 1)


if __name__ == "__main__":
    unittest.main()
