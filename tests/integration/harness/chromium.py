"""A real browser without a window, driven over the pipe of the DevTools protocol: messages of JSON, each ended by a
NUL."""
import base64
import json
import os
import select
import subprocess
import time

from . import process, wait

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--hide-scrollbars", "--disable-background-networking", "--disable-component-update", "--disable-quic",
           "--disable-sync", "--disable-extensions")


class Chromium:
    """One browser with one page. `complaints` is what a developer would see in the console: exceptions, what the
    Content-Security-Policy stopped, what could not be loaded."""

    def __init__(self, scope):
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # The browser reads from descriptor 3 and writes to 4. (Other shells know no descriptor above 9.)
        argv = ["bash", "-c", 'exec "$@" 3<&%d 4>&%d' % (to_read, to_write), "bash", process.find("chromium"), *OPTIONS,
                "--remote-debugging-pipe", "--user-data-dir=" + scope.fresh("chromium"), "about:blank"]
        self.name, self._log_path = "chromium", scope.fresh("chromium.log")
        env = dict(os.environ, HOME=scope.dir, XDG_CONFIG_HOME=scope.dir, XDG_CACHE_HOME=scope.dir)
        with open(self._log_path, "wb") as log:
            self._popen = subprocess.Popen(process.leashed(argv), pass_fds=[to_read, to_write], env=env, stdout=log,
                                           stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        os.close(to_read)
        os.close(to_write)
        self._serial, self._input, self._events = 0, b"", []
        self.complaints = []
        scope.show(self)
        scope.at_end(self.close)
        self._session = None
        target = wait.until(lambda: [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"],
                            "a page")[0]
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def log(self):
        with open(self._log_path, encoding="utf-8", errors="replace") as f:
            return f.read() + "\n".join(map(str, self.complaints))

    def close(self):
        for fd in (self._write, self._read):
            os.close(fd)
        try:
            os.killpg(self._popen.pid, 9)
        except ProcessLookupError:
            pass
        self._popen.wait()

    # The protocol.

    def _next(self, end):
        """The next message; an event is noted and handed out too."""
        while b"\0" not in self._input:
            if not select.select([self._read], [], [], max(0, end - time.monotonic()))[0]:
                raise wait.TimeOut("the browser says nothing\n" + self.log())
            piece = os.read(self._read, 1 << 16)
            if not piece:
                raise AssertionError("the browser has ended\n" + self.log())
            self._input += piece
        text, self._input = self._input.split(b"\0", 1)
        message = json.loads(text)
        if "method" in message:
            self._note(message["method"], message["params"])
        return message

    def _note(self, method, params):
        self._events.append(method)
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))

    def call(self, method, **params):
        self._serial += 1
        message = {"id": self._serial, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + wait.BOUND
        while True:
            answer = self._next(end)
            if answer.get("id") == self._serial:
                if "error" in answer:
                    raise AssertionError("%s: %s" % (method, answer["error"]))
                return answer["result"]

    # What a person does.

    def open(self, url):
        """Until it is loaded."""
        self._events.clear()
        error = self.call("Page.navigate", url=url).get("errorText")
        if error:
            raise AssertionError("%s: %s" % (url, error))
        end = time.monotonic() + wait.BOUND
        while "Page.loadEventFired" not in self._events:
            self._next(end)

    def click(self, selector):
        """What leads to another page, until that is loaded."""
        self._events.clear()
        self.run("document.querySelector(%s).click()" % json.dumps(selector))
        end = time.monotonic() + wait.BOUND
        while "Page.loadEventFired" not in self._events:
            self._next(end)

    def run(self, expression):
        """The value of a JavaScript expression on the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError("%s: %s" % (expression, result["exceptionDetails"]))
        return result["result"].get("value")

    def text(self, selector):
        """What can be read there, blanks made one."""
        return " ".join((self.run("document.querySelector(%s)?.innerText" % json.dumps(selector)) or "").split())

    def number(self, selector):
        return int(self.text(selector).replace(",", ""))

    def look(self, width, height, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
