"""What can stand between web server and application: for each, its configuration, how it is started, and where the load
goes. Each runs with one thread that does the work where it can be told to, and with keep-alive on both sides."""

import os

from processes import free_port, nobody_group, program

IDLE = "1h"  # longer than the bench: no kept connection is closed between two rounds


class Bench:
    """What all of them share: the temporary directory, the programs by name, the addresses of the two applications."""

    def __init__(self, place, programs):
        self.place, self.programs = place, programs
        self.app, self.session_app = place.unix("app"), place.unix("session-app")


class Middle:
    """name: for options and files; title: for the table; front: who speaks HTTP to the clients."""

    session = False  # whether the application keeps a session
    keep = True  # whether nginx keeps its connections to it
    params = ""  # more of nginx's fastcgi_param

    def __init__(self, name, title, front="nginx"):
        self.name, self.title, self.front = name, title, front
        self.process = None
        self.http = "127.0.0.1:%d" % free_port()  # where the load goes

    def missing(self, _bench):
        """Why it cannot take part, or None."""
        return None

    def upstream(self, bench):
        """The address that nginx passes to; None: it speaks HTTP itself."""
        return bench.place.unix(self.name) if self.front == "nginx" else None

    def start(self, bench):
        raise NotImplementedError


class Nothing(Middle):
    def __init__(self):
        super().__init__("nothing", "nothing")

    def upstream(self, bench):
        return bench.app

    def start(self, bench):
        pass


class Relay(Middle):
    def __init__(self):
        super().__init__("relay", "bare relay")

    def start(self, bench):
        listen = bench.place.unix(self.name)
        self.process = bench.place.start(self.name, [bench.programs["relay"], listen, bench.app], listen)


WEIR = """
node "bench" {{
  workers = {workers}
  scheduling = {scheduling}
  run-dir = "{folder}"
  state-dir = "{folder}"
  {user}
}}
listen "{listen}" {{ protocol = fastcgi  mode = 0666  max-connections = 10000 }}
app "bench" {{
  backend "{app}" {{ protocol = fastcgi  connections = {connections} }}
  session {{ {session} }}
}}
{store}
{more}
log {{ level = warn  to = "{log}" }}
"""

# The store on disk is there, as it is by default, but nothing moves to it.
STORE = "store { memory { max = 4G  evict = never } }"
MANAGED = 'mode = managed  cookie = "WEIRSID"  ttl = 1h  lock = exclusive'


def write_weir(bench, name, app, workers=1, session=MANAGED, scheduling="batch", store=STORE, more="",
               connections=64):
    """The configuration; its path."""
    place = bench.place
    text = WEIR.format(
        workers=workers,
        scheduling=scheduling,
        folder=place.folder(name),
        user='user = "nobody"' if place.root else "",
        listen=place.unix(name),
        app=app,
        session=session,
        store=store,
        more=more,
        connections=connections,
        log=place.folder(name) + "/weir.log",
    )
    return place.write(name + ".conf", text)


def start_weir(bench, name, app, **options):
    """weir with one FastCGI listener at place.unix(name)."""
    argv = [bench.programs["weir"], "-c", write_weir(bench, name, app, **options)]
    return bench.place.start(name, argv, bench.place.unix(name))


class Weir(Middle):
    def __init__(self, name, title, workers, session, scheduling="batch"):
        super().__init__(name, title)
        self.workers, self.session, self.scheduling = workers, session, scheduling

    def missing(self, bench):
        return None if os.path.exists(bench.programs["weir"]) else "weir is not built"

    def start(self, bench):
        app, session = (bench.session_app, MANAGED) if self.session else (bench.app, "mode = none")
        self.process = start_weir(
            bench, self.name, app, workers=self.workers, session=session, scheduling=self.scheduling
        )


HAPROXY = """
global
  nbthread 1
  maxconn 4000
{user}
defaults
  timeout connect 5s
  timeout client {idle}
  timeout server {idle}
  timeout http-keep-alive {idle}
"""

HAPROXY_TCP = """
listen relay
  mode tcp
  bind {listen} mode 666
  server app {app}
"""

HAPROXY_FCGI = """
fcgi-app bench
  docroot /
  option keep-conn
listen http
  mode http
  bind {listen}
  http-reuse always
  use-fcgi-app bench
  server app {app} proto fcgi
"""


class Haproxy(Middle):
    def __init__(self, name, title, front, sections):
        super().__init__(name, title, front)
        self.sections = sections

    def missing(self, _bench):
        return None if program("haproxy") else "haproxy is not installed"

    def start(self, bench):
        place = bench.place
        listen = self.upstream(bench) or self.http
        text = HAPROXY.format(user="  user nobody" if place.root else "", idle=IDLE) + self.sections.format(
            listen=listen.replace("unix:", "unix@"), app=bench.app.replace("unix:", "unix@")
        )
        config = place.write(self.name + ".cfg", text)
        self.process = place.start(self.name, [program("haproxy"), "-db", "-f", config], listen)


APACHE_MODULES = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2")

APACHE = """
ServerRoot "{folder}"
DefaultRuntimeDir "{folder}"
PidFile "{folder}/httpd.pid"
ErrorLog "{folder}/error.log"
LogLevel warn
ServerName bench
Listen {listen}
LoadModule mpm_event_module "{modules}/mod_mpm_event.so"
LoadModule authz_core_module "{modules}/mod_authz_core.so"
LoadModule proxy_module "{modules}/mod_proxy.so"
LoadModule proxy_fcgi_module "{modules}/mod_proxy_fcgi.so"
LoadModule env_module "{modules}/mod_env.so"
# Since 2.4.59 it sends answers in chunks and drops their length, unless told so; the others pass the length on.
SetEnv ap_trust_cgilike_cl 1
{user}
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
MaxConnectionsPerChild 0
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 3600
ProxyPass "/" "{app}|fcgi://bench/" enablereuse=on
"""


class Apache(Middle):
    def __init__(self):
        super().__init__("apache", "Apache, mod_proxy_fcgi", "itself")
        self.modules = next((m for m in APACHE_MODULES if os.path.exists(m + "/mod_proxy_fcgi.so")), None)

    def missing(self, _bench):
        return None if program("apache2", "httpd") and self.modules else "Apache is not installed"

    def start(self, bench):
        place = bench.place
        text = APACHE.format(
            folder=place.folder(self.name),
            listen=self.http,
            modules=self.modules,
            user="User nobody\nGroup " + nobody_group() if place.root else "",
            app=bench.app,
        )
        argv = [program("apache2", "httpd"), "-f", place.write("apache.conf", text), "-D", "FOREGROUND"]
        self.process = place.start(self.name, argv, self.http)


NGINX = """
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  fastcgi_temp_path {folder}/fastcgi;
  proxy_temp_path {folder}/proxy;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  keepalive_timeout {idle};
  keepalive_requests 1000000000;
  {servers}
}}
"""

NGINX_SERVER = """
  upstream {name} {{
    server {upstream};
    keepalive 64;
    keepalive_requests 1000000000;
    keepalive_time 24h;
    keepalive_timeout {idle};
  }}
  server {{
    listen {listen};
    location / {{
      fastcgi_pass {name};
      fastcgi_keep_conn {keep};
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param REQUEST_URI $request_uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param SCRIPT_NAME $uri;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param SERVER_PROTOCOL $server_protocol;
      fastcgi_param SERVER_NAME $server_name;
      fastcgi_param SERVER_PORT $server_port;
      fastcgi_param GATEWAY_INTERFACE CGI/1.1;
      fastcgi_param REMOTE_ADDR $remote_addr;
      {params}
    }}
  }}
"""


def start_nginx(bench, workers, middles, name="nginx"):
    """One nginx with a server for each of `middles` that does not speak HTTP itself."""
    place = bench.place
    folder = place.folder(name)
    behind = [m for m in middles if m.front == "nginx"]
    text = NGINX.format(
        workers=workers,
        folder=folder,
        user="user nobody %s;" % nobody_group() if place.root else "",
        idle=IDLE,
        servers="".join(
            NGINX_SERVER.format(
                name=m.name,
                upstream=m.upstream(bench),
                listen=m.http,
                idle=IDLE,
                keep="on" if m.keep else "off",
                params=m.params,
            )
            for m in behind
        ),
    )
    config = place.write(name + ".conf", text)
    argv = [program("nginx"), "-e", folder + "/error.log", "-p", folder, "-c", config]
    return place.start(name, argv, behind[0].http)


def all_middles():
    return [
        Nothing(),
        Relay(),
        Weir("weir", "weir, managed session", 1, True),
        Weir("weir2", "weir, managed session, 2 workers", 2, True),
        Weir("weir-none", "weir, no session", 1, False),
        Weir("weir-normal", "weir, managed session, scheduling = normal", 1, True, "normal"),
        Haproxy("haproxy-tcp", "HAProxy, TCP", "nginx", HAPROXY_TCP),
        Haproxy("haproxy-fcgi", "HAProxy, FastCGI", "itself", HAPROXY_FCGI),
        Apache(),
    ]
