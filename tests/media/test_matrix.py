"""Every way in × every way out × every pair of codings: the pictures and the sound that went in come out."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import pytest

from tests.media.house import House
from tests.media.matrix.inputs import INPUTS, Input, Scene, far_house
from tests.media.matrix.material import AUDIOS, FPS, SECONDS, VIDEOS, Film, film
from tests.media.matrix.outputs import OUTPUTS, Got

AT_ONCE = 3
"""Films on their way at once: each has all players."""
AHEAD_S = 0.5
"""FFmpeg sends so much of a film at once."""


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", INPUTS)
async def test_what_goes_in_comes_out(house: House, films: Path, name: str) -> None:
    source = INPUTS[name]
    wrong: dict[str, list[str]] = {}
    kinds = list(product(VIDEOS, sorted(source.audios)))
    async with far_house() as far:
        for some in (kinds[at : at + AT_ONCE] for at in range(0, len(kinds), AT_ONCE)):
            made = [await asyncio.to_thread(film, video, audio, source.b_frames, films) for video, audio in some]
            played = await asyncio.gather(*(through(Scene(house, far), source, one) for one in made))
            for one, found in zip(made, played, strict=True):
                for output, got in found.items():
                    way = OUTPUTS[output]
                    late = min(got.late + way.late + source.late, len(one.pictures) - FPS)
                    unfinished = way.unfinished + source.unfinished
                    without_sound = one.audio in way.without
                    if faults := compare(one, got, without_sound=without_sound, late=late, unfinished=unfinished):
                        wrong[f"{one.video} {one.audio} → {output}"] = faults
    assert not wrong, "\n".join(f"{cell}: {faults}" for cell, faults in wrong.items())


async def through(scene: Scene, source: Input, one: Film) -> dict[str, Got]:
    """What each player got of the film."""
    name, house = f"{one.video}-{one.audio}", scene.house
    begun = asyncio.get_running_loop().time()
    bringing = asyncio.create_task(source.bring(scene, one, name))
    async with asyncio.timeout(20):
        while house.relay.stream("live", name) is None:
            assert not bringing.done(), await bringing
            await asyncio.sleep(0.01)
    async with asyncio.timeout(40):
        _, *got = await asyncio.gather(bringing, *(output.play(house, name) for output in OUTPUTS.values()))
    for each in got:
        # A player begins with the key frame that was the newest when it came.
        each.late = int(each.begun - begun + AHEAD_S) * FPS
    return dict(zip(OUTPUTS, got, strict=True))


def test_the_document_states_the_exceptions() -> None:
    document = Path(__file__).parents[2] / "docs" / "media.md"
    _, _, behind = document.read_text().partition("\n| way in or out | left out |")
    rows = [line for line in behind.partition("\n\n")[0].splitlines() if line.startswith("| ")]
    assert rows == list(exceptions())


def exceptions() -> Iterator[str]:
    """The rows of the document's table, from what the matrix lets pass."""
    names = {"pcm_alaw": "G.711 A-law", "pcm_mulaw": "G.711 µ-law", "aac": "AAC", "opus": "Opus"}
    for way, source in INPUTS.items():
        left_out = [names[audio] for audio in AUDIOS if audio not in source.audios]
        left_out += ["B-frames"] if source.b_frames == 0 else []
        if left_out or source.late or source.unfinished:
            yield f"| in: {way} | {', '.join(left_out)} | {source.late} | {source.unfinished} | {source.why} |"
    for way, output in OUTPUTS.items():
        left_out = [names[audio] for audio in AUDIOS if audio in output.without]
        if left_out or output.late or output.unfinished:
            yield f"| out: {way} | {', '.join(left_out)} | {output.late} | {output.unfinished} | {output.why} |"


def compare(one: Film, got: Got, *, without_sound: bool, late: int, unfinished: int) -> list[str]:
    """What is wrong with what a player got; so many pictures may be missing at the beginning and at the end."""
    faults = []
    wanted = {"video": one.video} if without_sound else one.codecs
    if got.codecs != wanted:
        faults.append(f"codings {got.codecs}, {got.error or 'no error'}")
    places = [one.pictures.index(picture) if picture in one.pictures else -1 for picture in got.pictures]
    begin, end = (places[0], places[-1] + 1) if places else (0, 0)
    count = len(one.pictures)
    missing = sorted({*range(begin, count)} - {*places})
    in_order = all(a < b for a, b in pairwise(places))
    # What comes last may be shown before two others.
    at_end = not missing or (len(missing) <= unfinished and missing[0] >= count - unfinished - 2)
    if not places or not in_order or begin > late or begin % FPS or not at_end:
        breaks = [f"{a}|{b}" for a, b in pairwise(places) if b != a + 1]
        faults.append(f"pictures {begin} to {end}, {got.error or 'no error'}, breaks {breaks[:5]}")
    if "audio" in wanted and not sounds_right(one, got.sound, (end - begin) / len(one.pictures)):
        at = one.sound.find(got.sound)
        faults.append(f"{len(got.sound)} of {len(one.sound)} bytes of sound, found at {at}")
    return faults


def sounds_right(one: Film, sound: bytes, part: float) -> bool:
    """One piece of what was sent, at most 0.7 s shorter than the `part` of the film that was seen: of sound in blocks,
    what stands before the first picture is left out (0.15 s of MPEG-TS), and the last block may be cut (0.41 s)."""
    return sound in one.sound and len(sound) >= len(one.sound) * (part - 0.7 / SECONDS)
