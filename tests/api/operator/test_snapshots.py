"""Why there is no picture of a stream, as operators are told. (Pictures: tests/media, tests/e2e.)"""

from dataclasses import replace

import pytest

from tests.api.conftest import Client
from tests.api.operator.test_streams import add
from tests.api.world import Live, World

PICTURE = "/gb/v1/streams/stream1/snapshot.jpg"
SOUND = Live(video_codec=None, width=0, height=0)


@pytest.mark.parametrize(
    ("live", "why"),
    [
        (None, "nothing flows"),
        (SOUND, "sound is all that came"),
        (replace(SOUND, audio_codec=None), "none has come yet"),
        (Live(), "gop_bytes_max"),
    ],
)
async def test_without_a_picture_it_is_told_why(client: Client, world: World, live: Live | None, why: str) -> None:
    await add(client)
    if live is not None:
        world.relay.live["default", "stream1"] = live
    answer = await client("GET", PICTURE)
    assert (answer.status_code, why in answer.json()["detail"]) == (409, True), answer.text
