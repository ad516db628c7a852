"""A FastAPI application: one endpoint that answers JSON, one that reads and writes a database."""

import os
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

ITEMS = 1000

# One database a process: two servers in one round must not wait for each other's locks.
_PATH = os.path.join(tempfile.gettempdir(), f"tercio-shop-{os.getpid()}.sqlite")
_local = threading.local()


def _database() -> sqlite3.Connection:
    if not hasattr(_local, "database"):
        _local.database = sqlite3.connect(_PATH, isolation_level=None, timeout=30)
        _local.database.execute("PRAGMA synchronous = OFF")  # the disk is not the question
    return _local.database


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    database = _database()
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price INT, sold INT)")
    rows = [(number, f"item {number}", number * 10) for number in range(ITEMS)]
    database.executemany("INSERT INTO item VALUES (?, ?, ?, 0)", rows)
    yield
    for path in (_PATH, f"{_PATH}-wal", f"{_PATH}-shm"):
        if os.path.exists(path):
            os.unlink(path)


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def hello() -> dict[str, str]:
    return {"message": "Hello, world!"}


# Not async: FastAPI runs it in a thread, as most applications with a database do.
@app.get("/item/{number}")
def item(number: int) -> dict[str, str | int]:
    database = _database()
    database.execute("UPDATE item SET sold = sold + 1 WHERE id = ?", (number,))
    row = database.execute("SELECT id, name, price FROM item WHERE id = ?", (number,)).fetchone()
    return {"id": row[0], "name": row[1], "price": row[2]}
