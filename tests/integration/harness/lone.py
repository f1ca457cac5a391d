"""A node with a section cluster, on a loopback address and without others: it is a cluster of its own, or, with a peer that
is not there, one that seeks and is fenced."""
from . import address, authority


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
