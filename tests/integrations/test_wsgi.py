"""Django and Flask in threads of several workers, with one cache."""

import http.cookiejar
import json
import urllib.request
from pathlib import Path

from tercio.testing import workers

APP = """
import django
import flask
from django.conf import settings
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.http import JsonResponse
from django.urls import path
from tercio import cluster
from tercio.integrations.cachelib import TercioCache

flasks = flask.Flask(__name__)
visits = TercioCache()


def django_view(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    cache.add("hits", 0)
    counts = [request.session["visits"], cache.incr("hits"), cluster.worker.id]
    return JsonResponse(counts, safe=False)


@flasks.get("/flask")
def flask_view():
    return [visits.inc("visits"), cluster.worker.id]


urlpatterns = [path("django", django_view)]
settings.configure(
    ALLOWED_HOSTS=["*"],
    CACHES={"default": {"BACKEND": "tercio.integrations.django.TercioCache"}},
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a test",
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
)
django.setup()
djangos = WSGIHandler()


def app(environ, start_response):
    chosen = djangos if environ["PATH_INFO"] == "/django" else flasks
    return chosen(environ, start_response)
"""
MOST = 200


def test_django_and_flask_count_in_all_workers_together(tmp_path: Path) -> None:
    (tmp_path / "site_of_both.py").write_text(APP)
    with workers("site_of_both:app", 2, cwd=tmp_path) as running:
        for framework in ("django", "flask"):
            cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
            browser = urllib.request.build_opener(cookies)
            seen: set[str] = set()
            number = 0
            while len(seen) < 2 or number < 10:
                number += 1
                with browser.open(f"{running.url}/{framework}", timeout=30) as answer:
                    *counts, worker = json.load(answer)
                assert counts == [number] * len(counts)
                seen.add(worker)
                assert number < MOST, "one worker answered everything"
