"""MANSCDP documents: the bodies of MESSAGE, SUBSCRIBE and NOTIFY (GB/T 28181-2016 annex A)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gateway.gb28181.charset import Charset, decode
from gateway.gb28181.markup import Element, ManscdpError, parse_xml, write_document

SIZE_MAX: Final = 1 << 20
"""Bytes of a body; a catalogue over TCP may be long (GB/T 28181-2022 annex M)."""


class Root(Enum):
    """The four kinds of document (GB/T 28181-2016 §A.1)."""

    CONTROL = "Control"
    QUERY = "Query"
    NOTIFY = "Notify"
    RESPONSE = "Response"


_ROOTS: Final = {root.value.lower(): root for root in Root}

COMMANDS: Final = (
    "Keepalive",
    "Catalog",
    "DeviceInfo",
    "DeviceStatus",
    "RecordInfo",
    "Alarm",
    "ConfigDownload",
    "DeviceConfig",
    "DeviceControl",
    "PresetQuery",
    "MobilePosition",
    "MediaStatus",
    "Broadcast",
    "HomePositionQuery",
    "CruiseTrackListQuery",
    "CruiseTrackQuery",
    "PTZPosition",
    "SDCardStatus",
    "UploadSnapShotFinished",
    "VideoUploadNotify",
    "DeviceUpgradeResult",
)
"""Every CmdType of the editions up to 2022, in the standard's spelling."""

_CANONICAL: Final = {name.lower(): name for name in COMMANDS} | {
    "persetquery": "PresetQuery",  # misspelt so in the amendment of 2014
    "homeposition": "HomePositionQuery",  # a Dahua answers with this name
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document as it was read."""

    root: Root
    command: str
    """CmdType in the standard's spelling; an unknown one as it was sent."""
    sn: int | None
    """None if absent or no number."""
    device_id: str
    """DeviceID as sent, not checked; empty if absent."""
    element: Element = field(repr=False)
    charset: Charset = Charset.GB2312
    deviations: tuple[str, ...] = ()


def parse(data: bytes, override: Charset | None = None) -> Document:
    """Reads a body. Raises ManscdpError if it is too large, no XML even after repair, or no MANSCDP document."""
    if len(data) > SIZE_MAX:
        raise ManscdpError(f"{len(data)} bytes are more than {SIZE_MAX}")
    decoded = decode(data, override)
    element, repairs = parse_xml(decoded.text)
    root = _ROOTS.get(element.name.lower())
    if root is None:
        raise ManscdpError(f"the root is {element.name[:40]!r}, not Control, Query, Notify or Response")
    command = element.value("CmdType")
    if command is None:
        raise ManscdpError("there is no CmdType")
    sn, sn_deviations = _read_sn(element.value("SN"))
    return Document(
        root=root,
        command=canonical_command(command),
        sn=sn,
        device_id=element.value("DeviceID") or "",
        element=element,
        charset=decoded.charset,
        deviations=(*decoded.deviations, *repairs, *sn_deviations),
    )


def canonical_command(name: str) -> str:
    """The standard's spelling of a CmdType; an unknown one is cut to 64 printable characters."""
    known = _CANONICAL.get(name.lower())
    return known or "".join(character if character.isprintable() else "?" for character in name[:64])


def _read_sn(text: str | None) -> tuple[int | None, tuple[str, ...]]:
    if text is None:
        return None, ("sn-missing",)
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        return None, ("sn-not-a-number",)
    return int(text), ()


_KEEPALIVE: Final = re.compile(
    rb"\s*(?:<\?xml\s[^<>?]{0,80}\?>)?\s*<Notify>\s*<CmdType>Keepalive</CmdType>\s*<SN>(\d{1,18})</SN>\s*"
    rb"<DeviceID>([0-9A-Za-z]{1,32})</DeviceID>\s*<Status>OK</Status>\s*(?:<Info>\s*</Info>|<Info\s*/>)?\s*</Notify>\s*\0*"
)


def match_keepalive(data: bytes) -> tuple[int, str] | None:
    """SN and DeviceID of a plain keepalive whose status is OK; None sends any other body the long way."""
    match = _KEEPALIVE.fullmatch(data)
    return None if match is None else (int(match[1]), match[2].decode("ascii"))


def build(
    root: Root,
    command: str,
    sn: int,
    device_id: str,
    fields: Iterable[Element] = (),
    *,
    charset: Charset = Charset.GB2312,
) -> bytes:
    """Writes a document: CmdType, SN, DeviceID, then the fields in the schema's order."""
    head = [Element("CmdType", command), Element("SN", str(sn)), Element("DeviceID", device_id)]
    return write_document(Element(root.value, children=[*head, *fields]), charset)
