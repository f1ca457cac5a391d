"""What examples/ and `make demo` show: it runs as it stands."""
import http.client
import json
import os
import re
import signal
import subprocess

from harness import address, apps, case, cgi, chromium, cluster, process, servers, wait, web, weir
from harness.backend import Backend
from harness.case import Case
from harness.site import Front

APPS = os.path.join(case.TREE, "examples", "apps")
START_S = 90  # the demo builds what is not built yet


class TestDemo(Case):
    def demo(self, port, app="counter", nodes=1):
        env = {"PORT": str(port), "APP": app, "NODES": str(nodes), "TMPDIR": self.scope.dir, "MAKEFLAGS": ""}
        argv = [os.path.join(case.TREE, "tools", "demo")]
        demo = process.Process("demo", argv, self.scope.fresh("demo.log"), env=env)
        self.scope.show(demo)
        self.scope.at_end(demo.stop)
        return demo

    def visit(self, port, jar):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=wait.BOUND)
        try:
            connection.request("GET", "/", headers={"Cookie": jar.header()} if jar.header() else {})
            response = connection.getresponse()
            text = response.read().decode()
            jar.take(response.msg.get_all("Set-Cookie") or [])
            self.assertEqual(response.status, 200, text)
            return int(re.search(r"class=visits>(\d+)<", text).group(1))
        finally:
            connection.close()

    def start(self, port, app, nodes=1):
        """(demo, its folder) when it says that it runs."""
        demo = self.demo(port, app, nodes)

        def ready():
            self.assertIsNone(demo.poll(), demo.log())
            return "Ctrl-C" in demo.log()
        wait.until(ready, lambda: "the demo says that it runs: " + demo.log(), START_S, 0.05)
        folder = re.search(r"runs with (\S+)/weir\.conf|-c (\S+)/a\.conf", demo.log())
        folder = folder.group(1) or folder.group(2)
        self.assertTrue(os.path.isdir(folder), folder)
        return demo, folder

    def assert_leaves_nothing(self, demo, folder, port, at_least):
        children = process.children(demo.pid)
        self.assertGreaterEqual(len(children), at_least)
        os.killpg(demo.pid, signal.SIGINT)  # Ctrl-C is for all in the foreground
        self.assertEqual(demo.wait(40), 0)
        self.assertTrue(address.refuses("127.0.0.1:%d" % port))
        self.assertFalse(os.path.exists(folder), "the folder is still there")
        self.assertEqual([p for p in children if process.alive(p)], [])

    def test_counts_and_leaves_nothing_behind(self):
        port = address.free_port()
        demo, folder = self.start(port, "counter")
        jar, other = cgi.Jar(), cgi.Jar()
        self.assertEqual([self.visit(port, jar) for _ in range(3)], [1, 2, 3])
        self.assertEqual(self.visit(port, other), 1)
        self.assert_leaves_nothing(demo, folder, port, 2)

    def test_the_shop(self):
        """With a browser, as a visitor uses it."""
        port = address.free_port()
        demo, folder = self.start(port, "php")
        browser = chromium.Chromium(self.scope)
        browser.open("http://127.0.0.1:%d/" % port)
        self.assertEqual(browser.text("#empty"), "Nothing yet.")
        for name in ("mug", "mug", "lamp"):
            browser.click("button[name=add][value=%s]" % name)
        self.assertEqual((browser.text("#number"), browser.text("#total")), ("3 in all", "61.50 \u20ac"))
        browser.click("button[name=drop][value=mug]")
        browser.run("document.querySelector('input[name=who]').value = 'Ada <Lovelace>'")
        browser.click("header button")
        self.assertEqual((browser.text("#who"), browser.text("#number")), ("Ada <Lovelace>", "2 in all"))
        browser.click("header button")
        self.assertEqual((browser.text("#who"), browser.text("#empty"), browser.complaints), ("", "Nothing yet.", []))
        self.assert_leaves_nothing(demo, folder, port, 3)

    def test_a_cluster(self):
        """Three nodes, of which one is killed as the demonstration says, and comes back."""
        port = address.free_port()
        demo, folder = self.start(port, "counter", 3)
        jar = cgi.Jar()
        self.assertEqual([self.visit(port, jar) for _ in range(3)], [1, 2, 3])
        for name in "abc":
            wait.until(lambda: [m["name"] for m in self.cluster_of(port, name)["members"]] == list("abc"),
                       lambda: "three members: %r" % self.cluster_of(port, name))
        wait.until(lambda: "goes by view" in demo.log(), "a view is shown")
        said = re.search(r"node b: (kill -9 \d+), and again: (\S+ -c \S+/b\.conf) &", demo.log())

        def shows(members):
            last = demo.log().rpartition("goes by view")[2]
            return re.findall(r"(?m)^demo +(\S+) ", last) == list(members)
        wait.until(lambda: shows("abc"), demo.log)
        subprocess.run(said.group(1).split(), check=True)
        wait.until(lambda: shows("ac"), demo.log)
        subprocess.Popen(said.group(2).split(), cwd=case.TREE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         start_new_session=True)
        wait.until(lambda: shows("abc"), demo.log)
        self.assert_leaves_nothing(demo, folder, port, 3)

    def cluster_of(self, port, name):
        return json.loads(self.get(port, "/node-%s?json" % name))["cluster"]

    def get(self, port, path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=wait.BOUND)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def refused(self, port, app="counter", nodes=1):
        demo = self.demo(port, app, nodes)
        self.assertNotEqual(demo.wait(START_S), 0)
        self.assertEqual([name for name in os.listdir(self.scope.dir) if name.startswith("weir-demo")], [])
        return demo.log()

    def test_port_in_use(self):
        # Somebody who takes connections and says nothing.
        with address.listen(address.tcp()) as taken:
            port = taken.getsockname()[1]
            self.assertRegex(self.refused(port), r"127\.0\.0\.1:%d is in use" % port)

    def test_no_such_application(self):
        self.assertIn("neither counter nor php", self.refused(address.free_port(), "ruby"))

    def test_no_number_of_nodes(self):
        for nodes in ("0", "8", "many"):
            with self.subTest(nodes=nodes):
                self.assertIn("not a number of nodes", self.refused(address.free_port(), nodes=nodes))
        self.assertIn("APP=counter", self.refused(address.free_port(), "php", 3))

    def test_no_port(self):
        for port in ("99999", "0", "http", "-1", "80 80"):
            with self.subTest(port=port):
                self.assertIn("not a port number", self.refused(port))


class TestNginxBeforeACluster(cluster.Case):
    """nginx/cluster.conf: each visitor has one node, and only those of a dead one go elsewhere."""

    @staticmethod
    def count(x):
        visits = int(x.params.get("SESSION_DATA") or 0) + 1
        x.out(b"Weir-Session-Data: %d\r\nContent-Type: text/plain\r\n\r\n%d" % (visits, visits))
        x.end()

    def visit(self, jar):
        answer = web.ask(self.nginx.where, "/", headers={"Cookie": jar.header()} if jar.header() else {})
        self.assertEqual(answer.status, 200, answer.body)
        jar.take(answer.all("Set-Cookie"))
        return int(answer.body)

    def sessions(self):
        return [node.ask("status")["memory"]["sessions"] for node in self.c if node.running]

    def test_visitors_stay(self):
        self.c = c = self.cluster("a", "b", "c", kind="loopback",
                                  apps=[weir.app("shop", [Backend(self.scope, self.count).text()])])
        c.start()
        c.wait_agree("abc")
        self.nginx = servers.NginxCluster(self.scope, [node.where for node in c], servers.EXAMPLES)
        jars = [cgi.Jar() for _ in range(36)]
        for n in (1, 2, 3):
            self.assertEqual([self.visit(jar) for jar in jars], [n] * len(jars))
        before = self.sessions()
        self.assertEqual(sum(before), len(jars))
        self.assertNotIn(0, before)
        c["b"].kill()
        c.wait_agree("ac")
        visits = [self.visit(jar) for jar in jars]
        self.assertEqual(sorted(visits), [1] * before[1] + [4] * (before[0] + before[2]))


class TestApps(Case):
    def front(self, backend):
        where = self.scope.unix("f")
        gateway = weir.Weir(self.scope, [(where, "fastcgi", "")], [weir.app("counter", [backend], session="")])
        return Front(where, "fastcgi", gateway)

    def count(self, front, **more):
        jar = cgi.Jar()

        def visit(jar, query=""):
            answer = front.ask(query, jar=jar, **more)
            self.assertIn(answer.status, (200, 303), answer)
            found = re.search(rb"Visit (\d+)", answer.body)
            return int(found.group(1)) if found else None
        self.assertEqual([visit(jar) for _ in range(3)], [1, 2, 3])
        self.assertEqual(visit(cgi.Jar()), 1)
        visit(jar, "end=1" if more else "end")
        self.assertIsNone(jar.header(), "the cookie of a session that has ended")
        self.assertEqual(visit(jar), 1)

    def test_counter_scgi(self):
        where = self.scope.unix("app")
        app = process.Process("counter_scgi", [process.find("python3"), "-B", os.path.join(APPS, "counter_scgi.py"),
                                               "--listen", where], self.scope.fresh("counter.log"))
        self.scope.show(app)
        self.scope.at_end(app.stop)
        address.wait_accepts(where, app)
        self.count(self.front('backend "%s" { protocol = scgi }' % where))

    def test_counter_php(self):
        self.count(self.front(apps.PhpFpm(self.scope, processes=2).text()),
                   SCRIPT_FILENAME=os.path.join(APPS, "counter.php"))
