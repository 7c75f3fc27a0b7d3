"""A file as HLS: every key frame in exactly one segment, byte ranges that add up."""

from datetime import datetime, timedelta, timezone

from gateway.retention.playlists import beside, parts

ENTRIES = [(second * 1000, 1000 + second * 900) for second in range(11)]
BEGAN = datetime(2018, 8, 18, 18, 1, 0, 250_999, tzinfo=timezone(timedelta(hours=8)))


def test_segments_end_at_the_first_key_frame_after_four_seconds() -> None:
    found = parts(ENTRIES, 10_500, 11_000)
    assert [(part.from_ms, part.to_ms) for part in found] == [(0, 4000), (4000, 8000), (8000, 10_500)]
    assert [(part.from_byte, part.to_byte) for part in found] == [(1000, 4600), (4600, 8200), (8200, 11_000)]


def test_a_file_that_was_never_finished_is_one_segment() -> None:
    [found] = parts([(0, 1000)], 0, 11_000)
    assert (found.from_byte, found.to_byte) == (1000, 11_000)
    assert found.to_ms > found.from_ms
    assert parts([], 10_500, 11_000) == []


def test_what_is_stored_beside_a_file_names_it_and_nothing_else() -> None:
    text = beside("0100_0200.mp4", BEGAN, head_bytes=700, duration_ms=10_500, size_bytes=11_000, entries=ENTRIES)
    assert text.splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:4",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        '#EXT-X-MAP:URI="0100_0200.mp4",BYTERANGE="700@0"',
        "#EXT-X-PROGRAM-DATE-TIME:2018-08-18T10:01:00.250Z",
        "#EXTINF:4.000,",
        "#EXT-X-BYTERANGE:3600@1000",
        "0100_0200.mp4",
        "#EXTINF:4.000,",
        "#EXT-X-BYTERANGE:3600@4600",
        "0100_0200.mp4",
        "#EXTINF:2.500,",
        "#EXT-X-BYTERANGE:2800@8200",
        "0100_0200.mp4",
        "#EXT-X-ENDLIST",
    ]
