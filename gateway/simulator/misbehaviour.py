"""What simulated devices do wrong, by name: `loss=1%,reorder=2%,silent=30s,charset=gb18030,one_item`."""

import types
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final, get_args, get_origin, get_type_hints

from gateway.gb28181.charset import Charset
from gateway.simulator.link import Impairment
from gateway.simulator.ps_writer import PsFault
from gateway.simulator.rtp_sender import MarkerUse, StreamFaults


class MisbehaviourError(ValueError):
    """A name or value that does not exist; the text says which ones do."""


class AnswerY(Enum):
    """The `y=` line of an answer: that of the offer, another number, or none."""

    ECHO = "echo"
    OTHER = "other"
    NONE = "none"


@dataclass(frozen=True)
class Misbehaviour:
    """Everything that can be switched on; by default nothing. Shares are 0–1, times seconds."""

    # media
    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    seed: int = 0
    no_psm: bool = False
    psm_once: bool = False
    psm_wrong_codec: bool = False
    psm_without_audio: bool = False
    no_system_header: bool = False
    pes_length_zero: bool = False
    private_data: bool = False
    bare_pack: bool = False
    marker: MarkerUse = MarkerUse.LAST
    payload_type: int = 96
    ssrc: int | None = None  # in RTP, whatever was agreed; 0 as Dahua does
    jump: float | None = None  # all time stamps jump by an hour after so many seconds
    silent: float | None = None  # the stream stops after so many seconds; connections stay
    dollar: bool = False
    no_media: bool = False
    # calls
    y: AnswerY = AnswerY.ECHO
    no_setup: bool = False  # answers over TCP without a=setup
    refuse: int = 0  # status for each INVITE: 486, 488 …
    ring_only: bool = False  # 180 and never an answer
    media_only: bool = False  # media flows, but only 180 is answered
    slow: float = 0.0  # before each answer
    bye_after: float | None = None
    # registration
    wrong_password: bool = False
    no_keepalive: bool = False
    storm: float = 0.0  # registrations each second
    die: float | None = None  # the whole device falls silent so long after it registered
    private_contact: bool = False
    port_change: float | None = None  # a new source port each so many seconds
    clock_skew: float = 0.0
    no_unregister: bool = False
    # catalogue
    charset: Charset = Charset.GB2312
    declare: Charset | None = None  # what the XML declaration says instead
    one_item: bool = False
    sum_num: int | None = None
    last_lost: bool = False
    twice: bool = False
    parental: int | None = None
    unescaped: bool = False

    def stream_faults(self, seed: int = 0) -> StreamFaults:
        """The faults of one stream; `seed` sets streams apart."""
        named = (fault for fault in PsFault if getattr(self, fault.value))
        return StreamFaults(
            ps=frozenset(named),
            marker=self.marker,
            ssrc=self.ssrc,
            payload_type=self.payload_type,
            jump_after_s=self.jump,
            silent_after_s=self.silent,
            dollar=self.dollar,
            impairment=Impairment(self.loss, self.reorder, self.duplicate, seed=self.seed + seed),
        )


_TYPES: Final = get_type_hints(Misbehaviour)
_SWITCHES: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def parse_misbehaviour(text: str) -> Misbehaviour:
    """Reads `name`, `name=value` …, separated by commas; shares as `1%`, times as `30s`. Raises MisbehaviourError."""
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if name not in _TYPES:
            raise MisbehaviourError(f"{name!r} is none of {', '.join(_TYPES)}")
        try:
            values[name] = _value(_TYPES[name], value) if equals else _switched_on(_TYPES[name])
        except ValueError as error:
            raise MisbehaviourError(f"{part}: {error}") from None
    return Misbehaviour(**values)


def _switched_on(kind: Any) -> bool:
    if kind is not bool:
        raise ValueError("a value is needed")
    return True


def _value(kind: Any, text: str) -> Any:
    """`text` as the field's type, None aside."""
    if get_origin(kind) is types.UnionType:
        kind = next(member for member in get_args(kind) if member is not types.NoneType)
    if kind is bool:
        if text.lower() not in _SWITCHES:
            raise ValueError("yes or no is needed")
        return _SWITCHES[text.lower()]
    if kind is float:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text.removesuffix("s"))
    if kind is int:
        return int(text, 0)
    for member in kind:
        if member.value.lower() == text.lower():
            return member
    raise ValueError(f"one of {', '.join(member.value for member in kind)} is needed")


def describe(misbehaviour: Misbehaviour) -> str:
    """The text that `parse_misbehaviour` reads, of what is switched on."""
    default = Misbehaviour()
    parts = []
    for field in fields(misbehaviour):
        value = getattr(misbehaviour, field.name)
        if value == getattr(default, field.name):
            continue
        shown = value.value if isinstance(value, Enum) else value
        parts.append(field.name if value is True else f"{field.name}={shown}")
    return ",".join(parts)
