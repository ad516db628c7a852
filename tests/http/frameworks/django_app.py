"""What people do with Django: one module, no project."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.http import (  # type: ignore[import-untyped]
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path  # type: ignore[import-untyped]

settings.configure(
    SECRET_KEY="tests",
    DEBUG=True,  # else it serves no static files
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.staticfiles"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    STATIC_URL="/static/",
    STATICFILES_DIRS=[os.environ["RIG_STATIC"]],
    FILE_UPLOAD_TEMP_DIR=os.environ["RIG_STATIC"],
    LOGGING_CONFIG=None,
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
)
django.setup()


def tell(text: str) -> None:
    os.write(int(os.environ["RIG_NEWS"]), text.encode() + b"\n")


async def hello(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"hello": request.GET.get("name"), "host": request.get_host()})


def in_a_thread(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.method} {request.scheme}")


async def stream(request: HttpRequest) -> HttpResponseBase:
    async def lines() -> AsyncIterator[bytes]:
        for index in range(1000):
            yield b"%06d\n" % index

    return StreamingHttpResponse(lines())


def stream_of_threads(request: HttpRequest) -> HttpResponseBase:
    def lines() -> Iterator[bytes]:
        for index in range(100):
            yield b"%06d\n" % index

    return StreamingHttpResponse(lines())


async def endless(request: HttpRequest) -> HttpResponseBase:
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick\n"
                await asyncio.sleep(0.01)
        finally:
            tell("the stream ended")

    return StreamingHttpResponse(ticks(), content_type="text/event-stream")


async def until_cancelled(request: HttpRequest) -> HttpResponse:
    tell("it came")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        tell("it is gone")
        raise
    return HttpResponse("nobody reads this")


def upload(request: HttpRequest) -> HttpResponse:
    if not request.FILES:
        return JsonResponse({"size": len(request.body)})
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return JsonResponse({"size": file.size, "sha256": digest.hexdigest(), "name": file.name})


def large(request: HttpRequest) -> HttpResponseBase:
    return FileResponse(open(f"{os.environ['RIG_STATIC']}/large.bin", "rb"))


def cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def raises(request: HttpRequest) -> HttpResponse:
    raise ValueError("as asked")


urlpatterns = [
    path("hello", hello),
    path("thread", in_a_thread),
    path("stream", stream),
    path("threads", stream_of_threads),
    path("endless", endless),
    path("until-cancelled", until_cancelled),
    path("upload", upload),
    path("large", large),
    path("cookies", cookies),
    path("raises", raises),
]

app = ASGIStaticFilesHandler(get_asgi_application())
