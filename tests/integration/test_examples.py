"""What examples/ and `make demo` show: it runs as it stands."""
import http.client
import os
import re
import signal

from harness import address, apps, case, cgi, chromium, process, wait, weir
from harness.case import Case
from harness.site import Front

APPS = os.path.join(case.TREE, "examples", "apps")
START_S = 90  # the demo builds what is not built yet


class TestDemo(Case):
    def demo(self, port, app="counter"):
        env = {"PORT": str(port), "APP": app, "TMPDIR": self.scope.dir, "MAKEFLAGS": ""}
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

    def start(self, port, app):
        """(demo, its folder) when it says that it runs."""
        demo = self.demo(port, app)

        def ready():
            self.assertIsNone(demo.poll(), demo.log())
            return "Ctrl-C" in demo.log()
        wait.until(ready, lambda: "the demo says that it runs: " + demo.log(), START_S, 0.05)
        folder = re.search(r"runs with (\S+)/weir\.conf", demo.log()).group(1)
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

    def refused(self, port, app="counter"):
        demo = self.demo(port, app)
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

    def test_no_port(self):
        for port in ("99999", "0", "http", "-1", "80 80"):
            with self.subTest(port=port):
                self.assertIn("not a port number", self.refused(port))


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
