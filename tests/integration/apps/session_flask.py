#!/usr/bin/python3
"""A Flask application with its sessions in "Redis", as Flask-Session is set up by its users.

  session_flask.py SOCKET [signed]     SOCKET: the path of Redis's socket

  /count  /read  /set?value=  /login?who=  /logout
  /count?hold=MS  that long between reading and writing;  /count?gate=FILE  until there is such a file
"""
import sys

import redis
from flask import Flask, current_app, jsonify, request, session
from flask_session import Session

import scgi_wsgi

app = Flask(__name__)
app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis(unix_socket_path=sys.argv[1]),
                  PERMANENT_SESSION_LIFETIME=500, SESSION_USE_SIGNER="signed" in sys.argv, SECRET_KEY="secret")
Session(app)


def report():
    return jsonify(id=session.sid, session={k: v for k, v in session.items() if k != "_permanent"})


@app.get("/count")
def count():
    n = session.get("n", 0)
    scgi_wsgi.pause(request.args)
    session["n"] = n + 1
    return report()


@app.get("/read")
def read():
    return report()


@app.get("/set")
def set_value():
    session["value"] = request.args["value"]
    return report()


@app.get("/login")
def login():
    """Flask-Session has a method for a new id since 0.6; until then this is what it does."""
    keeper = current_app.session_interface
    keeper.redis.delete(keeper.key_prefix + session.sid)
    session.sid = keeper._generate_sid()
    session["who"] = request.args["who"]
    return report()


@app.get("/logout")
def logout():
    session.clear()
    return report()


if __name__ == "__main__":
    scgi_wsgi.serve(app)
