"""Users with cookies, as the measurements and tests of Q26 need them."""

import http.client
from collections import Counter
from urllib.parse import urlsplit

from tercio.testing import Running


class User:
    """A browser that makes a connection for each request."""

    def __init__(self, url: str, cookie: str = "") -> None:
        self.address = urlsplit(url).netloc
        self.cookie = cookie

    def get(self, path: str) -> str:
        """One request; the body of the answer."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            headers = {"Cookie": self.cookie} if self.cookie else {}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            told = answer.headers["Set-Cookie"]
            if told is not None:
                self.cookie = told.split(";")[0]
            return answer.read().decode()
        finally:
            connection.close()


def logged_in(cluster: Running, count: int = 40) -> list[User]:
    """Users who have just logged in; their number is their name."""
    users = [User(cluster.url) for _ in range(count)]
    for number, user in enumerate(users):
        user.get(f"/login?user={number}")
    return users


def known(users: list[User], times: int = 1) -> float:
    """How many of a hundred requests know who asks."""
    asked: list[bool] = []
    for _ in range(times):
        asked += [user.get("/me") == str(number) for number, user in enumerate(users)]
    return 100 * sum(asked) / len(asked)


def loads(cluster: Running) -> Counter[int]:
    """Requests of each worker that served any."""
    return Counter(
        {each["slot"]: each["requests"] for each in cluster.status()["workers"] if each["requests"]}
    )
