"""Everybody else in the story: a web server with its users, a database, the application's clients.

`python -m demo.traffic WEB APPLICATION DATABASE SPEED`, the first three being ports.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
import time
from contextlib import suppress
from random import Random

from demo.plan import USERS, Plan, Ports

BACKLOG = 1024
WAVE_S = 40  # of radian measure
CONNECT_S = 3


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each line, and close after the client."""
    with suppress(OSError):
        while await reader.readline():
            writer.write(b"\n")
    writer.close()


async def user(number: int, port: int) -> None:
    """Connect, stay for a while and leave, again and again, while the crowd has room for one more."""
    chance = Random(number)  # noqa: S311  the same for everybody
    while True:
        await asyncio.sleep(chance.uniform(0, 5))
        if number < USERS * (0.7 + 0.3 * math.sin(time.monotonic() / WAVE_S)):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(chance.uniform(10, 60))
            writer.close()


async def request(port: int, patience_s: float) -> None:
    """Ask the application, and wait for its answer."""
    with suppress(OSError, asyncio.TimeoutError):
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), CONNECT_S)
        try:
            await asyncio.wait_for(reader.readline(), patience_s)
        finally:
            writer.close()


async def requests(port: int, plan: Plan) -> None:
    """Ask at a steady rate, whatever becomes of each request."""
    asking = set()
    began = time.monotonic()
    for number in itertools.count():
        await asyncio.sleep(began + number / plan.requests_per_s - time.monotonic())
        task = asyncio.create_task(request(port, plan.patience_s))
        asking.add(task)
        task.add_done_callback(asking.discard)


async def play(ports: Ports, plan: Plan) -> None:
    """Run every part until the process is killed."""
    for port in (ports.web, ports.database):
        await asyncio.start_server(serve, "127.0.0.1", port, backlog=BACKLOG)
    crowd = (user(number, ports.web) for number in range(USERS))
    await asyncio.gather(requests(ports.application, plan), *crowd)


def main() -> None:
    """Read the ports from the arguments, and begin."""
    web, application, database = map(int, sys.argv[1:4])
    asyncio.run(play(Ports(web=web, application=application, database=database), Plan(float(sys.argv[4]))))


if __name__ == "__main__":
    main()
