"""Makes streams and starts them, many at once, and says which are durable; run until it is killed."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from gateway.errors import QuotaError
from gateway.store import SecretBox, Store, StreamQuotas
from gateway.streams.model import StreamState
from tests.gateway.store.samples import PROJECT
from tests.gateway.streams.samples import stream

QUOTAS = StreamQuotas(total=300, active=40)


def tell(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def work(store: Store, worker: int) -> None:
    idle: list[str] = []
    for number in range(1_000):
        name = f"w{worker}-{number}"
        new = stream(name=name, stream_id=f"s{worker}-{number}", project_id=PROJECT, state=StreamState.STOPPED)
        try:
            await store.streams.add(new, quotas=QUOTAS)
            tell("added", name)
            await store.streams.update(PROJECT, name, lambda s: replace(s, state=StreamState.ACTIVE), quotas=QUOTAS)
            tell("started", name)
        except QuotaError as error:
            tell("full", error.resource)
            if error.resource == "active_stream":
                idle.append(new.stream_id)
            elif idle:
                await store.streams.delete(idle.pop())


async def main(url: str, key: Path) -> None:
    async with Store.open(url, secrets=SecretBox.load(key)) as store:
        await asyncio.gather(*(work(store, worker) for worker in range(20)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
