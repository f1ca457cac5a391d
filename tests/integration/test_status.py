"""The status page: who may see it, what it says of known traffic, and that promtool and Prometheus can use it. What a
browser makes of it is in test_status_page.py."""
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

from harness import address, admin, fcgi, process, servers, wait, web, weir
from harness.backend import Backend
from harness.case import Case
from harness.site import Site
from harness.status import COUNTS, EVERYBODY, PATH, SECTION, STRICT, at_rest, document, metrics, status, traffic

STRICT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
CLASSIC_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class TestNumbers(Case):
    """Exact counts, after known traffic."""

    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, "", tail=EVERYBODY, workers=2)
        traffic(cls.site)
        cls.document = at_rest(cls.site)

    def test_requests(self):
        requests = self.document["requests"]
        self.assertEqual({key: requests[key] for key in COUNTS}, COUNTS)
        self.assertGreater(requests["out_bytes"], 1000)
        self.assertGreaterEqual(requests["p99_us"], requests["p50_us"])
        self.assertGreater(requests["p50_us"], 0)

    def test_process(self):
        d = self.document
        self.assertEqual((d["node"], d["state"], d["workers"], d["generation"], d["reloads_failed"], d["reloaded_at"]),
                         ("test", "running", 2, 1, 0, None))
        self.assertRegex(d["version"], r"^\d+\.\d+\.\d+$")
        self.assertLess(abs(time.time() - d["started_at"]), 600)
        self.assertLess(d["uptime_s"], 600)

    def test_sessions(self):
        memory = self.document["memory"]
        self.assertEqual((memory["sessions"], memory["created"], memory["ended"], memory["expired"]), (1, 1, 0, 0))
        self.assertGreater(memory["bytes"], 0)
        self.assertEqual(memory["max_bytes"], 512 << 20)
        self.assertEqual(self.document["disk"]["max_bytes"], 20 << 30)

    def test_backends(self):
        [app] = self.document["apps"]
        self.assertEqual((app["app"], app["state"], app["sessions"], app["waiting"]), ("main", "running", "managed", 0))
        [backend] = app["backends"]
        self.assertEqual((backend["backend"], backend["protocol"], backend["state"], backend["active"]),
                         (self.site.backend.where, "fastcgi", "ready", 0))
        self.assertEqual(backend["requests"], len(self.site.backend.requests))
        self.assertEqual(backend["failures"], 2)

    def test_the_admin_socket_says_the_same(self):
        page, said = document(self.site), admin.ask(self.site.weir, "status --json").json
        for part in ("requests", "memory", "disk"):
            for d in (page, said):
                d[part].pop("status_page", None)
            self.assertEqual(said[part], page[part])
        [app] = page["apps"]
        [backend] = app.pop("backends")
        self.assertEqual(len(backend.pop("requests_5s")) > 0, True)
        self.assertEqual(admin.ask(self.site.weir, "backends --json").json["backends"], [backend])
        self.assertEqual(admin.ask(self.site.weir, "apps --json").json["apps"], [{**app, "backends": 1}])

    def test_history(self):
        """All of it lies in the last minutes, second by second."""
        def history():
            h = document(self.site)["history"]
            return sum(h["requests"]) == 11 and h["points"] >= 3 and h
        h = wait.until(history, lambda: "all in the history: %s" % document(self.site)["history"])
        self.assertEqual(h["step_s"], 1)
        self.assertEqual(sum(h["errors"]), 4)
        self.assertEqual({len(h[key]) for key in h if key not in ("step_s", "points")}, {len(h["requests"])})
        self.assertEqual(h["points"], len(h["requests"]))
        self.assertEqual((h["memory"][-1], h["running"][-1]), (1, 0))
        self.assertGreater(max(h["p99_us"]), 0)
        backend = document(self.site)["apps"][0]["backends"][0]
        self.assertEqual(sum(backend["requests_5s"]), len(self.site.backend.requests))

    def test_not_counted_itself(self):
        before = document(self.site)
        for query in ("", "json", "openmetrics", "nonsense"):
            status(self.site, query)
        status(self.site, method="POST", body=b"x" * 5000)
        after = document(self.site)
        self.assertEqual(after["requests"].pop("status_page"), before["requests"].pop("status_page") + 6)
        self.assertEqual(after["requests"], before["requests"])

    def test_metrics(self):
        sample = dict(line.rsplit(" ", 1) for line in metrics(self.site).split("\n") if line and line[0] != "#")
        d = document(self.site)["requests"]
        expected = {
            "weir_requests_total": 11, "weir_requests_running": 0, 'weir_requests_ended_total{end="ok"}': 7,
            'weir_requests_ended_total{end="failed"}': 3, 'weir_requests_ended_total{end="aborted"}': 1,
            'weir_responses_total{class="2xx"}': 4, 'weir_responses_total{class="3xx"}': 1,
            'weir_responses_total{class="4xx"}': 1, 'weir_responses_total{class="5xx"}': 2,
            'weir_responses_total{class="none"}': 2, 'weir_responses_total{class="1xx"}': 0,
            "weir_request_duration_seconds_count": 7, 'weir_request_duration_seconds_bucket{le="+Inf"}': 7,
            "weir_request_body_bytes_total": 1001, "weir_response_bytes_total": d["out_bytes"],
            'weir_session_requests_total{state="none"}': 6, 'weir_session_requests_total{state="new"}': 1,
            'weir_session_requests_total{state="live"}': 3, 'weir_sessions{store="memory"}': 1,
            "weir_sessions_created_total": 1, 'weir_session_max_bytes{store="memory"}': 512 << 20,
            'weir_backend_requests_total{app="main",backend="%s"}' % self.site.backend.where: 10,
            'weir_backend_failures_total{app="main",backend="%s"}' % self.site.backend.where: 2,
            'weir_backend_up{app="main",backend="%s"}' % self.site.backend.where: 1,
            'weir_app_up{app="main"}': 1, "weir_workers": 2, "weir_draining": 0,
        }
        self.assertEqual({key: int(sample[key]) for key in expected}, expected)
        self.assertLess(abs(time.time() - float(sample["weir_process_start_time_seconds"])), 600)
        self.assertGreater(float(sample["weir_process_cpu_seconds_total"]), 0)
        self.assertGreater(float(sample["weir_request_duration_seconds_sum"]), 0)


class TestMetricsFormat(Case):
    """That programs can read the metrics, also with names that nobody should choose."""

    @classmethod
    def start_shared(cls, scope):
        folder = scope.path('q"u\\o te<b>\xe9')
        os.mkdir(folder)
        cls.odd = Backend(scope, where="unix:" + folder + "/s")
        escaped = cls.odd.where.replace("\\", "\\\\").replace('"', '\\"')
        line = 'backend "%s" { protocol = fastcgi }' % escaped
        cls.site = Site(scope, "", tail=EVERYBODY, apps=[weir.app("odd", [line], session=None, match=["path:/odd"])])
        cls.site.ask("")
        cls.site.ask("", path="/odd")

    def promtool(self, *argv, text):
        done = subprocess.run([process.find("promtool"), *argv], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=wait.BOUND)
        return done.returncode, done.stdout

    def test_promtool_has_nothing_to_say(self):
        text = metrics(self.site, accept="*/*")
        self.assertEqual(self.promtool("check", "metrics", text=text), (0, ""))
        # And it would say something.
        self.assertNotEqual(self.promtool("check", "metrics", text=text.replace("_total", ""))[0], 0)

    def test_node_exporter_passes_it_on(self):
        """As a text file, beside figures of its own that have the usual names."""
        folder = self.scope.path("texts")
        os.mkdir(folder)
        with open(os.path.join(folder, "weir.prom"), "w", encoding="utf-8") as f:
            f.write(admin.weirctl("-c", self.site.weir.config, "metrics")[1])
        where = address.tcp()
        server = process.Process("node_exporter", [
            process.find("prometheus-node-exporter"), "--web.listen-address=" + where, "--collector.disable-defaults",
            "--collector.textfile", "--collector.textfile.directory=" + folder], self.scope.fresh("exporter.log"))
        self.scope.show(server)
        self.scope.at_end(server.stop)
        address.wait_accepts(where, server)
        with urllib.request.urlopen("http://%s/metrics" % where, timeout=wait.BOUND) as answer:
            text = answer.read().decode()
        self.assertIn("\nnode_textfile_scrape_error 0\n", text)
        self.assertIn("\nprocess_cpu_seconds_total ", text)
        self.assertIn("\nweir_process_cpu_seconds_total ", text)
        self.assertRegex(text, r'\nweir_responses_total\{class="2xx"\} [1-9]')

    def test_the_parser_of_prometheus_takes_it(self):
        """promtool reads OpenMetrics where it fills a database; there each sample needs a time."""
        now = time.time()
        lines = metrics(self.site).split("\n")
        text = "\n".join(line if line[:1] in ("#", "") else "%s %.3f" % (line, now) for line in lines)
        path, blocks = self.scope.write("metrics", text), self.scope.path("blocks")
        code, said = self.promtool("tsdb", "create-blocks-from", "openmetrics", path, blocks, text="")
        self.assertEqual(code, 0, said)

    def test_rules_of_openmetrics(self):
        text = metrics(self.site)
        self.assertTrue(text.endswith("\n# EOF\n"))
        self.assertEqual(text.count("# EOF"), 1)
        suffixes = {"gauge": ("",), "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        kinds, seen, family = {}, set(), None
        for line in text.split("\n")[:-2]:
            if line.startswith("# "):
                _, what, name, rest = line.split(" ", 3)
                if what == "TYPE":
                    self.assertNotIn(name, kinds, "a family in two pieces")
                    kinds[name], family = rest, name
                    self.assertIn(rest, ("gauge", "counter", "histogram"))
                    self.assertFalse(rest == "counter" and name.endswith("_total"), name)
                elif what == "UNIT":
                    self.assertTrue(name.endswith("_" + rest), line)
                self.assertEqual(name, family)
                continue
            found = re.fullmatch(r'(\w+)(\{(\w+="([^"\\\n]|\\[\\"n])*",?)+\})? ([0-9.]+)', line)
            self.assertIsNotNone(found, line)
            self.assertIn(found.group(1), [family + s for s in suffixes[kinds[family]]])
            name = line.rsplit(" ", 1)[0]
            self.assertNotIn(name, seen, "a sample twice")
            seen.add(name)
        self.assertGreater(len(kinds), 30)

    def test_histogram(self):
        rows = re.findall(r'_bucket\{le="([^"]+)"\} (\d+)', metrics(self.site))
        counts = [int(count) for _, count in rows]
        bounds = [float(bound) for bound, _ in rows]
        self.assertEqual((counts, bounds), (sorted(counts), sorted(bounds)))
        self.assertEqual((bounds[0], bounds[-1], len(bounds)), (0.0001, float("inf"), 17))

    def test_who_gets_which(self):
        for accept, kind in ((STRICT, STRICT_TYPE), (None, CLASSIC_TYPE), ("", CLASSIC_TYPE), ("*/*", CLASSIC_TYPE),
                             ("text/plain;version=0.0.4;q=1,*/*;q=0.1", CLASSIC_TYPE)):
            with self.subTest(accept=accept):
                answer = status(self.site, "openmetrics", HTTP_ACCEPT=accept)
                self.assertEqual((answer.status, answer.header("Content-Type")), (200, kind))
        self.assertEqual(self.samples(metrics(self.site)), self.samples(metrics(self.site, accept="*/*")))

    def samples(self, text):
        return {line.rsplit(" ", 1)[0] for line in text.split("\n") if line[:1] != "#"}

    def test_weirctl(self):
        """The same as from the page: what promtool and node_exporter read, or OpenMetrics."""
        texts = {}
        for options, kind, page in (([], CLASSIC_TYPE, metrics(self.site, accept=None)),
                                    (["--openmetrics"], STRICT_TYPE, metrics(self.site))):
            code, text, err = admin.weirctl("-c", self.site.weir.config, "metrics", *options)
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(self.samples(text), self.samples(page))
            self.assertEqual([line for line in text.split("\n") if line[:1] == "#"],
                             [line for line in page.split("\n") if line[:1] == "#"])
            document = json.loads(admin.weirctl("-c", self.site.weir.config, "--json", "metrics", *options)[1])
            self.assertEqual(sorted(document), ["metrics", "type"])
            self.assertEqual(document["type"], kind)
            self.assertEqual(self.samples(document["metrics"]), self.samples(page))
            texts[kind] = text
        self.assertEqual(self.promtool("check", "metrics", text=texts[CLASSIC_TYPE]), (0, ""))
        self.assertNotEqual(self.promtool("check", "metrics", text=texts[STRICT_TYPE])[0], 0)

    def test_odd_names(self):
        backend = document(self.site)["apps"][0]["backends"][0]["backend"]
        self.assertIn('q"u\\o te<b>', backend.replace("\\\\", "\\"))
        self.assertIn('te<b>', metrics(self.site))
        page = status(self.site).body
        self.assertNotIn(b"<b>", page)
        self.assertIn(b"\\u003cb>", page)


class TestAnswer(Case):
    """The page as an answer like any other."""

    @classmethod
    def start_shared(cls, scope):
        # An app that names the very path does not get it.
        cls.thief = Backend(scope)
        more = weir.app("thief", [cls.thief.text()], session=None, match=["path:" + PATH])
        cls.sites = [Site(scope, "", tail=EVERYBODY, front=front, apps=[more]) for front in ("fastcgi", "scgi")]
        cls.site = cls.sites[0]

    def test_page(self):
        for site in self.sites:
            with self.subTest(front=site.front):
                answer = status(site)
                self.assertEqual((answer.status, answer.complete), (200, True))
                self.assertEqual(int(answer.header("Content-Length")), len(answer.body))
                self.assertEqual(answer.header("Content-Type"), "text/html; charset=utf-8")
                self.assertEqual(answer.header("Cache-Control"), "no-store")
                self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff")
                policy = answer.header("Content-Security-Policy")
                self.assertTrue(policy.startswith("default-src 'none'; script-src 'sha256-"), policy)
                self.assertNotIn("unsafe", policy)

    def test_self_contained_and_small(self):
        page = status(self.site).body.decode()
        for link in re.findall(r'(?:src|href|action)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)|@import", page):
            self.assertRegex(link, r"^(data:|#hatch$|\?json$|\?openmetrics$)")
        self.assertLess(len(page), 48000)
        first = re.search(r'id="first">\n(.*?)</script>', page, re.S).group(1)
        self.assertEqual(json.loads(first)["node"], "test")

    def test_health(self):
        for site in self.sites:
            with self.subTest(front=site.front):
                answer = status(site, "health")
                self.assertEqual((answer.status, answer.body), (200, b"ready\n"))
                self.assertEqual(answer.header("Content-Type"), "text/plain; charset=utf-8")
                self.assertEqual(answer.header("Cache-Control"), "no-store")

    def test_head(self):
        for query in ("", "json", "openmetrics", "health", "nonsense"):
            with self.subTest(query=query), self.site.client() as client:
                full = status(self.site, query)
                answer = client.ask(self.site.params(query, PATH, method="HEAD"))
                self.assertEqual((answer.status, answer.body), (full.status, b""))
                self.assertEqual(answer.header("Content-Type"), full.header("Content-Type"))
                self.assertGreater(int(answer.header("Content-Length")), 5)
                self.assertEqual(client.ask(self.site.params()).status, 200)

    def test_methods(self):
        for site in self.sites:
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "get", ""):
                with self.subTest(method=method, front=site.front):
                    answer = site.ask(path=PATH, method=method or None, REQUEST_METHOD=method)
                    self.assertEqual((answer.status, answer.header("Allow")), (405, "GET, HEAD"))

    def test_a_body_that_nobody_reads(self):
        with self.site.client() as client:
            answer = client.ask(self.site.params(path=PATH, method="POST", body_length=300000), b"x" * 300000)
            self.assertEqual(answer.status, 405)
            self.assertEqual(client.ask(self.site.params("json", PATH)).status, 200)

    def test_queries(self):
        for query, code in (("", 200), ("json", 200), ("json=", 200), ("openmetrics", 200), ("openmetrics=", 200),
                            ("health", 200), ("health=", 200), ("health=1", 400),
                            ("x", 400), ("json&x", 400), ("JSON", 400), ("json=1", 400), ("openmetrics2", 400),
                            ("=", 400)):
            with self.subTest(query=query):
                self.assertEqual(status(self.site, query).status, code)
                # Without REQUEST_URI, and where only that has it.
                self.assertEqual(status(self.site, query, REQUEST_URI=None).status, code)
                self.assertEqual(status(self.site, query, QUERY_STRING=None).status, code)

    def test_paths(self):
        for uri, own in ((PATH, True), ("/x/..%2fweir-status", True), ("//weir-status", True),
                         ("/./weir-status?json", True), ("http://any.test/weir-status", True),
                         (PATH + "/", False), (PATH + "x", False), ("/", False),
                         ("/weir-statu", False), ("/a/weir-status", False), ("/Weir-Status", False)):
            with self.subTest(uri=uri):
                body = status(self.site, REQUEST_URI=uri, QUERY_STRING="").body
                self.assertEqual(b'"uptime_s"' in body, own, body[:200])

    def test_every_host(self):
        for host in ("a.test", "b.test:8080", "[::1]"):
            self.assertEqual(status(self.site, "json", host=host).status, 200)
        self.assertEqual([x for x in self.thief.requests if x.role == fcgi.RESPONDER and
                          x.params["REQUEST_URI"].split("?")[0] == PATH], [])

    def test_an_authorizer_is_asked_by_others(self):
        """An authorizer says whether a request may pass; a page as its answer would say yes."""
        before = len(self.thief.requests)
        with self.site.client() as client:
            answer = client.ask(self.site.params("", PATH), role=fcgi.AUTHORIZER)
        self.assertEqual((answer.status, len(self.thief.requests)), (200, before + 1))

    def test_beside_other_requests(self):
        """On one connection, while another request waits for its application."""
        with self.site.client() as client:
            client.start(self.site.params("gate=beside"), request_id=1)
            self.site.wait_at("beside")
            for number in range(2, 6):
                client.start(self.site.params("json", PATH), request_id=number)
            for number in (5, 3, 4, 2):
                self.assertEqual(json.loads(client.response(number).body)["requests"]["running"], 1)
            self.site.open("beside")
            self.assertEqual(client.response(1).status, 200)

    def test_many_at_once(self):
        def ask():
            for _ in range(20):
                for query in ("", "json", "openmetrics"):
                    self.assertEqual(status(self.site, query).status, 200)
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.assertEqual(self.site.ask("").status, 200)
        for thread in threads:
            thread.join()


class TestAccess(Case):
    @classmethod
    def start_shared(cls, scope):
        allow = '"127.0.0.0/8", "10.1.2.3", "::1", "2001:db8::/32"'
        cls.sites = [Site(scope, "", tail=SECTION % (PATH, allow), front=front) for front in ("fastcgi", "scgi")]

    def test_allowed(self):
        for where in ("127.0.0.1", "127.255.255.254", "10.1.2.3", "::ffff:10.1.2.3", "::ffff:127.0.0.1", "::1",
                      "0:0:0:0:0:0:0:1", "2001:db8::7", "2001:DB8:ffff::1"):
            for site in self.sites:
                with self.subTest(address=where, front=site.front):
                    self.assertEqual(status(site, "json", REMOTE_ADDR=where).status, 200)

    def refused(self, site, where, logged, **more):
        before = len(site.weir.lines("status_refused"))
        for query in ("", "json", "openmetrics", "nonsense"):
            answer = status(site, query, REMOTE_ADDR=where, **more)
            self.assertEqual((answer.status, answer.body), (403, b"403 Forbidden\n"))
        self.assertEqual(status(site, REMOTE_ADDR=where, method="POST", **more).status, 403)
        lines = site.weir.wait_line("status_refused", before + 5)[before:]
        self.assertEqual([line.partition(" address=")[2] for line in lines], [logged] * 5)

    def test_refused(self):
        for where, logged in (
                (None, "-"), ("", "-"), ("192.0.2.1", None), ("10.1.2.4", None), ("128.0.0.1", None), ("::2", None),
                ("2001:db9::1", None), ("::ffff:10.1.2.4", None), ("::127.0.0.1", None), ("localhost", None),
                ("unix:", None), ("127.0.0.1:80", None), ("[::1]", None), ("::1%lo", None), ("127.1", None),
                ("127.0.0.1/8", None), ("0x7f.0.0.1", None), ("127.0.0.1 ", '"127.0.0.1 "'), (" ::1", '" ::1"'),
                ("127.0.0.1\n", "127.0.0.1\\x0a")):
            for site in self.sites:
                with self.subTest(address=where, front=site.front):
                    self.refused(site, where, logged or where)

    def test_what_a_client_says_does_not_count(self):
        self.refused(self.sites[0], "192.0.2.1", "192.0.2.1", HTTP_X_FORWARDED_FOR="127.0.0.1", HTTP_REMOTE_ADDR="::1")

    def test_said_twice(self):
        """All of them must be allowed."""
        site = self.sites[0]
        for first, second, code in (("127.0.0.1", "192.0.2.1", 403), ("192.0.2.1", "127.0.0.1", 403),
                                    ("127.0.0.1", "::1", 200)):
            with self.subTest(first=first), site.client() as client:
                pairs = fcgi.pairs(site.params("json", PATH, REMOTE_ADDR=first)) + fcgi.pairs({"REMOTE_ADDR": second})
                client.send(fcgi.begin(), fcgi.stream(fcgi.PARAMS, 1, pairs), fcgi.stream(fcgi.STDIN, 1, b""))
                self.assertEqual(client.response().status, code)

    def test_refused_is_no_traffic(self):
        site = self.sites[0]
        before = document(site, REMOTE_ADDR="::1")["requests"]["begun"]
        status(site, REMOTE_ADDR="192.0.2.1")
        self.assertEqual(document(site, REMOTE_ADDR="::1")["requests"]["begun"], before)
        self.assertEqual(site.backend.requests, [])


class TestLife(Case):
    def test_without_the_section(self):
        site = Site(self.scope, "")
        self.assertEqual(json.loads(status(site).body)["REQUEST_URI"], PATH)

    def test_without_an_application(self):
        site = Site(self.scope, "", backend="fails = 1 backoff = 20s", tail=EVERYBODY)
        site.backend.refuse()
        self.assertEqual(site.ask("").status, 502)
        d = document(site)
        self.assertEqual((d["requests"]["5xx"], d["apps"][0]["backends"][0]["state"]), (1, "down"))
        self.assertIn('weir_backend_up{app="main",backend="%s"} 0' % site.backend.where, metrics(site))

    def test_waiting_requests_are_seen(self):
        site = Site(self.scope, "", backend="connections = 1", tail=EVERYBODY)
        with site.client() as one, site.client() as two:
            one.start(site.params("gate=g"))
            site.wait_at("g")
            two.start(site.params())
            wait.until(lambda: document(site)["apps"][0]["waiting"] == 1, "a request that waits")
            backend = document(site)["apps"][0]["backends"][0]
            self.assertEqual((backend["active"], backend["open"], backend["connections"]), (1, 1, 1))
            self.assertIn('weir_app_queue{app="main"} 1', metrics(site))
            site.open("g")
            self.assertEqual((one.response().status, two.response().status), (200, 200))

    def test_health_while_it_ends(self):
        site = Site(self.scope, "", tail=EVERYBODY + "admin { open = always }\n")
        admin.wait_open(site.weir)
        with site.client() as client:
            client.start(site.params("gate=end"))
            site.wait_at("end")
            ctl = ["-s", admin.path_of(site.weir)]
            self.assertEqual(admin.weirctl(*ctl, "health"), (0, "ready  yes\n", ""))
            self.assertEqual(admin.weirctl(*ctl, "drain")[0], 0)
            self.assertEqual(admin.weirctl(*ctl, "health"), (1, "", "weirctl: not ready: weir is ending\n"))
            site.open("end")
            self.assertEqual(client.response().status, 200)

    def test_without_a_disk(self):
        site = Site(self.scope, "", tail=EVERYBODY + "store { disk { max = 0 } }\n")
        site.ask("set=x")
        d = document(site)
        self.assertEqual((d["memory"]["sessions"], d["disk"]), (1, {"state": "none", "trouble": None}))
        self.assertNotIn("disk", metrics(site))

    def test_reload(self):
        """Another path and other addresses count from then on; the history of a backend that stays goes on."""
        site = Site(self.scope, "", tail=SECTION % (PATH, '"192.0.2.1"'))
        for _ in range(3):
            site.ask("")
        wait.until(lambda: sum(document(site)["apps"][0]["backends"][0]["requests_5s"]) == 3, "three in the history")
        with open(site.weir.config, encoding="utf-8") as f:
            text = f.read()
        with open(site.weir.config, "w", encoding="utf-8") as f:
            f.write(text.replace('path = "%s"' % PATH, 'path = "/other"').replace('"192.0.2.1"', '"192.0.2.2"'))
        site.weir.process.send(signal.SIGHUP)
        site.weir.wait_line("event=reloaded")
        self.assertEqual(json.loads(status(site).body)["REQUEST_URI"], PATH)
        self.assertEqual(status(site, path="/other").status, 403)
        later = {"path": "/other", "REMOTE_ADDR": "192.0.2.2"}
        d = wait.until(lambda: (lambda d: d["generation"] == 2 and d)(document(site, **later)), "the second generation")
        self.assertIsNotNone(d["reloaded_at"])
        self.assertEqual(d["requests"]["begun"], 4)
        wait.until(lambda: sum(document(site, **later)["apps"][0]["backends"][0]["requests_5s"]) == 4,
                   lambda: "four in the history: %s" % document(site, **later)["apps"])
        self.assertIn("weir_config_reloads_total 1", metrics(site, **later))


class TestNginx(Case):
    """With the locations that examples/nginx/status.conf shows."""

    @classmethod
    def start_shared(cls, scope):
        cls.site = Site(scope, "", where=address.tcp(), tail=SECTION % (PATH, '"127.0.0.1"'))
        example = scope.write("both.conf", "".join("include %s/nginx/%s;\n" % (servers.EXAMPLES, name)
                                                  for name in ("fastcgi.conf", "status.conf")))
        nginx = type("Nginx", (servers.Nginx,), {"example": example})(scope, cls.site.where, servers.EXAMPLES)
        cls.nginx = nginx.where

    def test_as_a_page(self):
        answer = web.ask(self.nginx, PATH)
        self.assertEqual((answer.status, answer.header("Content-Type")), (200, "text/html; charset=utf-8"))
        self.assertEqual(int(answer.header("Content-Length")), len(answer.body))
        self.assertEqual(json.loads(web.ask(self.nginx, PATH + "?json").body)["node"], "test")
        self.assertEqual(web.ask(self.nginx, PATH + "?x").status, 400)
        self.assertEqual(web.ask(self.nginx, PATH, "POST", b"x").status, 405)
        head = web.ask(self.nginx, PATH, "HEAD")
        self.assertEqual((head.status, head.body), (200, b""))

    def test_metrics_at_their_usual_place(self):
        answer = web.ask(self.nginx, "/metrics", headers={"Accept": STRICT})
        self.assertEqual((answer.status, answer.header("Content-Type")), (200, STRICT_TYPE))
        self.assertTrue(answer.body.endswith(b"# EOF\n"))
        answer = web.ask(self.nginx, "/metrics?json", headers={"Accept": "*/*"})
        self.assertEqual((answer.status, answer.header("Content-Type")), (200, CLASSIC_TYPE))

    def test_health_for_a_load_balancer(self):
        answer = web.ask(self.nginx, "/weir-health")
        self.assertEqual((answer.status, answer.body), (200, b"ready\n"))

    def prometheus(self, scrape):
        where = address.tcp()
        config = self.scope.write("prometheus.yml", "global:\n  scrape_interval: 1s\nscrape_configs:\n" + scrape)
        server = process.Process("prometheus", [
            process.find("prometheus"), "--config.file=" + config, "--web.listen-address=" + where,
            "--storage.tsdb.path=" + self.scope.path("tsdb"), "--log.level=warn"], self.scope.fresh("prometheus.log"))
        self.scope.show(server)
        self.scope.at_end(server.stop)
        address.wait_accepts(where, server)

        def ask(path):
            try:
                with urllib.request.urlopen("http://%s/api/v1/%s" % (where, path), timeout=wait.BOUND) as answer:
                    return json.load(answer)["data"]
            except urllib.error.HTTPError as error:
                if error.code == 503:  # it is still starting
                    return None
                raise
        return ask

    def test_prometheus_scrapes_it(self):
        """As doc/status.md says it: through nginx, in both ways."""
        self.site.ask("")
        target = '    static_configs: [{ targets: ["%s"] }]\n' % self.nginx
        params = '    params: { openmetrics: [""] }\n'
        ask = self.prometheus("  - job_name: direct\n    metrics_path: " + PATH + "\n" + params + target +
                              "  - job_name: usual\n" + target)

        def up():
            targets = (ask("targets") or {"activeTargets": []})["activeTargets"]
            return len(targets) == 2 and all(t["health"] != "unknown" for t in targets) and targets
        for target in wait.until(up, "two scrapes"):
            self.assertEqual((target["health"], target["lastError"]), ("up", ""))
        wait.until(lambda: len(ask("query?query=weir_requests_total")["result"]) == 2, "the numbers of both")
        for row in ask("query?query=weir_requests_total")["result"]:
            self.assertGreaterEqual(int(row["value"][1]), 1)
        kinds = {row["metric"]: row["type"] for row in ask("targets/metadata?limit=1000")}
        self.assertEqual((kinds["weir_requests"], kinds["weir_sessions"], kinds["weir_request_duration_seconds"]),
                         ("counter", "gauge", "histogram"))
