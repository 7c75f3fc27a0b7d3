"""The pictures that come out are those that went in, bit by bit, whatever the way and however bad the line."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.clip import clip
from gateway.simulator.link import Link
from gateway.simulator.misbehaviour import Misbehaviour
from gateway.simulator.model import CLOCK_HZ
from gateway.simulator.ps_writer import PsWriter
from gateway.simulator.rtp_sender import RtpStream
from tests.e2e.cameras import SMALL, ipcs
from tests.e2e.playing import flv, picture_sums, sent_sums
from tests.e2e.running import Channel, RunningGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.peer]

WATCHED_S = 5.0
LOSSY_S = 7.0
BAD = Misbehaviour(reorder=0.02, duplicate=0.01, seed=3)
LOSSY = Misbehaviour(loss=0.01, silent=LOSSY_S, seed=5)


async def invited(gateway: RunningGateway, device_id: str, **settings: str) -> Channel:
    channel = await gateway.wait_for(device_id, "ONLINE")
    response = await gateway.set_state(channel, "ACTIVE", **settings)
    assert response.status_code == 200, response.text
    return await gateway.wait_for(device_id, "INVITE_SUCCESS")


async def played(gateway: RunningGateway, folder: Path, over: str, settings: dict[str, str], **manners: Any) -> None:
    """Invites, plays, and compares every picture with the clip's own."""
    sent = await sent_sums(SMALL, folder)
    async with ipcs(gateway, **manners) as (running, [device_id]):
        channel = await invited(gateway, device_id, **settings)
        assert channel.play is not None
        file = folder / "played.flv"
        file.write_bytes(await flv(channel.play["http_flv"], WATCHED_S))
        got = await picture_sums(file)
        assert [stream.transport for stream in running.figures.streams] == [over]
    assert len(got) >= (WATCHED_S - 2) * SMALL.fps
    start = sent.index(got[0])
    assert got == [sent[(start + number) % len(sent)] for number in range(len(got))]


@pytest.mark.parametrize("manners", [Misbehaviour(), BAD], ids=["clean", "reordered and doubled"])
async def test_pictures_over_udp(gateway: RunningGateway, tmp_path: Path, manners: Misbehaviour) -> None:
    await played(gateway, tmp_path, "udp", {}, misbehaviour=manners)


async def test_pictures_when_the_device_connects(gateway: RunningGateway, tmp_path: Path) -> None:
    await played(gateway, tmp_path, "tcp_active", {"tcp_priority": "TRUE"})


async def test_pictures_when_the_gateway_connects(impatient: RunningGateway, tmp_path: Path) -> None:
    await played(impatient, tmp_path, "tcp_passive", {"tcp_priority": "TRUE"})


async def test_under_loss_the_picture_recovers_and_the_figure_is_right(gateway: RunningGateway, tmp_path: Path) -> None:
    """The line is a pure function of its seed: which pictures are hit is known beforehand."""
    whole, hit, first_and_last_arrive = await asyncio.to_thread(fate_of_pictures)
    assert first_and_last_arrive, "else the receiver cannot know what it missed: take another seed"
    assert hit >= 3
    sent = await sent_sums(SMALL, tmp_path)
    async with ipcs(gateway, misbehaviour=LOSSY) as (running, [device_id]):
        channel = await invited(gateway, device_id)
        assert channel.play is not None
        watching = asyncio.create_task(flv(channel.play["http_flv"], LOSSY_S + 1))
        expected, received = await figures_at_rest(gateway, device_id)
        [stream] = running.figures.streams
        assert stream.unsent == 0
        assert (expected, received) == (stream.link.offered, stream.link.sent)
        assert expected - received == stream.link.lost > 0
        file = tmp_path / "lossy.flv"
        file.write_bytes(await watching)
    got = await picture_sums(file)
    sent = sent[: int(LOSSY_S * SMALL.fps)]
    assert set(got) <= set(sent), "no damaged picture is shown"
    due = [number for number in whole if number >= sent.index(got[0])]
    assert len(due) > 30
    assert not [number for number in due if sent[number] not in got], "all others are shown, from the key frame on"


async def figures_at_rest(gateway: RunningGateway, device_id: str) -> tuple[int, int]:
    """Expected and received once the device is silent and before its stream is taken for lost."""
    last: tuple[int, int] | None = None
    async with asyncio.timeout(LOSSY_S + 20):
        while True:
            channel = await gateway.channel(device_id)
            assert channel is not None
            if channel.stream is None:
                assert last is not None
                return last
            last = channel.stream["expected"], channel.stream["received"]
            await asyncio.sleep(0.2)


def fate_of_pictures() -> tuple[list[int], int, bool]:
    """Numbers of the pictures to be shown, how many were hit, and whether the ends of the stream arrived.

    After a loss of any kind (it might have been a whole picture) nothing is shown until the next key frame; nor is the
    picture right before a loss, if it was the loss that hid where the picture ended.
    """
    faults = LOSSY.stream_faults()
    stream = RtpStream(PsWriter(SMALL.video, SMALL.audio, faults=faults.ps), 1, faults)
    link = Link(faults.impairment)
    whole: list[int] = []
    fates: list[bool] = []
    hit, number, is_intact = 0, -1, False
    for unit in clip(SMALL).units:
        if unit.dts >= LOSSY_S * CLOCK_HZ:
            break
        arrived = [bool(link.pass_on([packet])) for packet in stream.packetise(unit)]
        if not arrived[0] and is_intact and whole and fates[-1]:
            whole.pop()
        fates += arrived
        is_intact = all(arrived) and (is_intact or (unit.is_video and unit.is_key))
        if unit.is_video:
            number += 1
            hit += not all(arrived)
            if is_intact:
                whole.append(number)
    return whole, hit, fates[0] and fates[-1]
