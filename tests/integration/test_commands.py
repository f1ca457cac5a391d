"""The commands of the admin socket: each as text and as JSON, against what the gateway does."""
import base64
import json
import os
import signal
import time

from harness import admin, wait, weir
from harness.case import Case
from harness.site import Site


class TestLook(admin.Shared):
    """The commands that only look."""

    def test_status(self):
        self.new()
        r = self.ask("status --json").json
        self.assertEqual((r["node"], r["state"], r["pid"], r["workers"]), ("test", "running", self.site.weir.pid, 2))
        self.assertRegex(r["version"], r"^\d+\.\d+")
        self.assertEqual(r["config"], self.site.weir.config)
        self.assertEqual((r["generation"], r["reloaded_at"], r["reloads_failed"]), (1, None, 0))
        self.assertLessEqual(abs(r["started_at"] + r["uptime_s"] - time.time()), 3)
        self.assertGreaterEqual(r["memory"]["sessions"], 1)
        self.assertGreater(r["memory"]["bytes"], 0)
        self.assertEqual(r["memory"]["max_bytes"], 512 << 20)
        self.assertEqual(r["disk"]["max_bytes"], 20 << 30)
        wait.until(lambda: self.ask("status --json").json["disk"]["state"] == "ready", "the disk store is ready")
        self.assertIsNone(self.ask("status --json").json["disk"]["trouble"])

    def test_status_counts_requests(self):
        def requests():
            return self.ask("status --json").json["requests"]
        before = requests()
        for query in ("", "", "status=404", "status=500", "die=1"):
            self.site.ask(query)
        after = wait.until(lambda: (lambda r: r if r["running"] == 0 else None)(requests()), "no request runs")
        self.assertEqual(after["begun"] - before["begun"], 5)
        self.assertEqual(after["ok"] - before["ok"], 4)
        self.assertEqual(after["failed"] - before["failed"], 1)
        self.assertEqual(after["2xx"] - before["2xx"], 2)
        self.assertEqual(after["4xx"] - before["4xx"], 1)
        self.assertEqual(after["5xx"] - before["5xx"], 2)
        self.assertGreater(after["p99_us"], 0)
        with self.site.client() as client:
            client.start(self.site.params("gate=status"))
            self.site.wait_at("status")
            self.assertEqual(requests()["running"], 1)
            self.site.open("status")
            client.response()

    def test_status_as_text(self):
        text = self.ask("status").text
        self.assertRegex(text, r"(?m)^node {2,}test$")
        self.assertRegex(text, r"(?m)^state {2,}running$")
        self.assertRegex(text, r"(?m)^started {2,}(now|.* ago)$")
        self.assertRegex(text, r"(?m)^reloaded {2,}-$")
        self.assertRegex(text, r"(?m)^memory$\n  sessions +\d+$")
        self.assertRegex(text, r"(?m)^  max {2,}512 MiB$")

    def test_apps(self):
        r = self.ask("apps --json").json
        self.assertEqual(r, {"apps": [{"app": "main", "state": "running", "sessions": "managed", "backends": 1,
                                       "waiting": 0, "queue": 1024}]})
        self.assertEqual(self.ask("apps").text,
                         "APP   STATE    SESSIONS  WAITING  QUEUE  BACKENDS\n"
                         "main  running  managed         0   1024         1\n")

    def test_backends(self):
        self.site.ask("")
        row = self.ask("backends --json").json["backends"][0]
        self.assertEqual((row["app"], row["backend"], row["protocol"], row["state"]),
                         ("main", self.site.backend.where, "fastcgi", "ready"))
        self.assertEqual((row["active"], row["connections"], row["weight"], row["failures"]), (0, 8, 1, 0))
        self.assertGreater(row["requests"], 0)
        row = self.ask("backends").rows[0]
        self.assertEqual((row["APP"], row["BACKEND"], row["STATE"]), ("main", self.site.backend.where, "ready"))

    def test_metrics(self):
        reply = self.ask("metrics")
        self.assertTrue(reply.text.endswith("# EOF\n"), reply)
        self.assertRegex(reply.text, r"(?m)^# TYPE weir_\w+ counter$")
        self.assertTrue(self.ask("metrics --json").json["metrics"].endswith("# EOF\n"))
        self.assertIn("# TYPE weir_requests_total counter\n", reply.text)
        self.assertIn("# TYPE weir_requests counter\n", self.ask("metrics --openmetrics").text)

    def test_help(self):
        text = self.ask("help").text
        self.assertIn("\nsession show ID           one session\n", text)
        self.assertEqual(self.ask("help session show").text.splitlines()[0],
                         "usage: session show ID [--state] [--json]")
        reply = self.ask("help nonsense")
        self.assertEqual((reply.code, reply.text), ("not-found", "there is no such command\n"))
        self.assertEqual([c["command"] for c in self.ask("help session show --json").json], ["session show"])
        self.assertEqual(self.ask("help nonsense --json").json["error"], "not-found")
        commands = [c["command"] for c in self.ask("help --json").json]
        self.assertIn("session promote", commands)
        for command in commands:
            self.assertIn("\n" + command, "\n" + text)

    def test_a_look_is_not_logged(self):
        count = len(self.site.weir.lines("event=admin_command"))
        for line in ("status", "apps", "backends", "sessions", "log-level", "help", "metrics"):
            self.ask(line)
        self.assertEqual(len(self.site.weir.lines("event=admin_command")), count)


class TestSessions(admin.Shared):
    """One session."""

    def show(self, key, options=""):
        return self.ask("session show --json %s -- %s" % (options, key)).json

    def disk_ready(self):
        wait.until(lambda: self.ask("status --json").json["disk"]["state"] == "ready", "the disk store is ready")

    def test_show(self):
        before = int(time.time())
        jar, name, cookie = self.new("set=hello")
        for key in (name, cookie):
            r = self.show(key)
            self.assertEqual((r["session"], r["app"], r["in"], r["busy"], r["pinned"], r["fresh"], r["bytes"]),
                             (name, "main", "memory", False, False, False, 5))
            self.assertEqual(r["ttl_s"], 1800)
            self.assertTrue(before <= r["created_at"] <= time.time())
            self.assertTrue(before <= r["used_at"] <= time.time())
            self.assertLessEqual(abs(r["expires_at"] - time.time() - 1800), 3)
            self.assertNotIn("state", r)
        fields = self.ask("session show " + name).fields
        self.assertEqual((fields["session"], fields["in"], fields["bytes"], fields["ttl"]),
                         (name, "memory", "5 B", "30m"))

    def test_state_only_when_asked_for(self):
        _, name, cookie = self.new("set=very+secret")
        self.assertNotIn("secret", self.ask("session show " + name).text)
        self.assertNotIn("secret", self.ask("session show %s --json" % name).text)
        self.assertNotIn("secret", self.ask("sessions --limit 1000 --json").text)
        self.assertEqual(self.show(name, "--state")["state"], "very secret")
        self.assertEqual(self.ask("session show %s --state" % name).fields["state"], "very secret")
        self.assertNotIn("very secret", self.site.weir.process.log())
        self.site.weir.wait_line('event=admin_command command="session show %s --state" uid=%d result=ok' %
                                 (name, os.geteuid()))

    def test_state_that_is_not_text(self):
        _, name, _ = self.new("set=a%1bb%ff%0bc")
        state = base64.b64decode(self.show(name, "--state")["state_base64"])
        self.assertEqual(state, b"a\x1bb\xff\x0bc")
        self.assertEqual(self.ask("session show %s --state" % name).fields["state"], "a\\x1bb\\xff\\x0bc")
        _, name, _ = self.new("set=a%1bb")
        self.assertEqual(self.show(name, "--state")["state_base64"], "YRti")
        _, name, _ = self.new("set=gr%C3%BC%C3%9Fe")
        self.assertEqual(self.show(name, "--state")["state"], "grüße")
        _, name, _ = self.new("set=")
        self.assertEqual(self.show(name, "--state")["state"], "")

    def test_a_large_state(self):
        _, name, _ = self.new("size=3000000")
        self.assertEqual(len(self.show(name, "--state")["state"]), 3000000)
        self.assertEqual(self.ask("session show " + name).fields["bytes"], "2.8 MiB")

    def test_busy(self):
        jar, name, _ = self.new()
        with self.site.client() as client:
            client.start(self.site.params("gate=busy", jar=jar))
            self.site.wait_at("busy")
            self.assertTrue(self.show(name)["busy"])
            reply = self.ask("session demote " + name)
            self.assertEqual((reply.code, reply.text), ("busy", "a request has the session in use\n"))
            self.site.open("busy")
            client.response()
        wait.until(lambda: not self.show(name)["busy"], "the session is not in use")

    def test_end(self):
        jar, name, _ = self.new()
        self.assertEqual(self.ask("session end %s --json" % name).json["ended"], True)
        self.assertEqual(self.site.state(jar)[0], "none")
        reply = self.ask("session show " + name)
        self.assertEqual((reply.code, reply.text), ("not-found", "there is no such session\n"))
        self.assertEqual(self.ask("session end " + name).code, "not-found")

    def test_end_under_a_request(self):
        """It ends at once; what the request commits is dropped."""
        jar, name, cookie = self.new()
        with self.site.client() as client:
            client.start(self.site.params("gate=end&set=two", jar=jar))
            self.site.wait_at("end")
            self.assertEqual(self.ask("session end -- " + cookie).code, "ok")
            self.site.open("end")
            self.assertEqual(client.response().status, 200)
        self.assertEqual(self.site.state(jar)[0], "none")

    def test_demote_and_promote(self):
        self.disk_ready()
        jar, name, cookie = self.new("set=down")
        self.assertEqual(self.ask("session demote %s --json" % name).json["in"], "disk")
        r = self.show(name, "--state")
        self.assertEqual((r["in"], r["state"], r["app"]), ("disk", "down", "main"))
        self.assertEqual(self.show(cookie)["in"], "disk")
        self.assertEqual(self.ask("session demote " + name).fields["in"], "disk")
        self.assertEqual(self.ask("session promote %s" % name).fields["in"], "memory")
        self.assertEqual(self.show(name)["in"], "memory")
        self.ask("session demote -- " + cookie)
        self.assertEqual(self.site.state(jar)[1], "down")
        self.assertEqual(self.show(name)["in"], "memory")

    def test_end_on_disk(self):
        self.disk_ready()
        jar, name, _ = self.new()
        self.ask("session demote " + name)
        self.assertEqual(self.ask("session end " + name).code, "ok")
        self.assertEqual(self.ask("session show " + name).code, "not-found")
        self.assertEqual(self.site.state(jar)[0], "none")

    def test_pin_and_unpin(self):
        self.disk_ready()
        _, name, cookie = self.new()
        self.ask("session demote " + name)
        r = self.ask("session pin %s --json" % name).json
        self.assertEqual((r["in"], r["pinned"]), ("memory", True))
        reply = self.ask("session demote " + name)
        self.assertEqual((reply.code, reply.text), ("refused", "the session is pinned: unpin it first\n"))
        self.assertEqual(self.ask("session unpin " + name).fields["pinned"], "no")
        self.assertEqual(self.ask("session demote " + name).fields["in"], "disk")

    def test_what_is_not_there(self):
        for verb in ("show", "end", "pin", "unpin", "demote", "promote"):
            reply = self.ask("session %s 0123456789abcdef" % verb)
            self.assertEqual((reply.code, reply.text), ("not-found", "there is no such session\n"))
            reply = self.ask("session %s 0123456789abcdef --json" % verb)
            self.assertEqual(reply.json, {"error": "not-found", "message": "there is no such session"})

    def test_no_cookie_is_ever_logged(self):
        _, name, cookie = self.new()
        for verb in ("show", "pin", "unpin", "demote", "promote", "end", "end"):
            for key in (cookie, cookie + "x", cookie[:-1], cookie.upper(), '"%s' % cookie):
                self.ask("session %s -- %s" % (verb, key))
        self.ask(cookie)
        self.ask("sessions --app=%s" % cookie)
        self.ask("app stop %s" % name)
        log = self.site.weir.process.log().lower()
        self.assertNotIn(cookie[:20].lower(), log)
        self.assertIn('command="session pin %s" uid=%d result=ok' % (name, os.geteuid()), log)
        self.assertIn('command="session end %s" uid=%d result=ok' % (name, os.geteuid()), log)
        self.assertIn('command="session end (a cookie)" uid=%d result=not-found' % os.geteuid(), log)


class TestPages(Case):
    """Lists of sessions."""

    COUNT = 250

    @classmethod
    def start_shared(cls, scope):
        other = weir.app("other", ['backend "unix:%s" { }' % scope.path("1-b")], session="", match=["path:/other"])
        cls.site = Site(scope, "", tail="admin { open = always }\n", apps=[other], workers=2)
        wait.until(lambda: admin.ask(cls.site.weir, "status --json").json["disk"]["state"] == "ready", "the disk store")
        cls.names, cls.down, cls.other = set(), set(), set()
        with admin.client(cls.site.weir) as c:
            for i in range(cls.COUNT):
                path = "/other/x" if i % 10 == 0 else "/"
                answer = cls.site.ask("set=%d" % i, path=path)
                cookie = answer.header("Set-Cookie").split(";")[0].split("=")[1]
                verb = "demote" if i % 3 == 0 else "show"
                r = c.ask("session %s --json -- %s" % (verb, cookie)).json
                if "session" not in r:
                    raise AssertionError("%s: %s" % (verb, r))
                cls.names.add(r["session"])
                if i % 3 == 0:
                    cls.down.add(r["session"])
                if i % 10 == 0:
                    cls.other.add(r["session"])

    def page(self, options=""):
        return admin.ask(self.site.weir, "sessions --json " + options)

    def walk(self, options):
        """All names that a walk meets, in order."""
        found, cursor = [], ""
        while True:
            reply = self.page(options + cursor)
            r = reply.json
            self.assertEqual(reply.code, "ok", reply)
            found += [s["session"] for s in r["sessions"]]
            self.assertEqual((r["cursor"], r["more"]), (reply.next, reply.next is not None))
            if not r["more"]:
                return found
            self.assertTrue(r["sessions"], "an empty page in the middle")
            cursor = " --cursor " + reply.next

    def assert_walk(self, options, expect):
        found = self.walk(options)
        self.assertEqual(len(found), len(set(found)), "something was met twice")
        self.assertEqual(set(found), expect)

    def test_a_page_is_bounded(self):
        self.assertLess(len(self.page().json["sessions"]), 120)
        self.assertGreaterEqual(len(self.page().json["sessions"]), 100)
        self.assertLess(len(self.page("--limit 1").json["sessions"]), 20)

    def test_all_by_pages(self):
        for limit in (7, 100, 1000):
            with self.subTest(limit):
                self.assert_walk("--limit %d" % limit, self.names)

    def test_by_app(self):
        self.assert_walk("--app other --limit 10", self.other)
        self.assert_walk("--app main", self.names - self.other)
        reply = self.page("--app nonsense")
        self.assertEqual((reply.code, reply.json["message"]), ("not-found", "there is no app of this name"))

    def test_by_store(self):
        self.assert_walk("--in disk --limit 20", self.down)
        self.assert_walk("--in memory --limit 20", self.names - self.down)
        self.assert_walk("--in disk --app other", self.down & self.other)

    def test_by_age(self):
        self.assert_walk("--older 1d", set())
        self.assert_walk("--younger 1d", self.names)
        wait.until(lambda: self.walk("--older 2s"), "some are two seconds old")
        young = self.names - set(self.walk("--older 2s"))
        self.assertLess(len(set(self.walk("--younger 1s")) - young), 3)

    def test_by_state(self):
        self.assert_walk("--is idle", self.names)
        self.assert_walk("--is fresh --in disk", self.down)
        self.assert_walk("--is busy", set())
        self.assert_walk("--is unreadable", set())
        some = sorted(self.names - self.down)[:3]
        for name in some:
            self.assertEqual(admin.ask(self.site.weir, "session pin " + name).code, "ok")
        self.assert_walk("--is pinned", set(some))
        self.assert_walk("--is pinned,idle --limit 1", set(some))
        self.assert_walk("--is pinned,busy", set())
        self.assert_walk("--is pinned --in disk", set())
        self.assert_walk("--is pinned --app other", set(some) & self.other)
        for name in some:
            self.assertEqual(admin.ask(self.site.weir, "session unpin " + name).code, "ok")
        for wrong in ("x", "''", "busy,", ",busy", "busy idle", "BUSY", "memory"):
            with self.subTest(wrong):
                reply = self.page('--is "%s"' % wrong)
                self.assertEqual((reply.code, reply.json["message"]),
                                 ("bad-argument", "--is takes one of busy, idle, waiting, pinned, fresh, unreadable, "
                                                  "or several with commas between"))

    def test_by_state_of_requests(self):
        jar, name, _ = admin.new_session(self.site)  # it has been back once, and is not fresh
        self.addCleanup(admin.ask, self.site.weir, "session end " + name)
        self.assertNotIn(name, self.walk("--is fresh"))
        with self.site.client() as first, self.site.client() as second:
            first.start(self.site.params("gate=state", jar=jar))
            self.site.wait_at("state")
            self.assert_walk("--is busy", {name})
            second.start(self.site.params("", jar=jar))
            wait.until(lambda: self.walk("--is waiting,busy") == [name], "one waits")
            self.site.open("state")
            first.response()
            second.response()
        wait.until(lambda: self.walk("--is busy") == [], "nobody has one")

    def test_cursor_of_another_store(self):
        cursor = self.page("--in memory --limit 1").next
        reply = self.page("--in disk --cursor " + cursor)
        self.assertEqual((reply.code, reply.json["message"]),
                         ("bad-argument", "this cursor is not one, or of other filters"))

    def test_as_text(self):
        reply = admin.ask(self.site.weir, "sessions --limit 5")
        self.assertGreaterEqual(len(reply.rows), 5)
        for row in reply.rows:
            self.assertIn(row["SESSION"], self.names)
            self.assertEqual(row["IN"], "disk" if row["SESSION"] in self.down else "memory")
            self.assertEqual(row["APP"], "other" if row["SESSION"] in self.other else "main")
            self.assertEqual(row["TTL"], "30m")
        self.assertEqual(admin.ask(self.site.weir, "sessions --older 1d").text, "none\n")

    def test_weirctl_all(self):
        place = ["-s", admin.path_of(self.site.weir), "-p", "/nonexistent"]
        code, out, err = admin.weirctl(*place, "sessions", "--all", "--limit", "30")
        self.assertEqual((code, err), (0, ""))
        lines = out.splitlines()
        self.assertEqual(len(lines), 1 + self.COUNT)
        self.assertEqual({line.split()[0] for line in lines[1:]}, self.names)
        code, out, err = admin.weirctl(*place, "--json", "sessions", "--all", "--limit", "30", "--app", "other")
        pages = [json.loads(line) for line in out.splitlines()]
        self.assertEqual({s["session"] for p in pages for s in p["sessions"]}, self.other)
        code, out, err = admin.weirctl(*place, "sessions", "--limit", "30")
        self.assertEqual(code, 0)
        self.assertRegex(err, r"^weirctl: there are more: --cursor \S+ goes on, --all shows all\n$")
        self.assertGreaterEqual(len(out.splitlines()), 31)
        cursor = err.split()[5]
        code, out, _ = admin.weirctl(*place, "sessions", "--cursor", cursor, "--all")
        self.assertLessEqual(len(out.splitlines()), 1 + self.COUNT - 30)


class TestChange(Case):
    """The commands that change something."""

    def start(self, **kwargs):
        options = dict(tail="admin { open = always }\n")
        options.update(kwargs)
        self.site = Site(self.scope, "", **options)

    def ask(self, line):
        return admin.ask(self.site.weir, line)

    def logged(self, command, result="ok"):
        quoted = '"%s"' % command if " " in command else command
        self.site.weir.wait_line("level=info event=admin_command command=%s uid=%d result=%s$" %
                                 (quoted, os.geteuid(), result))

    def test_app(self):
        self.start()
        jar, name, _ = admin.new_session(self.site)
        wait.until(lambda: self.ask("status --json").json["disk"]["state"] == "ready", "the disk store is ready")
        reply = self.ask("app stop main --json")
        self.assertEqual(reply.json, {"app": "main", "state": "stopped", "changed": True})
        self.assertEqual(self.site.ask("", jar=jar).status, 503)
        self.assertEqual(self.ask("apps").rows[0]["STATE"], "stopped")
        wait.until(lambda: self.ask("session show %s --json" % name).json["in"] == "disk", "its sessions move to disk")
        self.assertEqual(self.ask("app stop main --json").json["changed"], False)
        self.assertEqual(self.ask("app start main").text, "app      main\nstate    running\nchanged  yes\n")
        self.assertEqual(self.site.state(jar), ("live", "one"))
        reply = self.ask("app stop nonsense")
        self.assertEqual((reply.code, reply.text), ("not-found", "there is no app of this name\n"))
        self.logged("app stop main")
        self.logged("app stop nonsense", "not-found")
        self.logged("app start main")

    def test_backend(self):
        self.start()
        name = self.site.backend.where
        reply = self.ask("backend drain %s --json" % name)
        self.assertEqual(reply.json, {"backend": name, "state": "drained", "changed": True})
        self.assertEqual(self.ask("backends").rows[0]["STATE"], "drained")
        self.assertEqual(self.ask("backend drain main %s --json" % name).json,
                         {"app": "main", "backend": name, "state": "drained", "changed": False})
        self.assertEqual(self.ask("backend ready " + name).fields,
                         {"backend": name, "state": "ready", "changed": "yes"})
        self.assertEqual(self.site.ask("").status, 200)
        for line in ("backend drain nonsense", "backend drain nonsense " + name, "backend ready main nonsense"):
            reply = self.ask(line)
            self.assertEqual((reply.code, reply.text), ("not-found", "there is no such backend\n"))
        self.logged("backend drain " + name)

    def test_backend_of_two_apps(self):
        where = self.scope.path("1-b")
        other = weir.app("other", ['backend "unix:%s" { }' % where], session=None, match=["path:/other"])
        self.start(apps=[other])
        name = self.site.backend.where
        self.assertEqual(name, "unix:" + where)
        reply = self.ask("backend drain " + name)
        self.assertEqual((reply.code, reply.text), ("bad-argument", "more than one app has a backend of this name; say "
                                                    "which: backend drain APP NAME\n"))
        self.assertEqual(self.ask("backend drain other " + name).code, "ok")
        states = {r["APP"]: r["STATE"] for r in self.ask("backends").rows}
        self.assertEqual(states, {"other": "drained", "main": "ready"})

    def test_pins_have_a_bound(self):
        self.start(tail="admin { open = always }\nstore { memory { max-pinned = 4k } }\n")
        names = [admin.new_session(self.site, "size=1500")[1] for _ in range(3)]
        for name in names[:2]:
            self.assertEqual(self.ask("session pin " + name).code, "ok")
        reply = self.ask("session pin " + names[2])
        self.assertEqual((reply.code, reply.text),
                         ("refused", "pinned sessions take 3.1 KiB and may take 4 KiB (store.memory.max-pinned): there "
                                     "is no room for this one\n"))
        self.logged("session pin " + names[2], "refused")
        memory = self.ask("status --json").json["memory"]
        self.assertEqual((memory["pinned"], memory["pinned_max_bytes"]), (2, 4096))
        self.assertIn("weir_session_pinned_bytes %d\n" % memory["pinned_size_bytes"], self.ask("metrics").text)
        self.assertEqual(self.ask("session unpin " + names[0]).code, "ok")
        self.assertEqual(self.ask("session pin " + names[2]).code, "ok")
        self.edit("max-pinned = 4k", "max-pinned = 8k")
        self.assertEqual(self.reload().code, "ok")
        wait.until(lambda: self.ask("session pin " + names[0]).code == "ok", "there is room for it now")

    def test_without_a_disk_store(self):
        self.start(tail="admin { open = always }\nstore { disk { max = 0 } }\n")
        jar, name, _ = admin.new_session(self.site)
        reply = self.ask("session demote " + name)
        self.assertEqual((reply.code, reply.text), ("refused", "there is no disk store\n"))
        for verb in ("promote", "pin", "unpin"):
            self.assertEqual(self.ask("session %s %s" % (verb, name)).fields["in"], "memory")
        self.assertEqual(self.ask("sessions --in disk").text, "none\n")
        self.assertEqual(self.ask("app stop main").code, "ok")
        self.assertEqual(self.ask("app start main").code, "ok")
        self.assertEqual(self.ask("session end " + name).code, "ok")
        self.assertEqual(self.ask("session end " + name).code, "not-found")
        self.assertEqual(self.site.state(jar)[0], "none")

    def test_while_the_disk_store_does_not_work(self):
        """What is known is told, and what cannot be done says why."""
        blocked = self.scope.path("state/sessions")
        os.makedirs(os.path.dirname(blocked), exist_ok=True)
        with open(blocked, "w"):
            pass
        self.start()
        self.site.weir.wait_line("event=store_failed")
        jar, name, _ = admin.new_session(self.site)
        self.assertEqual(self.ask("session show " + name).code, "ok")
        why = "the disk store does not work just now; status says why\n"
        for line in ("session demote " + name, "session show 0123456789abcdef", "session end 0123456789abcdef",
                     "session pin 0123456789abcdef", "sessions --in disk"):
            with self.subTest(line):
                reply = self.ask(line)
                self.assertEqual((reply.code, reply.text), ("unavailable", why))
        reply = self.ask("sessions --json")
        self.assertEqual([s["session"] for s in reply.json["sessions"]], [name])
        self.assertTrue(reply.json["more"])
        self.assertEqual(self.ask("sessions --cursor " + reply.next).text, why)
        self.assertEqual(len(self.ask("sessions --in memory").rows), 1)
        self.assertEqual(self.ask("status --json").json["disk"]["state"], "broken")
        reply = self.ask("session end " + name)
        self.assertEqual((reply.code, reply.text),
                         ("unavailable", "it has ended; what there may be of it on disk goes when the disk store works "
                                         "again, and status says why it does not now\n"))
        self.logged("session end " + name, "unavailable")
        self.assertEqual(self.site.state(jar)[0], "none")

    def test_log_level(self):
        self.start(log="level = info to = stderr")
        self.assertEqual(self.ask("log-level").text, "level  info\n")
        self.assertEqual(self.ask("log-level debug --json").json, {"level": "debug"})
        self.logged("log-level debug")
        self.assertEqual(self.ask("log-level error").text, "level  error\n")
        self.logged("log-level error")
        self.ask("app stop nonsense")
        self.assertEqual(self.ask("log-level warn").code, "ok")
        self.assertEqual(self.ask("log-level info").code, "ok")
        self.logged("log-level info")
        self.assertEqual(self.site.weir.lines("nonsense"), [])
        self.assertEqual(self.ask("status").fields["log level"], "info")

    def edit(self, old, new):
        with open(self.site.weir.config) as f:
            text = f.read()
        self.assertIn(old, text)
        with open(self.site.weir.config, "w") as f:
            f.write(text.replace(old, new))

    def reload(self, options="", ask=None):
        """One after the other: while one is under way the answer is busy."""
        def settled():
            reply = (ask or self.ask)("reload" + options)
            if reply.code != "busy":
                return reply
            self.assertIn("a reload is under way", reply.text)
        return wait.until(settled, "no other reload is under way")

    def test_reload(self):
        self.start()
        self.assertEqual(self.reload(" --json").json, {"generation": 2, "report": []})
        self.assertEqual(self.reload().text, "reloaded\n")
        self.assertEqual(self.ask("status --json").json["generation"], 3)
        self.edit("workers = 2", "workers = 3")
        reply = self.reload()
        self.assertEqual(reply.code, "ok")
        self.assertRegex(reply.text, r"workers.*restart.*\nreloaded\n$")
        self.assertEqual(len(self.reload(" --json").json["report"]), 1)
        self.logged("reload")
        r = self.ask("status --json").json
        self.assertLessEqual(abs(r["reloaded_at"] - time.time()), 5)

    def test_reload_that_is_refused(self):
        self.start()
        self.edit("workers = 2", "workers = 0")
        reply = self.ask("reload")
        self.assertEqual(reply.code, "failed")
        self.assertRegex(reply.text, r'^\S+weir\.conf:\d+: node\.workers: "0": a number from 1 to 256\n$')
        r = self.ask("reload --json").json
        self.assertEqual(r["error"], "failed")
        self.assertIn("node.workers", r["message"])
        self.assertEqual(self.site.ask("").status, 200)
        self.assertEqual(self.ask("status --json").json["reloads_failed"], 2)
        self.logged("reload", "failed")

    def test_reload_of_the_socket(self):
        self.start(tail="admin { open = on-signal idle = 10m }\n")
        path, moved = admin.path_of(self.site.weir), self.scope.path("run/moved.sock")
        with admin.client(self.site.weir) as c:
            # It was open, and is so in its new place. Who is in stays in.
            self.edit("idle = 10m", 'idle = 10m socket = "%s"' % moved)
            self.assertEqual(self.reload(ask=c.ask).code, "ok")
            self.assertFalse(os.path.exists(path))
            with admin.Client(moved) as other:
                self.assertEqual(other.ask("status").code, "ok")
            self.assertEqual(c.ask("status").code, "ok")
            # Never: the reply is the last that is heard.
            self.edit("open = on-signal", "open = never")
            self.assertEqual(self.reload(ask=c.ask).text, "reloaded\n")
            self.assertTrue(c.closed())
        self.assertFalse(os.path.exists(moved))
        self.site.weir.wait_line("event=admin_closed socket=%s reason=reload" % moved)
        self.edit("open = never", "open = always")
        self.site.weir.process.send(signal.SIGHUP)
        wait.until(lambda: os.path.exists(moved), "the socket is always there")
        self.site.weir.wait_line("event=admin_opened socket=%s by=reload" % moved)
        self.edit("open = always idle = 10m", "open = on-signal idle = 1s")
        with admin.Client(moved) as c:
            self.assertEqual(self.reload(ask=c.ask).code, "ok")
        wait.until(lambda: not os.path.exists(moved), "closed when idle")
        self.assertEqual(self.site.ask("").status, 200)

    def test_drain(self):
        """What runs is finished, the state is told meanwhile, and what would change something is refused."""
        self.start(node="drain-timeout = 60s")
        _, name, _ = admin.new_session(self.site)
        with self.site.client() as client, admin.client(self.site.weir) as c:
            client.start(self.site.params("gate=drain"))
            self.site.wait_at("drain")
            self.assertEqual(c.ask("drain").text, "state  draining\n")
            self.assertEqual(c.ask("status").fields["state"], "draining")
            self.assertEqual(c.ask("session show " + name).code, "ok")
            for line in ("drain", "reload", "app stop main", "backend drain x"):
                reply = c.ask(line)
                self.assertEqual((reply.code, reply.text), ("unavailable", "weir is draining\n"))
            self.site.open("drain")
            self.assertEqual(client.response().status, 200)
            self.assertTrue(c.closed())
        self.assertEqual(self.site.weir.wait_exit(), 0)
        self.logged("drain")

    def test_an_end_with_commands_under_way(self):
        """Nothing is left over, whatever the moment."""
        for i in range(5):
            self.start()
            for k in range(20):
                self.site.ask("set=%d" % k)
            clients = [admin.client(self.site.weir) for _ in range(8)]
            for c in clients:
                c.send("sessions --limit 1000\nsession show 0123456789abcdef\n" * 20)
            time.sleep(0.003 * i)
            self.site.weir.process.send(signal.SIGTERM if i % 2 else signal.SIGINT)
            self.assertEqual(self.site.weir.wait_exit(), 0)
            for c in clients:
                c.close()
