"""What a project needs to share between its workers, and little else."""

import os

from tercio import cluster

# One secret for all workers, made by the first unless the environment has it.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or cluster.secret("django")
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "chat.urls"
ASGI_APPLICATION = "chat.asgi.application"
INSTALLED_APPS = ["django.contrib.sessions", "channels"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]

CACHES = {"default": {"BACKEND": "tercio.integrations.django.TercioCache"}}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
CHANNEL_LAYERS = {"default": {"BACKEND": "tercio.integrations.channels.TercioChannelLayer"}}
