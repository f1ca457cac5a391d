"""CGI, as a web server says it: the variables of a request and the head of a response (RFC 3875 section 6)."""
from urllib.parse import quote


def params(path="/", query="", method="GET", host="app.test", body_length=None, cookie=None, https=False, **more):
    """The variables of a request. `more`: further ones; None takes one out."""
    target = path + ("?" + query if query else "")
    p = {
        "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "tests", "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": host, "SERVER_PORT": "443" if https else "80", "REMOTE_ADDR": "192.0.2.1",
        "REQUEST_METHOD": method, "REQUEST_URI": quote(target, safe="/?&=%+:;,@~!$'()*"), "SCRIPT_NAME": path,
        "PATH_INFO": "", "QUERY_STRING": query, "HTTP_HOST": host,
    }
    if body_length is not None:
        p["CONTENT_LENGTH"] = str(body_length)
    if cookie is not None:
        p["HTTP_COOKIE"] = cookie
    if https:
        p["HTTPS"] = "on"
    p.update(more)
    return {k: v for k, v in p.items() if v is not None}


class Response:
    """The head and body of what came on STDOUT. `complete` is false when the connection ended first."""

    def __init__(self, raw, stderr=b"", complete=True, app_status=None, protocol_status=None):
        self.raw, self.stderr, self.complete = raw, stderr, complete
        self.app_status, self.protocol_status = app_status, protocol_status
        head, self.body = split_head(raw)
        self.headers = []
        for line in head.split(b"\n"):
            line = line.rstrip(b"\r")
            if line:
                name, _, value = line.partition(b":")
                self.headers.append((name.decode("latin-1"), value.strip().decode("latin-1")))
        default = "302" if self.header("Location") else "200"
        self.status = int((self.header("Status") or default).split()[0])

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def header(self, name):
        values = self.all(name)
        return values[0] if values else None

    def __repr__(self):
        return "<Response %r stderr=%r complete=%r protocol_status=%r>" % (
            self.raw[:400], self.stderr[:200], self.complete, self.protocol_status)


def split_head(raw):
    for end in (b"\r\n\r\n", b"\n\n"):
        at = raw.find(end)
        if at >= 0:
            return raw[:at], raw[at + len(end):]
    return raw, b""


class Jar:
    """The cookies of one browser, as far as the tests need them; keeps the attributes for a look."""

    def __init__(self):
        self.values, self.attributes = {}, {}

    def take(self, set_cookies):
        for text in set_cookies:
            pair, *rest = [part.strip() for part in text.split(";")]
            name, _, value = pair.partition("=")
            attributes = {}
            for part in rest:
                key, _, v = part.partition("=")
                attributes[key.lower()] = v
            self.attributes[name] = attributes
            if attributes.get("max-age") == "0":
                self.values.pop(name, None)
            else:
                self.values[name] = value

    def header(self):
        return "; ".join("%s=%s" % pair for pair in self.values.items()) or None
