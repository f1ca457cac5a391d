"""One node with a section cluster: what it tells of it, and what it refuses while it is fenced. Clusters of several nodes
are in test_cluster_form.py and its neighbours."""
import json
import os
import re
import shutil
import signal
import threading
from urllib.parse import parse_qsl

from harness import address, admin, adopted, cgi, cluster, lone, resp, stall, wait, weir
from harness.backend import Backend
from harness.case import Case
from harness.site import Front, Site
from harness.status import EVERYBODY, document, metrics, status

FENCED = "this node is fenced"


def ctl(site, *words):
    return admin.weirctl("-s", admin.path_of(site.weir), *words)


def told(site, *words):
    code, out, err = ctl(site, "--json", *words)
    if code != 0:
        raise AssertionError("weirctl %s: %d %s%s" % (" ".join(words), code, out, err))
    return json.loads(out)


def wait_state(site, state):
    return wait.until(lambda: (lambda c: c if c["state"] == state else None)(told(site, "cluster")),
                      lambda: "%s: %r" % (state, told(site, "cluster")))


class TestRoot(Case):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root has privileges to drop")
        for name in ("run", "state"):
            os.makedirs(self.scope.path(name), exist_ok=True)
            shutil.chown(self.scope.path(name), "nobody", "nogroup")
        self.lone = lone.Lone(self.scope)
        certificate, self.key = self.lone.identity
        for path in (certificate, self.lone.authority.ca, self.lone.authority.crl):
            os.chmod(path, 0o644)
        os.chmod(self.lone.authority.dir, 0o755)
        os.chmod(self.key, 0o600)

    def start(self):
        return Site(self.scope, "", node='user = "nobody"', tail=self.lone.tail)

    def test_a_key_that_only_root_can_read(self):
        """It starts, says so, and a reload is refused for it; given to the user, the next one is done."""
        site = self.start()
        site.weir.wait_line("level=warn event=cluster_file_is_roots reason=.*%s" % re.escape(self.key))
        site.weir.process.send(signal.SIGHUP)
        site.weir.wait_line("event=reload_refused .*%s" % re.escape(self.key))
        shutil.chown(self.key, "nobody")
        site.weir.process.send(signal.SIGHUP)
        site.weir.wait_line("event=reloaded")

    def test_a_key_that_the_user_can_read(self):
        shutil.chown(self.key, "nobody")
        site = self.start()
        site.weir.wait_line("event=started")
        self.assertEqual(site.weir.lines("event=cluster_file_is_roots"), [])


class TestAlone(Case):
    """It is a cluster of its own."""

    @classmethod
    def start_shared(cls, scope):
        cls.lone = lone.Lone(scope, more="zone = rack-1")
        plain = weir.app("plain", ['backend "unix:/nowhere" { }'], session=None, match=["path:/plain"])
        cls.site = Site(scope, "", tail=EVERYBODY + cls.lone.tail + "admin { open = always }\n", apps=[plain])
        admin.wait_open(cls.site.weir)
        wait_state(cls.site, "member")

    def test_cluster(self):
        c = told(self.site, "cluster")
        self.assertEqual((c["name"], c["node"], c["coordinator"], c["majority"], c["fenced"], c["broken"], c["voters"]),
                         ("eu", "test", "test", True, False, False, ["test"]))
        self.assertRegex(c["id"], r"^[0-9a-f]{32}$")
        self.assertGreater(c["epoch"], 0)
        [member] = c["members"]
        self.assertEqual({k: member[k] for k in ("name", "address", "zone", "url", "voter", "witness", "leaving", "heard",
                                                 "epoch", "linked_incarnation", "buckets")},
                         {"name": "test", "address": self.lone.where, "zone": "rack-1", "url": "", "voter": True,
                          "witness": False, "leaving": False, "heard": True, "epoch": c["epoch"],
                          "linked_incarnation": None, "buckets": {"main": 16}})
        # The app without sessions needs no buckets.
        [app] = c["apps"]
        self.assertEqual((app["name"], app["buckets"], app["managers"], app["disagree"]), ("main", 16, {"test": 16}, []))
        self.assertIn(" buckets=16 ", app["settings"])
        self.assertGreater(c["certificate_ends_at"], 0)

    def test_cluster_as_text(self):
        code, text, _ = ctl(self.site, "cluster")
        self.assertEqual(code, 0)
        self.assertRegex(text, r"(?m)^state {2,}member$")
        self.assertRegex(text, r"(?m)^  NAME +INCARNATION .* BUCKETS$\n^  test +[0-9a-f]{16} .* main 16$")
        self.assertRegex(text, r"(?m)^differences {2}none$")

    def test_view_and_buckets(self):
        view, c = told(self.site, "view"), told(self.site, "cluster")
        self.assertEqual((view["cluster"], view["epoch"], view["coordinator"], view["voters"]),
                         (c["id"], c["epoch"], "test", ["test"]))
        self.assertEqual([a["name"] for a in view["apps"]], ["main"])
        rows = told(self.site, "buckets", "main")["buckets"]
        self.assertEqual(({row["manager"] for row in rows}, sum(row["count"] for row in rows)), ({"test"}, 16))
        [share] = told(self.site, "buckets")["shares"]
        self.assertEqual((share["app"], share["manager"], share["buckets"]), ("main", "test", 16))
        self.assertRegex(ctl(self.site, "buckets")[1], r"^APP +MANAGER +BUCKETS +LOST\nmain +test +16 +\d+\n$")
        for app in ("plain", "nonsense"):
            self.assertEqual(ctl(self.site, "buckets", app),
                             (4, "", "weirctl: no app of this name has buckets\n"))

    def test_links(self):
        self.assertEqual(told(self.site, "links"), {"links": []})

    def test_forget(self):
        code, _, err = ctl(self.site, "cluster", "forget", "nobody")
        self.assertEqual((code, err), (4, "weirctl: there is no member and no voter of this name\n"))
        self.assertEqual(ctl(self.site, "cluster", "forget")[0], 2)
        self.assertEqual(ctl(self.site, "cluster", "forget", "test"),
                         (1, "", "weirctl: test is this node or coordinates: drain it, or end its process\n"))
        self.site.weir.wait_line('event=admin_command command="cluster forget nobody" .*result=not-found')

    def test_health(self):
        self.assertEqual(ctl(self.site, "health"), (0, "ready  yes\n", ""))
        self.assertEqual(status(self.site, "health").status, 200)

    def test_status(self):
        self.assertEqual(told(self.site, "status")["cluster"]["state"], "member")
        d = wait.until(lambda: (lambda c: c if c and c["state"] == "member" else None)(document(self.site)["cluster"]),
                       "the page shows it")
        self.assertEqual([m["name"] for m in d["members"]], ["test"])
        [of_main] = d["maps"]
        self.assertEqual((of_main["app"], of_main["buckets"], of_main["managers"]), ("main", 16, [0] * 16))

    def test_metrics(self):
        wait.until(lambda: 'weir_cluster_state{state="member"} 1' in metrics(self.site), "the metrics show it")
        text = metrics(self.site)
        for line in ("weir_cluster_fenced 0", 'weir_cluster_state{state="fenced"} 0', "weir_cluster_coordinator 1",
                     "weir_cluster_majority 1", "weir_cluster_members 1", "weir_cluster_voters 1",
                     'weir_cluster_buckets{app="main"} 16', 'weir_cluster_links{state="open"} 0',
                     "weir_cluster_disagreements 0", 'weir_cluster_fenced_refusals_total{kind="request"} 0'):
            self.assertIn("\n%s\n" % line, text)
        self.assertRegex(text, r"\nweir_cluster_epoch [1-9]\d*\n")

    def test_sessions_are_served(self):
        jar = cgi.Jar()
        self.site.ask("set=x", jar=jar)
        self.assertEqual(self.site.state(jar), ("new", "x"))


class TestWithout(admin.Shared):
    """No section cluster."""

    def test_commands(self):
        for line in ("cluster", "view", "buckets", "buckets main", "links", "cluster forget x"):
            with self.subTest(line=line):
                reply = self.ask(line)
                self.assertRegex(reply.text, "^this node is in no cluster")
        self.assertNotIn("cluster", self.ask("status --json").json)
        self.assertNotIn("weir_cluster", self.ask("metrics").text)


class TestStart(Case):
    def refused(self, one, pattern):
        site = weir.Weir(self.scope, [(self.scope.unix("f"), "fastcgi", "")], [], tail=one.tail, start=False)
        code, text = weir.run(["-c", site.config])
        self.assertEqual(code, 1, text)
        self.assertRegex(text, pattern)

    def test_bad_certificate(self):
        one = lone.Lone(self.scope)
        one.identity = one.authority.issue_odd("test", -7200, -3600)
        self.refused(one, "weir: cluster: .*expired")

    def test_address_in_use(self):
        one = lone.Lone(self.scope)
        with address.listen(one.where):
            self.refused(one, r'weir: cluster\.listen: "%s": Address already in use' % re.escape(one.where))


class TestReload(Case):
    def setUp(self):
        super().setUp()
        self.lone = lone.Lone(self.scope)
        self.site = Site(self.scope, "", tail=self.lone.tail + "admin { open = always }\n")
        admin.wait_open(self.site.weir)
        wait_state(self.site, "member")

    def rewrite(self, before, after):
        with open(self.site.weir.config) as f:
            text = f.read()
        self.assertIn(before, text)
        with open(self.site.weir.config, "w") as f:
            f.write(text.replace(before, after))

    def test_a_bad_certificate_changes_nothing(self):
        bad = self.lone.authority.issue_odd("test", -7200, -3600)
        self.rewrite('"%s"' % self.lone.identity[0], '"%s"' % bad[0])
        self.rewrite('"%s"' % self.lone.identity[1], '"%s"' % bad[1])
        code, _, err = ctl(self.site, "reload")
        self.assertEqual(code, 1)
        self.assertRegex(err, r"cluster: .*expired")
        self.assertEqual(told(self.site, "status")["generation"], 1)
        self.site.weir.wait_line("event=reload_refused .*expired")
        self.assertEqual(told(self.site, "cluster")["state"], "member")

    def test_a_certificate_that_ends_soon(self):
        """Said in the log and to whoever looks, until there is a new one."""
        self.assertEqual(told(self.site, "cluster")["trouble"], [])
        self.lone.authority.issue("test", "--days", "3", "--force")
        self.assertEqual(ctl(self.site, "reload")[0], 0)
        self.site.weir.wait_line('level=warn event=cluster_certificate reason="it ends soon" seconds=25[0-9]+$')
        [row] = told(self.site, "cluster")["trouble"]
        self.assertEqual(row["node"], "test")
        self.assertRegex(row["what"], "^has a certificate or a revocation list that ends in [23] days$")
        self.assertRegex(ctl(self.site, "cluster")[1], r"(?m)^certificate ends +in 2d 23h$|^certificate ends +in 3d$")
        self.lone.authority.issue("test", "--force")
        self.assertEqual(ctl(self.site, "reload")[0], 0)
        self.assertEqual(told(self.site, "cluster")["trouble"], [])

    def test_apps(self):
        """Others are told of an app that is new, and of settings that have changed."""
        self.rewrite("cluster \"eu\"", weir.app("second", ['backend "unix:/nowhere" { }'], match=["path:/2"]) + 'cluster "eu"')
        self.assertEqual(ctl(self.site, "reload")[0], 0)
        wait.until(lambda: [a["name"] for a in told(self.site, "cluster")["apps"]] == ["main", "second"],
                   lambda: "two apps: %r" % told(self.site, "cluster")["apps"])
        self.assertEqual(told(self.site, "buckets", "second")["buckets"][0]["manager"], "test")


class TestSeeking(Case):
    """The others are not there: it may serve no session."""

    @classmethod
    def start_shared(cls, scope):
        cls.lone = lone.Lone(scope, peers=True)
        cls.key = adopted.PREFIX + "x"
        cls.app = Backend(scope, cls.answer)
        cls.socket = scope.unix("kv")
        apps = [weir.app("plain", [cls.app.text()], session=None, match=["path:/plain"]),
                weir.app("adopted", [cls.app.text()], match=["path:/adopted"],
                         session='mode = adopted cookie = PHPSESSID key = "%s" socket = "%s"' % (adopted.PREFIX, cls.socket))]
        cls.site = Site(scope, 'stateless = { "/static" }', apps=apps,
                        tail=EVERYBODY + cls.lone.tail + "admin { open = always }\n")
        admin.wait_open(cls.site.weir)
        wait_state(cls.site, "seeking")

    @staticmethod
    def answer(x):
        x.out(b"Content-Type: text/plain\r\n\r\nhello")
        x.end()

    def refused(self, before):
        return wait.until(lambda: told(self.site, "status")["requests"]["fenced"] > before, "it is counted")

    def test_sessions(self):
        for path in ("/", "/adopted/x"):
            with self.subTest(path=path):
                before = told(self.site, "status")["requests"]["fenced"]
                answer = self.site.ask("set=x", path=path)
                self.assertEqual((answer.status, answer.all("Retry-After"), answer.all("Set-Cookie")), (503, ["1"], []))
                self.refused(before)
        self.site.weir.wait_line("event=request_failed .*status=503 reason=\"%s" % FENCED)

    def test_what_needs_none_is_served(self):
        self.assertEqual(self.site.ask(path="/plain").status, 200)
        self.assertEqual(self.site.ask(path="/static/x").status, 200)
        self.assertEqual(status(self.site).status, 200)

    def test_socket(self):
        with resp.Client(self.socket, None) as client:
            before = told(self.site, "status")["requests"]["fenced_commands"]
            for words in (("GET", self.key), ("SET", self.key, "y"), ("DEL", self.key), ("EXISTS", self.key),
                          ("EXPIRE", self.key, "9"), ("SCAN", "0"), ("DBSIZE",),
                          ("SET", self.key + "_LOCK", "token", "NX", "PX", "1000")):
                with self.subTest(words=words):
                    reply = client.ask(*words)
                    self.assertIsInstance(reply, resp.Error)
                    self.assertRegex(reply.text, "^LOADING " + FENCED)
            # What is about no session is answered.
            self.assertEqual(client.ask("PING"), "PONG")
            self.assertIn(b"loading:1", client.ask("INFO"))
            self.assertEqual(client.ask("DELIFEQ", self.key + "_LOCK", "token"), 0)
            self.assertEqual(client.ask("MULTI"), "OK")
            self.assertEqual(client.ask("GET", self.key), "QUEUED")
            [reply] = client.ask("EXEC")
            self.assertRegex(reply.text, "^LOADING")
        self.assertEqual(told(self.site, "status")["requests"]["fenced_commands"] - before, 9)

    def test_commands(self):
        c = told(self.site, "cluster")
        self.assertEqual((c["epoch"], c["fenced"], c["coordinator"], c["members"], c["apps"]), (0, True, None, [], []))
        code, _, err = ctl(self.site, "view")
        self.assertEqual((code, err), (1, "weirctl: this node has no view yet: it has not found its cluster\n"))
        self.assertEqual(ctl(self.site, "session", "end", "0" * 16)[0], 1)
        wait.until(lambda: told(self.site, "cluster")["fenced_so_far_s"] > 0, "its time is counted")

    def test_health(self):
        """A load balancer sends nobody here."""
        answer = status(self.site, "health")
        self.assertEqual(answer.status, 503)
        self.assertRegex(answer.body.decode(), "^not ready: %s" % FENCED)
        code, out, err = ctl(self.site, "health")
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, "^weirctl: not ready: %s" % FENCED)
        code, out, _ = ctl(self.site, "--json", "health")
        self.assertEqual((code, json.loads(out)["error"]), (1, "unavailable"))

    def test_metrics(self):
        wait.until(lambda: 'weir_cluster_state{state="seeking"} 1' in metrics(self.site), "the metrics show it")
        self.assertIn("\nweir_cluster_fenced 1\n", metrics(self.site))


class TestEnd(Case):
    def test_it_ends_though_nobody_is_there(self):
        site = Site(self.scope, "", tail=lone.Lone(self.scope, peers=True).tail)
        site.weir.stop()

    def hangs(self, number):
        """The control plane does not answer, as where its disk does not; the process ends all the same."""
        # A thread is left behind; that is what this is about.
        env = {"TSAN_OPTIONS": weir.environment()["TSAN_OPTIONS"] + ":report_thread_leaks=0"}
        site = Site(self.scope, "", tail=lone.Lone(self.scope).tail + "admin { open = always }\n", env=env)
        admin.wait_open(site.weir)
        wait_state(site, "member")
        with stall.stalled(site.weir.pid, "weir-control"):
            site.weir.process.send(number)
            site.weir.wait_line("event=cluster_not_stopped ")
            site.weir.wait_line("event=stopped ")
        self.assertEqual(site.weir.wait_exit(), 0)
        # And comes back with what it had.
        site.weir._stopped = False
        site.weir.start()
        admin.wait_open(site.weir)
        wait_state(site, "member")

    def test_it_ends_though_its_disk_hangs(self):
        self.hangs(signal.SIGTERM)

    def test_it_ends_at_once_though_its_disk_hangs(self):
        self.hangs(signal.SIGINT)


class TestBrowser(Case):
    def setUp(self):
        super().setUp()
        self.site, self.nginx, self.browser = lone.browsed(self.scope)

    def test_shows_the_cluster(self):
        wait.until(lambda: "member" == self.browser.text("#cluster-state"), lambda: self.browser.text("body"))
        wait.until(lambda: self.browser.run('document.querySelectorAll("svg.strip path").length') == 2, "a map")
        self.assertRegex(self.browser.text("#cluster-words"), r"^Epoch \d+ · 1 member · test coordinates")
        self.assertIn("main 16", self.browser.text("#members tbody tr"))
        self.assertIn("test 16",
                      self.browser.run('document.querySelector("svg.strip").getAttribute("aria-label")'))
        for width in (320, 390, 1000):
            self.browser.look(width, 800, width == 390)
            self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), width)


class Gated:
    """An application that says what its session holds, changes it, and waits for the gate before it does."""

    def __init__(self):
        self.gate, self.waiting = threading.Event(), 0

    def act(self, x):
        query = dict(parse_qsl(x.params.get("QUERY_STRING", "")))
        if "gate" in query:
            self.waiting += 1
            self.gate.wait(wait.BOUND)
        change = "Weir-Session-Data: %s\r\n" % query["set"] if "set" in query else ""
        x.out(("%sContent-Type: text/plain\r\n\r\n[%s]" % (change, x.params.get("SESSION_DATA", ""))).encode())
        x.end()

    @staticmethod
    def front(node):
        return Front(node.where, "fastcgi", node)


class TestFenceComes(cluster.Case):
    """Requests that run when the others are gone."""

    def test_an_answer_that_comes_while_fenced(self):
        c = self.cluster("a", "b", "c", kind="loopback")
        handler = Gated()
        backend = Backend(self.scope, handler.act)
        c.apps = [weir.app("shop", [backend.text()])]
        for node in c:
            node.apps = c.apps
        c.start()
        c.wait_agree("abc")
        front = handler.front(c["a"])
        jar = cgi.Jar()
        self.assertEqual(front.ask("set=one", jar=jar).status, 200)
        with front.client() as client:
            client.start(front.params("set=two&gate=1", jar=jar))
            with front.client() as other:
                other.start(front.params("gate=1&set=three"))
                wait.until(lambda: handler.waiting == 2, "two at the gate")
                c["b"].kill()
                c["c"].kill()
                c.wait_fenced("a")
                self.assertEqual(c["a"].weirctl("health")[0], 1)
                handler.gate.set()
                for one in (client, other):
                    answer = one.response()
                    self.assertEqual((answer.status, answer.all("Set-Cookie")), (503, []))
        self.assertEqual(front.ask(jar=jar).status, 503)
        c.start("b", "c")
        c.wait_agree("abc")
        self.assertEqual(c["a"].weirctl("health")[0], 0)
        # What was there before is there still, and has not changed.
        self.assertIn(b"[one]", front.ask(jar=jar).body)
