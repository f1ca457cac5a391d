"""Serves a WSGI application over SCGI, a thread a connection. The listening socket is fd 0."""
import os
import signal
import sys
import time
from wsgiref.handlers import BaseCGIHandler

import app_scgi


def stand(gate):
    """A request waits until the test makes the file `gate`, and says that it has come."""
    with open(gate + ".reached", "w", encoding="ascii"):
        pass
    while not os.path.exists(gate):
        time.sleep(0.01)


def pause(query):
    """Between reading the session and writing it: hold=MS or gate=FILE."""
    time.sleep(int(query.get("hold", 0)) / 1000)
    if "gate" in query:
        stand(query["gate"])


def serve(application):
    def answer(request):
        with request.sock.makefile("wb") as out:
            BaseCGIHandler(request.file, out, sys.stderr, request.env, multithread=True).run(application)

    app_scgi.answer = answer
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    app_scgi.Server(app_scgi.listen(None)).serve_forever()
