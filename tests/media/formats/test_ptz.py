"""PTZ commands: every row of GB/T 28181-2016 §A.3, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.formats.ptz import (
    Auxiliary,
    Cruise,
    CruiseAction,
    Focus,
    Iris,
    Lens,
    Move,
    Pan,
    Preset,
    PresetAction,
    PtzCommand,
    PtzError,
    Scan,
    ScanAction,
    Tilt,
    Zoom,
    build_ptz,
    describe_ptz,
    parse_ptz,
)

ROWS: list[tuple[str, PtzCommand, str]] = [
    ("A50F0100000000B5", Move(), "stop"),
    ("A50F010180000036", Move(pan=Pan.RIGHT, pan_speed=0x80), "right at 128"),
    ("A50F010280000037", Move(pan=Pan.LEFT, pan_speed=0x80), "left at 128"),
    ("A50F01080080003D", Move(tilt=Tilt.UP, tilt_speed=0x80), "up at 128"),
    ("A50F010400800039", Move(tilt=Tilt.DOWN, tilt_speed=0x80), "down at 128"),
    ("A50F01100000A065", Move(zoom=Zoom.IN, zoom_speed=10), "zoom in at 10"),
    ("A50F01200000A075", Move(zoom=Zoom.OUT, zoom_speed=10), "zoom out at 10"),
    ("A50F010A6060007F", Move(Pan.LEFT, Tilt.UP, None, 0x60, 0x60), "left at 96, up at 96"),
    ("A50F01056060007A", Move(Pan.RIGHT, Tilt.DOWN, None, 0x60, 0x60), "right at 96, down at 96"),
    ("A50F011140005056", Move(Pan.RIGHT, None, Zoom.IN, 0x40, 0, 5), "right at 64, zoom in at 5"),
    ("A50F01480080007D", Lens(iris=Iris.CLOSE, iris_speed=0x80), "iris close at 128"),
    ("A50F014400800079", Lens(iris=Iris.OPEN, iris_speed=0x80), "iris open at 128"),
    ("A50F014280000077", Lens(focus=Focus.NEAR, focus_speed=0x80), "focus near at 128"),
    ("A50F014180000076", Lens(focus=Focus.FAR, focus_speed=0x80), "focus far at 128"),
    ("A50F0140000000F5", Lens(), "stop focus and iris"),
    ("A50F01810005003B", Preset(PresetAction.SET, 5), "set preset 5"),
    ("A50F01820005003C", Preset(PresetAction.CALL, 5), "call preset 5"),
    ("A50F01830005003D", Preset(PresetAction.DELETE, 5), "delete preset 5"),
    ("A50F01840105003F", Cruise(CruiseAction.ADD, 1, 5), "add preset 5 to cruise 1"),
    ("A50F018501050040", Cruise(CruiseAction.DELETE, 1, 5), "delete preset 5 from cruise 1"),
    ("A50F01850100003B", Cruise(CruiseAction.DELETE, 1), "delete cruise 1"),
    ("A50F0186010A0046", Cruise(CruiseAction.SPEED, 1, 10), "speed of cruise 1: 10"),
    ("A50F0187012C1079", Cruise(CruiseAction.DWELL, 1, 300), "dwell on cruise 1: 300 s"),
    ("A50F01880100003E", Cruise(CruiseAction.START, 1), "start cruise 1"),
    ("A50F01890100003F", Scan(ScanAction.START, 1), "start scan 1"),
    ("A50F018901010040", Scan(ScanAction.LEFT_LIMIT, 1), "set left limit of scan 1"),
    ("A50F018901020041", Scan(ScanAction.RIGHT_LIMIT, 1), "set right limit of scan 1"),
    ("A50F018A01400080", Scan(ScanAction.SPEED, 1, 64), "speed of scan 1: 64"),
    ("A50F018C01000042", Auxiliary(True, 1), "switch 1 on"),
    ("A50F018D01000043", Auxiliary(False, 1), "switch 1 off"),
]


@pytest.mark.parametrize(("digits", "command", "words"), ROWS)
def test_rows_of_the_tables(digits: str, command: PtzCommand, words: str) -> None:
    assert build_ptz(command) == digits
    assert parse_ptz(digits) == command
    assert describe_ptz(command) == words


def test_case_and_blanks_do_not_matter() -> None:
    assert parse_ptz(" a5 0f 01 08 00 80 00 3d\n") == Move(tilt=Tilt.UP, tilt_speed=0x80)


def test_data_1_of_presets_is_ignored() -> None:
    assert parse_ptz("A50F01820105003D") == Preset(PresetAction.CALL, 5)


@pytest.mark.parametrize(
    ("digits", "offset"),
    [
        ("", 0),
        ("A50F", 2),
        ("A50F0100000000B500", 7),
        ("no digits at all", 0),
        ("A40F0100000000B4", 0),
        ("A50F0100000000B6", 7),
        ("A50F0103000000B8", 3),
        ("A50F014C00000001", 3),
        ("A50F01890003003F", 7),
        ("A50F018900030041", 3),
        ("A50F01C000000075", 3),
    ],
)
def test_what_is_no_command(digits: str, offset: int) -> None:
    with pytest.raises(PtzError) as caught:
        parse_ptz(digits)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    "command",
    [
        Move(pan=Pan.LEFT, pan_speed=256),
        Move(zoom=Zoom.IN, zoom_speed=16),
        Lens(iris_speed=-1),
        Preset(PresetAction.CALL, 0),
        Preset(PresetAction.SET, 256),
        Cruise(CruiseAction.DWELL, 1, 4096),
        Scan(ScanAction.SPEED, 256, 1),
    ],
)
def test_values_out_of_range_are_refused(command: PtzCommand) -> None:
    with pytest.raises(PtzError):
        build_ptz(command)


@given(st.binary(min_size=8, max_size=8).map(lambda data: b"\xa5" + data[1:]))
def test_bytes_with_a_right_sum_are_a_command_or_an_error(data: bytes) -> None:
    data = data[:7] + bytes([sum(data[:7]) % 256])
    try:
        command = parse_ptz(data.hex())
    except PtzError:
        return
    assert describe_ptz(command)


@given(st.text(max_size=20))
def test_any_text(text: str) -> None:
    try:
        parse_ptz(text)
    except PtzError:
        return
