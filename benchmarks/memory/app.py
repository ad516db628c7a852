"""A FastAPI application with NumPy, and optionally a table as a real one keeps in memory."""

import os

import numpy
from fastapi import FastAPI
from pydantic import BaseModel

TABLE = {number: f"row {number}" for number in range(int(os.environ.get("TABLE_ROWS", "0")))}

app = FastAPI()


class Item(BaseModel):
    """What a request answers."""

    number: int
    mean: float
    row: str


@app.get("/items/{number}")
async def item(number: int) -> Item:
    """A little of everything that the application has loaded."""
    mean = float(numpy.arange(number + 1).mean())
    return Item(number=number, mean=mean, row=TABLE.get(number, ""))
