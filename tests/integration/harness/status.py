"""The status page asked and read, and traffic of which is known what must be counted."""
import json

from . import cgi, wait

PATH = "/weir-status"
SECTION = 'status { path = "%s" allow = { %s } }\n'
EVERYBODY = SECTION % (PATH, '"0.0.0.0/0", "::/0"')
STRICT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def status(site, query="", path=PATH, **more):
    return site.ask(query, path=path, **more)


def document(site, **more):
    answer = status(site, "json", **more)
    if answer.status != 200:
        raise AssertionError("no document: %r" % answer)
    return json.loads(answer.body)


def metrics(site, accept=STRICT, **more):
    answer = status(site, "openmetrics", HTTP_ACCEPT=accept, **more)
    if answer.status != 200:
        raise AssertionError("no metrics: %r" % answer)
    return answer.body.decode()


def at_rest(site):
    """The document when no request runs any more and all connections but this one are closed."""
    return wait.until(lambda: (lambda d: d["requests"]["running"] == 0 and d["connections"] == 1 and d)(document(site)),
                      lambda: "rest: %s" % document(site)["requests"])


def traffic(site):
    """One of each kind. What it must have been counted as is in COUNTS."""
    jar = cgi.Jar()
    for query in ("", "set=x", "", "status=404", "status=302"):
        site.ask(query, jar=jar)
    site.ask("", jar=jar, body=b"x" * 1000)
    site.ask("status=500")
    site.ask("die=1", method="POST", body=b"y")  # which must not be repeated: 502
    with site.client() as client:  # cut behind its head
        client.start(site.params("gate=cut&head=1&die=1"))
        client.wait_output(1, 1)
        site.open("cut")
        client.response()
    with site.client() as client:  # the web server goes away
        client.start(site.params("gate=gone"))
        site.wait_at("gone")
    wait.until(lambda: document(site)["requests"]["aborted"], "the abort")
    site.open("gone")
    with site.client() as client:  # a role that is none
        client.start(site.params(), role=9)
        client.response()


COUNTS = {"begun": 11, "running": 0, "ok": 7, "failed": 3, "aborted": 1, "1xx": 0, "2xx": 4, "3xx": 1, "4xx": 1,
          "5xx": 2, "no_status": 2, "errors": 4, "in_bytes": 1001, "session_none": 6, "session_new": 1,
          "session_live": 3}
