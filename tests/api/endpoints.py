"""Every endpoint, as the schema tells them: what is new is covered by what walks them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.api.conftest import Client

IDS: Final = {
    "username": "0100",
    "access_key": "AK",
    "device_id": "34020000001320000001",
    "channel_id": "34020000001310000001",
    "stream_name": "channel_1_1",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation; `path` with its parameters in braces."""

    method: str
    path: str
    operation: Mapping[str, Any]

    def at(self, ids: Mapping[str, str]) -> str:
        """The path with these ids in it; what is not named there is `x`."""
        return re.sub(r"\{([^}:]*)[^}]*\}", lambda found: ids.get(found[1], "x"), self.path)


async def endpoints(client: Client, *families: str) -> list[Endpoint]:
    """Those whose paths begin so, such as `/v1/`."""
    schema = (await client.http.get("/schema/openapi.json")).json()
    found = [
        Endpoint(method.upper(), path, operation)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if path.startswith(families)
    ]
    assert found, families
    return found
