"""Playlists over the slices of an interval."""

from dataclasses import replace

from gateway.playback.playlists import Listed, playlist

START = 1_767_225_600_000
ONE = Listed(
    slice_id="a" * 32,
    form="mp4",
    start_ms=START,
    duration_ms=10_500,
    head_bytes=700,
    size_bytes=11_000,
    entries=[(second * 1000, 1000 + second * 900) for second in range(11)],
)


def test_mp4_is_listed_by_byte_ranges_and_flv_by_segments_that_are_made() -> None:
    other = replace(ONE, slice_id="b" * 32, form="flv", start_ms=START + 60_000)
    text = playlist([ONE, other], START + 5000, START + 61_000, "sign=x")
    assert text.splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:4",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MAP:URI="{"a" * 32}.mp4?sign=x",BYTERANGE="700@0"',
        "#EXTINF:4.000,",
        "#EXT-X-BYTERANGE:3600@4600",
        f"{'a' * 32}.mp4?sign=x",
        "#EXTINF:2.500,",
        "#EXT-X-BYTERANGE:2800@8200",
        f"{'a' * 32}.mp4?sign=x",
        "#EXT-X-DISCONTINUITY",
        f'#EXT-X-MAP:URI="{"b" * 32}/init.mp4?sign=x"',
        "#EXTINF:4.000,",
        f"{'b' * 32}/0-4000.m4s?sign=x",
        "#EXT-X-ENDLIST",
    ]


def test_nothing_in_the_interval_is_an_empty_list() -> None:
    assert playlist([ONE], START + 20_000, START + 30_000, "").endswith("SEGMENTS\n#EXT-X-ENDLIST\n")
