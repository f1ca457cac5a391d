"""The part of the status page that shows a cluster of several nodes, in a real browser."""
import json
import re

from harness import cluster, lone, servers, wait, web, weir
from harness.case import Case
from harness.chromium import Chromium
from harness.status import PATH, SECTION

CELLS = 96


def member(name, **more):
    return dict({"name": name, "incarnation": "00", "address": "10.0.0.%d:7400" % (1 + ord(name[0]) - ord("a")), "zone": "",
                 "url": "", "voter": True, "witness": False, "leaving": False, "heard": True, "epoch": 41,
                 "linked_incarnation": None, "buckets": {"shop": 24}}, **more)


def link(peer, state="open"):
    return {"peer": peer, "link": "control", "state": state}


def troubled(cluster):
    """The cluster of a document, as if it had five nodes and everything that can be wrong with them."""
    members = [member("alpha", zone="rack-1"), member("beta", zone="rack-1"),
               member("charlie", zone="rack-2", heard=False, epoch=40),
               member("delta", leaving=True, voter=False, zone="rack-2", buckets={"shop": 0, "blog": 16}),
               member("witness", witness=True, buckets={})]
    managers = [i * 4 // CELLS for i in range(CELLS)]
    app = {"name": "shop", "buckets": CELLS, "lost": 24, "managers": {"alpha": 24, "beta": 24, "charlie": 24, "delta": 24},
           "settings": "mode=managed ttl=30m buckets=96",
           "disagree": [{"node": "beta", "settings": "mode=managed ttl=1h buckets=96"}]}
    blog = {"name": "blog", "buckets": 16, "lost": 0, "managers": {"delta": 16}, "settings": None, "disagree": []}
    return dict(
        cluster, name="eu", node="alpha", state="fenced", fenced=True, epoch=41, coordinator="beta", majority=False,
        voters=["alpha", "beta", "charlie", "echo", "witness"], members=members, apps=[app, blog],
        outside=[{"name": "zulu", "incarnation": "01", "heard": True, "epoch": None}],
        trouble=[{"node": "alpha", "what": "is fenced: requests that need a session get 503"},
                 {"node": "echo", "what": "has a vote and is no member: start it, or forget it"},
                 {"node": "charlie", "what": "is not heard: Connection refused"},
                 {"node": "zulu", "what": "is linked, and no member"}],
        maps=[{"app": "shop", "buckets": CELLS, "managers": managers, "lost": list(range(24, 48))},
              {"app": "blog", "buckets": 16, "managers": [3] * 16, "lost": []}],
        links=[link("beta"), link("beta"), link("charlie", "dialling"), link("charlie", "dialling"), link("delta"),
               link("delta"), link("witness"), link("witness")])


class TestMadeUp(Case):
    """What a page shows that is told all of this."""

    def setUp(self):
        super().setUp()
        self.site, self.nginx, self.browser = lone.browsed(self.scope)

    def show(self, change):
        d = wait.until(lambda: (lambda d: d["cluster"] and d["cluster"]["members"] and d)(
            json.loads(web.ask(self.nginx.where, PATH + "?json").body)), "a cluster")
        d["cluster"] = change(d["cluster"])
        # As if nobody looked: it does not ask by itself any more.
        self.browser.run('Object.defineProperty(document, "hidden", { value: true, configurable: true }); show(%s)' %
                         json.dumps(d))

    def texts(self, selector):
        return self.browser.run("[...document.querySelectorAll(%s)].map(e => e.innerText.trim())" % json.dumps(selector))

    def test_members(self):
        self.show(troubled)
        self.assertEqual(self.browser.text("#cluster-state"), "fenced")
        self.assertEqual(self.browser.run("document.title"), "fenced: test · weir")
        self.assertRegex(self.browser.text("#cluster-words"),
                         r"^Epoch 41 · 5 members · beta coordinates · alpha, beta, charlie, echo, witness vote, no majority "
                         r"heard · certificate until [A-Z][a-z]{2} \d+, 20\d\d$")
        self.assertEqual(self.texts("#members tbody th"),
                         ["alpha (this node) rack-1, votes", "beta rack-1, votes", "charlie rack-2, votes", "delta rack-2",
                          "witness votes"])
        self.assertEqual(self.texts("#members tbody td:nth-of-type(1)"),
                         ["fenced", "coordinator", "not heard", "leaving", "witness"])
        self.assertEqual(self.texts("#members td.odd"), ["40", "0 of 2"])

    def test_trouble(self):
        self.show(troubled)
        self.assertEqual(self.texts("#cluster-trouble li"), [
            "alpha is fenced: requests that need a session get 503.",
            "echo has a vote and is no member: start it, or forget it.",
            "charlie is not heard: Connection refused.",
            "zulu is linked, and no member.",
            "beta has other settings of shop, and manages nothing of it: ttl=1h and not ttl=30m."])
        self.show(lambda c: dict(troubled(c), trouble=[], apps=[dict(a, disagree=[]) for a in troubled(c)["apps"]]))
        self.assertEqual(self.browser.run("document.querySelector('#cluster-trouble').offsetHeight"), 0)

    def test_names_are_only_text(self):
        odd = "<img src=x onerror=alert(1)>"
        self.show(lambda c: dict(troubled(c), trouble=[{"node": odd, "what": odd}], coordinator=odd))
        self.assertEqual(self.texts("#cluster-trouble li")[0], "%s %s." % (odd, odd))
        self.assertEqual((self.browser.run("document.querySelectorAll('img').length"), self.browser.complaints), (0, []))

    def test_maps(self):
        """A colour for each manager, the same as the chip before its name, in shares as they are."""
        self.show(troubled)
        shares = self.browser.run("""[...document.querySelectorAll("svg.strip")].map(strip => [...strip.children].map(
            path => [path.getAttribute("class"), Math.round(path.getBBox().x), Math.round(path.getBBox().width)]))""")
        quarters = [["m%d" % i, 256 * i, 256] for i in range(4)]
        self.assertEqual(shares, [quarters + [["m4", 0, 0], ["lost", 256, 256]],
                                  [["m%d" % i, 0, 0] for i in range(3)] + [["m3", 0, 1024], ["m4", 0, 0], ["lost", 0, 0]]])
        fills = self.browser.run("""[...document.querySelectorAll("svg.chip rect")].map(r => getComputedStyle(r).fill)""")
        self.assertEqual(len(set(fills)), 5)
        self.assertEqual(self.browser.run("""[...document.querySelector("svg.strip").children].slice(0, 5).map(p =>
            getComputedStyle(p).fill)"""), fills)
        self.assertEqual(self.texts(".map h3"), ["shop\n96 buckets, 24 not asked about yet", "blog\n16 buckets"])

    def test_fits_the_window(self):
        self.show(troubled)
        for width in (320, 390, 700, 1000, 1600):
            self.browser.look(width, 800, width == 390)
            self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), width)


class TestThree(cluster.Case):
    """Three nodes, as one of them shows them."""

    def test_what_happens_is_seen(self):
        app = weir.app("shop", ['backend "unix:%s" { }' % self.scope.path("nobody")])
        self.c = c = self.cluster("a", "b", "c", kind="loopback", apps=[app, SECTION % (PATH, '"127.0.0.1"')])
        c.start()
        c.wait_agree("abc")
        nginx = servers.Nginx(self.scope, c["a"].where, servers.EXAMPLES)
        self.browser = browser = Chromium(self.scope)
        browser.open("http://%s%s" % (nginx.where, PATH))
        self.shows("#cluster-state", "^member$")
        self.shows("#cluster-words", r"· 3 members · . coordinates · a, b, c vote, majority heard")
        self.assertEqual(self.trouble(), "")
        self.assertEqual(browser.run('document.querySelector("svg.strip").getAttribute("aria-label")').split(":")[0],
                         "Buckets of shop")
        c["c"].kill()
        self.shows("#cluster-trouble", r"^c has a vote and is no member: start it, or forget it\.$")
        self.shows("#cluster-words", r"· 2 members · . coordinates · a, b, c vote, majority heard")
        self.assertEqual(c["a"].ask("cluster")["trouble"],
                         [{"node": "c", "what": "has a vote and is no member: start it, or forget it"}])
        c["b"].kill()
        self.shows("#cluster-state", "^fenced$")
        self.shows("#cluster-trouble", r"a is fenced: requests that need a session get 503\. "
                                       r"a hears no majority of the voters\.")
        self.shows("#cluster-trouble", r"b is not heard")
        code, text, _ = c["a"].weirctl("cluster")
        self.assertEqual(code, 0)
        self.assertRegex(text, r"(?m)^trouble\n  NODE  WHAT\n  a     is fenced: requests that need a session get 503\n")
        c.start("b", "c")
        c.wait_agree("abc")
        self.shows("#cluster-state", "^member$")
        wait.until(lambda: self.trouble() == "", self.trouble)
        self.assertEqual(browser.complaints, [])

    def trouble(self):
        return self.browser.text("#cluster-trouble")

    def shows(self, selector, pattern):
        wait.until(lambda: re.search(pattern, self.browser.text(selector)), lambda: "%s shows %s: %s" % (
            selector, pattern, self.browser.text("#cluster")))
