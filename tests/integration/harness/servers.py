"""The web servers, with the very configurations that examples/ shows. Each gets a small main file of the test's own,
which says the port and includes the example."""
import os
import subprocess

from . import address, case, process

EXAMPLES = os.path.join(case.TREE, "examples")
APACHE_MODULES = "/usr/lib/apache2/modules"


class Server:
    """`upstream`: the FastCGI or SCGI address (TCP) that it talks to; `root`: where app.php is."""

    protocol = "fastcgi"
    stop_signal = 15

    def __init__(self, scope, upstream, root, tls=None):
        """tls: (certificate, key) files, for the servers whose main file is the test's own."""
        self.scope, self.upstream, self.root, self.tls = scope, upstream, root, tls
        self.port = address.free_port()
        self.where = "127.0.0.1:%d" % self.port
        argv, env = self.command()
        self.process = process.Process(type(self).__name__, argv, scope.fresh("server.log"), env=env, cwd=scope.dir)
        scope.show(self.process)
        scope.at_end(self.process.stop, self.stop_signal)
        address.wait_accepts(self.where, self.process)

    def write(self, name, text):
        path = self.scope.fresh(name)
        with open(path, "w") as f:
            f.write(text)
        return path


class Nginx(Server):
    example = "nginx/fastcgi.conf"
    keepalive = "keepalive 32;"

    def upstreams(self):
        return "upstream weir { server %s; %s }" % (self.upstream, self.keepalive)

    def command(self):
        temp = "".join("  %s_temp_path %s;\n" % (kind, self.scope.fresh(kind))
                       for kind in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi"))
        user = "user root;\n" if os.geteuid() == 0 else ""
        conf = self.write("nginx.conf", user + """
daemon off;
pid %s;
error_log stderr info;
worker_processes 2;
events { worker_connections 512; }
http {
  access_log off;
  client_max_body_size 0;
%s
  %s
  server {
    listen %s;%s
    root %s;
    include %s;
  }
}
""" % (self.scope.fresh("pid"), temp, self.upstreams(), self.where + (" ssl" if self.tls else ""),
            " ssl_certificate %s; ssl_certificate_key %s;" % self.tls if self.tls else "", self.root,
            os.path.join(EXAMPLES, self.example)))
        return [process.find("nginx"), "-e", "stderr", "-c", conf], None


class NginxScgi(Nginx):
    protocol = "scgi"
    example = "nginx/scgi.conf"
    keepalive = ""


class NginxCluster(Nginx):
    """`upstream`: where each node listens, in place of the example's three."""

    def upstreams(self):
        with open(os.path.join(EXAMPLES, "nginx", "cluster.conf")) as f:
            text = f.read()
        for i, where in enumerate(self.upstream):
            text = text.replace("server 10.0.0.%d:9000;" % (i + 1), "server %s;" % where)
        return text


class Apache(Server):
    example = "apache/fastcgi.conf"
    define = "WEIR_FASTCGI"
    modules = ("mpm_event", "authz_core", "env", "proxy", "proxy_fcgi")

    def command(self):
        modules = self.modules + (("socache_shmcb", "ssl") if self.tls else ())
        tls = "SSLEngine on\n  SSLCertificateFile %s\n  SSLCertificateKeyFile %s" % self.tls if self.tls else ""
        load = "".join("LoadModule %s_module %s/mod_%s.so\n" % (m, APACHE_MODULES, m) for m in modules)
        user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
        run = self.scope.fresh("apache")
        os.mkdir(run)
        conf = self.write("apache.conf", load + user + """
ServerRoot %(run)s
DefaultRuntimeDir %(run)s
PidFile %(run)s/pid
Mutex file:%(run)s
ServerName localhost
Listen %(where)s
ErrorLog /dev/stderr
LogLevel warn
StartServers 2
ServerLimit 2
ThreadsPerChild 32
MaxRequestWorkers 64
KeepAlive On
Define %(define)s %(upstream)s
Define APP_ROOT %(root)s
<VirtualHost *>
  %(tls)s
  Include %(example)s
</VirtualHost>
""" % {"run": run, "where": self.where, "define": self.define, "upstream": self.upstream, "root": self.root,
            "example": os.path.join(EXAMPLES, self.example), "tls": tls})
        return [process.find("apache2"), "-DFOREGROUND", "-f", conf], None


class ApacheScgi(Apache):
    protocol = "scgi"
    example = "apache/scgi.conf"
    define = "WEIR_SCGI"
    modules = ("mpm_event", "authz_core", "env", "proxy", "proxy_scgi")


class Lighttpd(Server):
    example = "lighttpd/fastcgi.conf"
    module = "mod_fastcgi"

    def command(self):
        host, _, port = self.upstream.rpartition(":")
        uploads = self.scope.fresh("uploads")
        os.mkdir(uploads)
        conf = self.write("lighttpd.conf", """
server.document-root = "%s"
server.bind = "127.0.0.1"
server.port = %d
server.modules += ( "%s" )
server.upload-dirs = ( "%s" )
include "%s"
""" % (self.root, self.port, self.module, uploads, os.path.join(EXAMPLES, self.example)))
        return [process.find("lighttpd"), "-D", "-f", conf], {"WEIR_HOST": host, "WEIR_PORT": port}


class LighttpdScgi(Lighttpd):
    protocol = "scgi"
    example = "lighttpd/scgi.conf"
    module = "mod_scgi"


class Caddy(Server):
    def command(self):
        home = self.scope.fresh("caddy")
        os.mkdir(home)
        return ([process.find("caddy"), "run", "--adapter", "caddyfile", "--config",
                 os.path.join(EXAMPLES, "caddy/Caddyfile")],
                {"HTTP_PORT": str(self.port), "WEIR_FASTCGI": self.upstream, "APP_ROOT": self.root, "HOME": home,
                 "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home})


class Haproxy(Server):
    example = "haproxy/haproxy.cfg"
    stop_signal = 10  # USR1: what still runs may end; the harness kills the rest

    def command(self):
        return ([process.find("haproxy"), "-db", "-f", os.path.join(EXAMPLES, self.example)],
                {"HTTP_PORT": str(self.port), "WEIR_FASTCGI": self.upstream, "APP_ROOT": self.root})


class HaproxyMpx(Haproxy):
    example = "haproxy/mpx.cfg"


def certificate(scope):
    """(certificate, key) files for localhost, good for a day."""
    cert, key = scope.fresh("cert.pem"), scope.fresh("key.pem")
    subprocess.run([process.find("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
                   check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key
