"""Pages of the chat."""

from django.core.cache import cache
from django.http import HttpRequest, JsonResponse
from django.urls import path

from tercio import cluster


async def login(request: HttpRequest, name: str) -> JsonResponse:
    await request.session.aset("name", name)
    await cache.aadd("visitors", 0)
    return JsonResponse({"name": name, "visitor": await cache.aincr("visitors")})


async def me(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"name": await request.session.aget("name"), "worker": cluster.worker.id})


urlpatterns = [path("login/<name>", login), path("me", me)]
