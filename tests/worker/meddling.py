"""Imports that do more than to import: RIG_MEDDLES says what."""

import asyncio
import os
import sys

from tests.worker.apps import app as app

match os.environ.get("RIG_MEDDLES"):
    case "close the loop":
        asyncio.get_event_loop().close()
    case "close all":
        os.closerange(3, 1000)
    case "close and open":
        os.closerange(3, 1000)
        for _ in range(100):
            os.open(os.devnull, os.O_RDONLY)
    case "fork":
        if os.fork() == 0:
            os.write(int(os.environ["RIG_NEWS"]), f"{os.getpid()}\n".encode())
    case "fork and exit":
        if (child := os.fork()) == 0:
            sys.exit(7)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(int(os.environ["RIG_NEWS"]), f"{code}\n".encode())
