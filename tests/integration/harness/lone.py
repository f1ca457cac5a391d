"""A node with a section cluster, on a loopback address and without others: it is a cluster of its own, or, with a peer that
is not there, one that seeks and is fenced."""
from . import address, authority, servers
from .chromium import Chromium
from .site import Site
from .status import PATH, SECTION


class Lone:
    """What goes into its file: `tail`. Its certificate can be exchanged under it."""

    def __init__(self, scope, peers=False, more=""):
        self.authority = authority.Authority(scope)
        self.where = address.tcp()
        self.nobody = address.tcp()
        self.identity = self.authority.issue("test")
        self.peers, self.more = peers, more

    @property
    def tail(self):
        said = {"listen": '"%s"' % self.where, "certificate": '"%s"' % self.identity[0], "key": '"%s"' % self.identity[1],
                "ca": '"%s"' % self.authority.ca, "crl": '"%s"' % self.authority.crl, "buckets": "16"}
        if self.peers:
            said["peers"] = '{ "%s" }' % self.nobody
        return 'cluster "eu" {\n%s\n%s\n}\n' % ("\n".join("  %s = %s" % item for item in said.items()), self.more)


def browsed(scope):
    """(such a node, the nginx before it, a browser that looks at its status page)"""
    site = Site(scope, "", where=address.tcp(), tail=Lone(scope).tail + SECTION % (PATH, '"127.0.0.1"'))
    nginx = servers.Nginx(scope, site.where, servers.EXAMPLES)
    browser = Chromium(scope)
    browser.open("http://%s%s" % (nginx.where, PATH))
    return site, nginx, browser
