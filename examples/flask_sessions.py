"""A shop in Flask: who is logged in, and what is in the basket, is known to all workers.

    tercio run examples.flask_sessions:app -w 4

``/login/ada``, ``/add/pen``, ``/`` and ``/logout``; with a browser, or ``curl -c jar -b jar``.
"""

from flask import Flask, session

from tercio import cluster
from tercio.integrations.flask import Tercio

app = Flask(__name__)
Tercio(app)


@app.get("/login/<name>")
def login(name: str) -> str:
    session.login(name)
    return f"welcome, {name}\n"


@app.get("/add/<thing>")
def add(thing: str) -> list[str]:
    # One atomic step: two clicks at once are two things in the basket.
    return session.change("basket", lambda basket: [*basket, thing], [])


@app.get("/")
def show() -> dict[str, object]:
    basket = session.get("basket", [])
    return {"user": session.subject, "basket": basket, "worker": cluster.worker.id}


@app.get("/logout")
def logout() -> str:
    session.logout()
    return "bye\n"
