"""A request's headers, as a WSGI environ can hold them. Pure."""

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]


def for_environ(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """One field of all cookies, and no name with an underscore.

    HTTP/2 lets browsers send each cookie in a field of its own, to be joined with "; " (RFC 9113,
    section 8.2.3); a bridge joins what is repeated with a comma. And in an environ X_Real_IP is
    X-Real-IP, which a proxy in front vouches for: it removes only the one that it writes.
    """
    kept: Headers = []
    cookies: list[bytes] = []
    for header in headers:
        name, value = header
        if name == b"cookie":
            cookies.append(value)
        elif b"_" not in name:
            kept.append(header)
    if cookies:
        kept.append((b"cookie", b"; ".join(cookies)))
    return kept
