"""What a person sees on the status page, in a real browser."""
import re
import signal
import time

from harness import address, cgi, servers, wait, weir
from harness.case import Case
from harness.chromium import Chromium
from harness.site import Site
from harness.status import COUNTS, PATH, SECTION, at_rest, document, traffic


class TestBrowser(Case):
    def setUp(self):
        super().setUp()
        odd = "unix:" + self.scope.path("<img onerror=alert(1) src=x>")
        app = weir.app("odd", ['backend "%s" { protocol = scgi }' % odd], session=None, match=["path:/odd"])
        tail = SECTION % (PATH, '"127.0.0.1", "192.0.2.1"')
        self.site = Site(self.scope, "", where=address.tcp(), tail=tail, apps=[app])
        self.nginx = servers.Nginx(self.scope, self.site.where, servers.EXAMPLES)
        self.browser = Chromium(self.scope)
        self.url = "http://%s%s" % (self.nginx.where, PATH)

    def shows(self, selector, number):
        wait.until(lambda: self.browser.number(selector) == number,
                   lambda: "%s shows %d: %s" % (selector, number, self.browser.text("body")))

    def of(self, key):
        return '[data-of="%s"]' % key

    def test_numbers(self):
        traffic(self.site)
        d = at_rest(self.site)
        browser = self.browser
        browser.open(self.url)
        # With the first look, before it has asked for anything.
        self.assertEqual(browser.run("performance.getEntriesByType('resource').map(e => e.name)"), [])
        for key in ("begun", "running", "errors", "aborted", "2xx", "3xx", "4xx", "5xx", "no_status", "session_none",
                    "session_new", "session_live"):
            self.assertEqual(browser.number(self.of("requests." + key)), COUNTS[key], key)
        self.assertEqual(browser.number(self.of("memory.sessions")), 1)
        self.assertEqual((browser.text("h1"), browser.text("#state")), ("test", "running"))
        self.assertIn("weir " + d["version"], browser.text("#about"))
        row = "#apps tbody:nth-of-type(2) tr:nth-child(2) "
        self.assertEqual(browser.text(row + "th"), self.site.backend.where)
        self.assertEqual(browser.text(row + "td:nth-of-type(1)"), "ready")
        self.assertEqual(browser.number(row + "td:nth-of-type(4)"), len(self.site.backend.requests))
        self.assertEqual(browser.number(row + "td:nth-of-type(5)"), 2)
        self.assertEqual(browser.complaints, [])

    def test_refreshes_in_place(self):
        browser = self.browser
        browser.open(self.url)
        self.shows(self.of("requests.begun"), 0)
        browser.run("""window.seen = [...document.querySelectorAll("main *")]; window.made = [];
            new MutationObserver(all => all.forEach(m => made.push(...[...m.addedNodes, ...m.removedNodes]
                .filter(n => n.nodeType === Node.ELEMENT_NODE).map(n => n.nodeName))))
                .observe(document.body, { childList: true, subtree: true })""")
        jar = cgi.Jar()
        for query in ("set=x", "", "", "status=500"):
            self.site.ask(query, jar=jar)
        self.shows(self.of("requests.begun"), 4)
        self.shows("#errors", 1)
        self.shows(self.of("memory.sessions"), 1)
        wait.until(lambda: float(browser.text("#rate")) > 0, "a rate")
        wait.until(lambda: browser.run("document.querySelector('#g-rate path.area').getAttribute('d')"), "a graph")
        label = browser.run("document.querySelector('#g-rate').getAttribute('aria-label')")
        self.assertRegex(label, r"^Requests a second, the last five minutes: now [0-9.]+, at most [0-9.]+$")
        self.site.ask("")
        self.shows(self.of("requests.begun"), 5)
        # The same elements all along, none made and none taken away.
        self.assertEqual(browser.run("[seen.filter(e => !e.isConnected).length, made.join()]"), [0, ""])
        self.assertEqual(browser.complaints, [])

    def test_names_are_only_text(self):
        self.browser.open(self.url)
        self.assertIn("<img onerror=alert(1) src=x>", self.browser.text("#apps"))
        self.assertEqual(self.browser.run("document.querySelectorAll('img').length"), 0)
        self.assertEqual(self.browser.complaints, [])

    def test_fits_the_window(self):
        self.browser.open(self.url)
        for width in (320, 390, 700, 1000, 1600):
            for dark in (False, True):
                with self.subTest(width=width, dark=dark):
                    self.browser.look(width, 800, dark)
                    self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), width)
                    ground = self.browser.run("getComputedStyle(document.body).backgroundColor")
                    self.assertEqual(max(map(int, re.findall(r"\d+", ground))) < 100, dark, ground)

    def test_backends_look_alike_on_a_small_screen(self):
        """Name and state, the rate, the connections, the counts: below each other, whatever the state is called."""
        for _ in range(3):
            self.site.ask("", path="/odd")
        wait.until(lambda: document(self.site)["apps"][0]["backends"][0]["state"] == "down", "one is down")
        self.browser.look(390, 800, False)
        self.browser.open(self.url)
        rows = self.browser.run("""[...document.querySelectorAll("#apps tbody tr:not(:first-child)")].map(row =>
            [...row.children].map(cell => (r => [r.left, r.right, r.top, r.bottom])(cell.getBoundingClientRect())))""")
        self.assertEqual(len(rows), 2)
        for name, state, rate, connections, requests, failures in rows:
            for left, right in ((name, state), (requests, failures)):
                self.assertLessEqual(left[1], right[0])
                self.assertLess(max(left[2], right[2]), min(left[3], right[3]))
            for above, below in ((name, rate), (rate, connections), (connections, requests)):
                self.assertLessEqual(above[3], below[2])

    def test_says_when_the_connection_is_lost(self):
        browser = self.browser
        browser.open(self.url)
        self.assertEqual(browser.text("#link"), "")
        self.nginx.process.stop(signal.SIGKILL)
        wait.until(lambda: "Connection lost" in browser.text("#link"),
                   lambda: "the page says so: " + browser.text("body"))
        self.assertEqual(browser.number(self.of("requests.begun")), 0)

    def test_says_when_it_is_refused_and_comes_back(self):
        browser = self.browser
        browser.open(self.url)
        with open(self.site.weir.config, encoding="utf-8") as f:
            text = f.read()
        for allow, begins in (("192.0.2.77", "Connection lost (HTTP 403)"), ("127.0.0.1", "")):
            with open(self.site.weir.config, "w", encoding="utf-8") as f:
                f.write(text.replace('"127.0.0.1"', '"%s"' % allow))
            self.site.weir.process.send(signal.SIGHUP)
            wait.until(lambda: browser.text("#link").startswith(begins) and bool(browser.text("#link")) == bool(begins),
                       lambda: "the page says %r: %r" % (begins, browser.text("#link")))

    def test_rests_while_nobody_looks(self):
        browser = self.browser

        def asked():
            return document(self.site)["requests"]["status_page"]
        browser.open(self.url)
        browser.run("""Object.defineProperty(document, "hidden", { value: true, configurable: true })""")
        before = asked()
        time.sleep(5)  # two times and a half what it waits
        self.assertLessEqual(asked(), before + 2)  # ours, and the one under way
        browser.run("""Object.defineProperty(document, "hidden", { value: false, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"))""")
        self.site.ask("")
        self.shows(self.of("requests.begun"), 1)
