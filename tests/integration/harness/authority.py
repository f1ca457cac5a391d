"""A cluster's authority and the certificates of its nodes: those that `weirctl pki` makes, and bad ones, which it does
not make."""
import os
import subprocess
import time

from . import admin, process

OPENSSL = """
[ca]
default_ca = here
[here]
database = %(dir)s/database
new_certs_dir = %(dir)s
serial = %(dir)s/serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[node]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = %(names)s
"""


def stamp(seconds):
    """A moment as openssl(1) wants it, that far from now."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))


class Authority:
    def __init__(self, scope, cluster="eu", name="pki"):
        self.scope, self.cluster = scope, cluster
        self.dir = scope.fresh(name)
        self.weirctl("init", self.dir, "--cluster", cluster)

    @staticmethod
    def weirctl(*words):
        code, out, err = admin.weirctl("pki", *words)
        if (code, err) != (0, ""):
            raise AssertionError("weirctl pki %s: %d %s%s" % (" ".join(words), code, out, err))
        return out

    def file(self, name):
        return os.path.join(self.dir, name)

    @property
    def ca(self):
        return self.file("ca.pem")

    @property
    def crl(self):
        return self.file("crl.pem")

    def issue(self, node, *more):
        """(certificate, key); --force as `more` renews it in its place."""
        self.weirctl("issue", self.dir, node, *more)
        return self.file(node + ".pem"), self.file(node + ".key")

    def revoke(self, node):
        self.weirctl("revoke", self.dir, node)

    def issue_odd(self, node, begin=-86400, end=86400, names=None):
        """(certificate, key) of a certificate that weirctl would not make, in a folder of its own: good from `begin` to
        `end`, in seconds from now; names: its subject alternative names, as openssl(1) has them."""
        folder = self.scope.fresh("odd")
        os.mkdir(folder)
        with open(os.path.join(folder, "openssl.cnf"), "w") as f:
            f.write(OPENSSL % {"dir": folder, "names": names or "URI:weir://%s/%s" % (self.cluster, node)})
        open(os.path.join(folder, "database"), "w").close()
        with open(os.path.join(folder, "serial"), "w") as f:
            f.write("%016X\n" % time.time_ns())
        key, request, pem = (os.path.join(folder, node + e) for e in (".key", ".csr", ".pem"))
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                      "-out", request, "-subj", "/CN=" + node)
        self._openssl("ca", "-batch", "-config", os.path.join(folder, "openssl.cnf"), "-cert", self.ca, "-keyfile",
                      self.file("ca.key"), "-in", request, "-out", pem, "-extensions", "node", "-notext", "-startdate",
                      stamp(begin), "-enddate", stamp(end))
        return pem, key

    @staticmethod
    def _openssl(*args):
        done = subprocess.run([process.find("openssl"), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise AssertionError("openssl %s:\n%s" % (" ".join(args), done.stdout.decode()))
