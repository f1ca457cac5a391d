"""An HTTP client with a cookie jar, and a raw one."""
import http.client
import ssl

from . import address, cgi, wait


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.getheaders()
        self.body = body

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def header(self, name):
        values = self.all(name)
        return values[0] if values else None

    def __repr__(self):
        return "<Answer %d %r %r>" % (self.status, self.headers, self.body[:300])


class Browser:
    """One client: keeps its connection and its cookies."""

    def __init__(self, where, host=None, timeout=60, tls=False):
        _, (name, port) = address.split(where)
        self.host = host
        self.jar = cgi.Jar()
        if tls:
            # The certificate is the test's own; whether browsers trust it is not the question.
            context = ssl._create_unverified_context()
            self.connection = http.client.HTTPSConnection(name, port, timeout=timeout, context=context)
        else:
            self.connection = http.client.HTTPConnection(name, port, timeout=timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, target, method="GET", body=None, headers=None, **kwargs):
        # PHP-FPM and others need a length; an iterator as body goes out chunked.
        full = {"Host": self.host} if self.host else {}
        cookie = self.jar.header()
        if cookie:
            full["Cookie"] = cookie
        full.update(headers or {})
        self.connection.request(method, target, body=body, headers=full, **kwargs)
        response = self.connection.getresponse()
        answer = Answer(response, response.read())
        self.jar.take(answer.all("Set-Cookie"))
        return answer


def ask(where, target, method="GET", body=None, headers=None, host=None, timeout=60, **kwargs):
    with Browser(where, host, timeout) as browser:
        return browser.ask(target, method, body, headers, **kwargs)


def raw(where, data, bound=wait.BOUND):
    """Sends bytes and answers all that comes until the server closes."""
    with address.connect(where, bound) as sock:
        sock.sendall(data)
        parts = []
        while piece := sock.recv(65536):
            parts.append(piece)
        return b"".join(parts)
