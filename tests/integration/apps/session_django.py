#!/usr/bin/python3
"""A Django application with its sessions in "Redis": the cache back end of sessions on django-redis.

  session_django.py SOCKET     the path of Redis's socket

  /count  /read  /set?value=  /login?who=  /logout
  /count?hold=MS  that long between reading and writing;  /count?gate=FILE  until there is such a file

What django.contrib.auth does with the session at log-in and log-out is cycle_key() and flush().
"""
import sys

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

import scgi_wsgi

settings.configure(
    SECRET_KEY="secret", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache", SESSION_CACHE_ALIAS="sessions", SESSION_COOKIE_AGE=500,
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "unix://" + sys.argv[1]},
    })


def report(request):
    return JsonResponse({"id": request.session.session_key, "session": dict(request.session)})


def count(request):
    n = request.session.get("n", 0)
    scgi_wsgi.pause(request.GET)
    request.session["n"] = n + 1
    return report(request)


def set_value(request):
    request.session["value"] = request.GET["value"]
    return report(request)


def login(request):
    request.session.cycle_key()
    request.session["who"] = request.GET["who"]
    return report(request)


def logout(request):
    request.session.flush()
    return report(request)


urlpatterns = [path("count", count), path("read", report), path("set", set_value), path("login", login),
               path("logout", logout)]

if __name__ == "__main__":
    django.setup()
    scgi_wsgi.serve(get_wsgi_application())
