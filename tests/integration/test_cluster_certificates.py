"""Certificates that are there already: files of openssl(1) alone, of a root, an authority below it, and nodes below
that (doc/cluster.md, "Certificates")."""
import os
import subprocess

from harness import cluster, process

CONFIG = """
[ca]
default_ca = here
[here]
database = database
new_certs_dir = .
rand_serial = yes
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
[any]
commonName = supplied
[req]
distinguished_name = empty
[empty]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[node]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth
authorityKeyIdentifier = keyid
subjectAltName = URI:weir://eu/$ENV::NODE, DNS:$ENV::NODE.example.org
"""

ROOT = "-cert", "root.pem", "-keyfile", "root.key"


class House:
    """What Cluster wants of an authority."""

    def __init__(self, scope, key):
        self.dir, self.key = scope.fresh("house"), key
        for name in ("root", "below"):
            os.makedirs(self.file(name))
            open(self.file(name, "database"), "w").close()
            with open(self.file(name, "openssl.cnf"), "w") as f:
                f.write(CONFIG)
        self.request("root", "root")
        self.sign("root", "root", "authority", "-selfsign", "-keyfile", "root.key")
        self.request("root", "below")
        self.sign("root", "below", "authority", *ROOT)
        self.ca, self.crl = self.file("root", "root.pem"), self.file("crl.pem")
        self.below = ("-cert", self.file("root", "below.pem"), "-keyfile", self.file("root", "below.key"))
        self.lists()

    def file(self, *names):
        return os.path.join(self.dir, *names)

    def openssl(self, folder, *words, node="none"):
        done = subprocess.run([process.find("openssl"), *words], cwd=self.file(folder), env=dict(os.environ, NODE=node),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise AssertionError("openssl %s:\n%s" % (" ".join(words), done.stdout.decode()))

    def request(self, folder, name):
        self.openssl(folder, "req", "-new", "-config", "openssl.cnf", "-newkey", *self.key, "-nodes", "-keyout",
                     name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)

    def sign(self, folder, name, kind, *by):
        self.openssl(folder, "ca", "-batch", "-notext", "-config", "openssl.cnf", "-extensions", kind, "-in", name + ".csr",
                     "-out", name + ".pem", *by, node=name)

    def lists(self):
        """One file with a list of each."""
        self.openssl("root", "ca", "-gencrl", "-config", "openssl.cnf", "-out", "crl.pem", *ROOT)
        self.openssl("below", "ca", "-gencrl", "-config", "openssl.cnf", "-out", "crl.pem", *self.below)
        self.join(self.crl, self.file("root", "crl.pem"), self.file("below", "crl.pem"))

    @staticmethod
    def join(to, *parts):
        with open(to, "wb") as f:
            for part in parts:
                with open(part, "rb") as p:
                    f.write(p.read())

    def issue(self, node):
        """(certificate and what is above it, key)"""
        self.request("below", node)
        self.sign("below", node, "node", *self.below)
        chain = self.file(node + ".pem")
        self.join(chain, self.file("below", node + ".pem"), self.file("root", "below.pem"))
        return chain, self.file("below", node + ".key")

    def revoke(self, node):
        self.openssl("below", "ca", "-config", "openssl.cnf", "-revoke", node + ".pem", *self.below)
        self.lists()


class TestHouse(cluster.Case):
    def three(self, *key):
        c = self.cluster()
        c.authority = House(c.scope, key)
        c.founders = list("abc")
        for name in c.founders:
            c.add(name)
        c.start()
        c.wait_agree("abc")
        c.wait_voters("abc")
        return c

    def test_rsa(self):
        """Three nodes form, and one comes back; then the list of the authority in between revokes one."""
        c = self.three("rsa:2048")
        c["b"].kill()
        c["b"].start()
        c.wait_agree("abc")
        c.authority.revoke("c")
        for name in "ab":
            self.assertEqual(c[name].reload()[0], 0)
            c[name].wait_line('event=peer_refused reason=revoked detail="since the last reload" .*name=c ')
        c.wait_agree("ab")
        c.wait_fenced("c")

    def test_elliptic_curves(self):
        """A node that was revoked before it came is not let in; its own files do not know it."""
        c = self.three("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        c.strangers.add("d")
        c.add("d", crl=None)
        c.authority.revoke("d")
        for name in "abc":
            self.assertEqual(c[name].reload()[0], 0)
        c["d"].begin()
        c["d"].wait_line('event=peer_refused reason=revoked detail="told by the other side"')
        c["a"].wait_line("event=peer_refused reason=revoked ")
        c["d"].wait_state("seeking")
        c.wait_agree("abc")
