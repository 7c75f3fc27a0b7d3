"""PTZ commands: the eight bytes of `PTZCmd` (GB/T 28181-2016 §A.3), as 16 hexadecimal digits.

| byte | content |
|---|---|
| 1 | `A5` |
| 2 | version (0), check: sum of the nibbles of byte 1 and of the version, modulo 16 |
| 3 | address, bits 7–0; unused, the DeviceID decides |
| 4 | instruction |
| 5, 6 | data 1, data 2 |
| 7 | data 3 (high nibble), address bits 11–8 |
| 8 | sum of bytes 1–7 modulo 256 |
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from construct import BitStruct, Default, Nibble, Octet, Rebuild

MAGIC: Final = 0xA5


class PtzError(ValueError):
    """Not a PTZ command; `offset` is that of the byte (0–7) where it shows."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} at byte {offset} (GB/T 28181-2016 §A.3)")
        self.offset = offset


def _check(context: Any) -> int:
    nibbles: int = (context.magic >> 4) + (context.magic & 0xF) + context.version
    return nibbles % 16


def _sum(context: Any) -> int:
    first: int = context.magic + (context.version << 4 | context.check) + context.address + context.instruction
    last: int = context.data_1 + context.data_2 + (context.data_3 << 4 | context.address_high)
    return (first + last) % 256


PtzBytes: Final = BitStruct(
    "magic" / Default(Octet, MAGIC),
    "version" / Default(Nibble, 0),
    "check" / Rebuild(Nibble, _check),
    "address" / Default(Octet, 1),
    "instruction" / Octet,
    "data_1" / Default(Octet, 0),
    "data_2" / Default(Octet, 0),
    "data_3" / Default(Nibble, 0),
    "address_high" / Default(Nibble, 0),
    "sum" / Rebuild(Octet, _sum),
)


class Pan(Enum):
    """Horizontal movement, of the picture on the monitor; values are bits of the instruction."""

    RIGHT, LEFT = 0x01, 0x02


class Tilt(Enum):
    """Vertical movement."""

    DOWN, UP = 0x04, 0x08


class Zoom(Enum):
    """Angle of view: IN is narrower."""

    IN, OUT = 0x10, 0x20


class Focus(Enum):
    """Focus, NEAR or FAR."""

    FAR, NEAR = 0x01, 0x02


class Iris(Enum):
    """Iris, OPEN is larger."""

    OPEN, CLOSE = 0x04, 0x08


@dataclass(frozen=True)
class Move:
    """Starts what is named and stops the rest; with nothing named everything stops, cruise and scan too (§A.3.2).

    Speeds of pan and tilt 0–255, of zoom 0–15.
    """

    pan: Pan | None = None
    tilt: Tilt | None = None
    zoom: Zoom | None = None
    pan_speed: int = 0
    tilt_speed: int = 0
    zoom_speed: int = 0


@dataclass(frozen=True)
class Lens:
    """Focus and iris, speeds 0–255; with nothing named both stop (§A.3.3)."""

    focus: Focus | None = None
    iris: Iris | None = None
    focus_speed: int = 0
    iris_speed: int = 0


class PresetAction(Enum):
    """What to do with a preset; values are instructions (§A.3.4)."""

    SET, CALL, DELETE = 0x81, 0x82, 0x83


@dataclass(frozen=True)
class Preset:
    """A stored position, `number` 1–255."""

    action: PresetAction
    number: int


class CruiseAction(Enum):
    """What to do with a cruise; values are instructions (§A.3.5)."""

    ADD, DELETE, SPEED, DWELL, START = 0x84, 0x85, 0x86, 0x87, 0x88


@dataclass(frozen=True)
class Cruise:
    """A round of presets, `group` 0–255.

    `value` is the preset (1–255) to ADD or DELETE (0: the whole group), the SPEED (0–4095, no unit), or the DWELL in
    seconds (0–4095). A cruise is stopped by `Move()`.
    """

    action: CruiseAction
    group: int
    value: int = 0


class ScanAction(Enum):
    """What to do with a scan (§A.3.6); values are data 2 of instruction 89, SPEED is an instruction of its own."""

    START, LEFT_LIMIT, RIGHT_LIMIT, SPEED = 0x00, 0x01, 0x02, 0x8A


@dataclass(frozen=True)
class Scan:
    """Movement between two limits, `group` 0–255; `speed` 0–4095 with SPEED only. Stopped by `Move()`."""

    action: ScanAction
    group: int
    speed: int = 0


@dataclass(frozen=True)
class Auxiliary:
    """A switch (1: wiper), `number` 0–255 (§A.3.7)."""

    on: bool
    number: int


PtzCommand = Move | Lens | Preset | Cruise | Scan | Auxiliary

_Pair = TypeVar("_Pair", bound=Enum)
_SCAN, _SCAN_SPEED, _AUXILIARY_ON, _AUXILIARY_OFF = 0x89, 0x8A, 0x8C, 0x8D
_TWELVE_BIT: Final = frozenset({CruiseAction.SPEED, CruiseAction.DWELL})


def build_ptz(command: PtzCommand, *, address: int = 1) -> str:
    """The 16 upper-case hexadecimal digits; PtzError for a value out of its range."""
    instruction, data_1, data_2, data_3 = _fields(command)
    fields = {"instruction": instruction, "data_1": data_1, "data_2": data_2, "data_3": data_3}
    for offset, (name, most) in enumerate({"data_1": 255, "data_2": 255, "data_3": 15}.items(), start=4):
        if not 0 <= fields[name] <= most:
            raise PtzError(f"{fields[name]} is not in 0–{most}", offset)
    built: bytes = PtzBytes.build(fields | {"address": address & 0xFF, "address_high": address >> 8 & 0xF})
    return built.hex().upper()


def _fields(command: PtzCommand) -> tuple[int, int, int, int]:  # noqa: PLR0911  (one line for each row of the tables)
    """Instruction, data 1, data 2, data 3."""
    match command:
        case Move(pan, tilt, zoom, pan_speed, tilt_speed, zoom_speed):
            bits = sum(part.value for part in (pan, tilt, zoom) if part)
            return bits, pan_speed, tilt_speed, zoom_speed
        case Lens(focus, iris, focus_speed, iris_speed):
            return 0x40 + sum(part.value for part in (focus, iris) if part), focus_speed, iris_speed, 0
        case Preset(action, number):
            if not 1 <= number <= 255:
                raise PtzError(f"preset {number} is not in 1–255", 5)
            return action.value, 0, number, 0
        case Cruise(action, group, value) if action in _TWELVE_BIT:
            return action.value, group, value & 0xFF, value >> 8
        case Cruise(action, group, value):
            return action.value, group, value, 0
        case Scan(ScanAction.SPEED, group, speed):
            return _SCAN_SPEED, group, speed & 0xFF, speed >> 8
        case Scan(action, group):
            return _SCAN, group, action.value, 0
        case Auxiliary(on, number):
            return _AUXILIARY_ON if on else _AUXILIARY_OFF, number, 0, 0


def parse_ptz(text: str) -> PtzCommand:
    """Reads 16 hexadecimal digits, in any case and with blanks; version and address are not judged, for senders vary.

    Raises PtzError with the offset of the byte for a wrong length, start, sum or an instruction that the standard
    does not have.
    """
    digits = "".join(text.split())
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        raise PtzError("not hexadecimal", 0) from None
    if len(data) != 8:
        raise PtzError(f"{len(data)} bytes instead of 8", min(len(data), 7))
    fields = PtzBytes.parse(data)
    if fields.magic != MAGIC:
        raise PtzError(f"start {fields.magic:02X} instead of A5", 0)
    if fields.sum != _sum(fields):
        raise PtzError(f"sum {fields.sum:02X} instead of {_sum(fields):02X}", 7)
    return _command(fields)


def _command(fields: Any) -> PtzCommand:  # noqa: PLR0911  (one line for each row)
    instruction, group, wide = fields.instruction, fields.data_1, fields.data_3 << 8 | fields.data_2
    if instruction < 0x40:
        return _move(fields)
    if instruction & 0xF0 == 0x40:
        return _lens(fields)
    match instruction:
        case 0x81 | 0x82 | 0x83:  # data 1 is ignored: some senders put 01 there
            return Preset(PresetAction(instruction), fields.data_2)
        case 0x84 | 0x85:
            return Cruise(CruiseAction(instruction), group, fields.data_2)
        case 0x86 | 0x87:
            return Cruise(CruiseAction(instruction), group, wide)
        case 0x88:
            return Cruise(CruiseAction.START, group)
        case 0x89 if fields.data_2 <= 2:
            return Scan(ScanAction(fields.data_2), group)
        case 0x8A:
            return Scan(ScanAction.SPEED, group, wide)
        case 0x8C | 0x8D:
            return Auxiliary(instruction == _AUXILIARY_ON, group)
    raise PtzError(f"unknown instruction {instruction:02X}", 3)


def _pair(kind: type[_Pair], bits: int) -> _Pair | None:
    """The member of a pair whose bit is set; PtzError if both are ("the two bits never combine")."""
    first, second = kind
    if bits & first.value and bits & second.value:
        raise PtzError(f"{first.name} and {second.name} at once", 3)
    return next((member for member in kind if bits & member.value), None)


def _move(fields: Any) -> Move:
    bits = fields.instruction
    return Move(_pair(Pan, bits), _pair(Tilt, bits), _pair(Zoom, bits), fields.data_1, fields.data_2, fields.data_3)


def _lens(fields: Any) -> Lens:
    return Lens(_pair(Focus, fields.instruction), _pair(Iris, fields.instruction), fields.data_1, fields.data_2)


def describe_ptz(command: PtzCommand) -> str:  # noqa: PLR0911  (one for each kind)
    """The command in words, such as `left at 80, zoom in at 5`."""
    match command:
        case Move():
            return _parts(
                (command.pan, command.pan_speed, ""),
                (command.tilt, command.tilt_speed, ""),
                (command.zoom, command.zoom_speed, "zoom "),
            )
        case Lens():
            focus, iris = (command.focus, command.focus_speed, "focus "), (command.iris, command.iris_speed, "iris ")
            words = _parts(focus, iris)
            return "stop focus and iris" if words == "stop" else words
        case Preset(action, number):
            return f"{action.name.lower()} preset {number}"
        case Cruise(action, group, value):
            return _cruise(action, group, value)
        case Scan(ScanAction.SPEED, group, speed):
            return f"speed of scan {group}: {speed}"
        case Scan(action, group):
            verb = {ScanAction.START: "start", ScanAction.LEFT_LIMIT: "set left limit of"}
            return f"{verb.get(action, 'set right limit of')} scan {group}"
        case Auxiliary(on, number):
            return f"switch {number} {'on' if on else 'off'}"


def _parts(*parts: tuple[Enum | None, int, str]) -> str:
    named = [f"{what}{part.name.lower()} at {speed}" for part, speed, what in parts if part]
    return ", ".join(named) or "stop"


def _cruise(action: CruiseAction, group: int, value: int) -> str:
    match action:
        case CruiseAction.ADD:
            return f"add preset {value} to cruise {group}"
        case CruiseAction.DELETE:
            return f"delete preset {value} from cruise {group}" if value else f"delete cruise {group}"
        case CruiseAction.SPEED:
            return f"speed of cruise {group}: {value}"
        case CruiseAction.DWELL:
            return f"dwell on cruise {group}: {value} s"
        case CruiseAction.START:
            return f"start cruise {group}"
