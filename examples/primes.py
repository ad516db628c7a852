"""A computation of seconds that holds up nobody: another process does it.

    tercio run examples.primes:app -w 2

``/primes/300000`` computes where it is asked, and all others of this worker wait; ``/primes/300000
?offload=1`` does not, and is ended after three seconds.
"""

from fastapi import FastAPI, HTTPException

from tercio import cluster
from tercio.errors import OffloadError

app = FastAPI()


def count_primes(below: int) -> int:
    """Slowly, as an example should."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, below))


@app.get("/primes/{below}")
async def primes(below: int, offload: bool = False) -> int:
    if not offload:
        return count_primes(below)
    try:
        return await cluster.offload.within(3)(count_primes, below)
    except OffloadError as error:  # no room, or no time
        raise HTTPException(503, str(error)) from error


@app.get("/")
async def hello() -> str:
    return "still here"
