"""Mutates MANSCDP bodies and checks what must hold for any bytes.

`python -m tests.fuzz.manscdp --seconds 60`. The same `--seed` makes the same inputs. A failing input is kept under
tests/.artifacts/ and ends the run with 1.
"""

import sys
from pathlib import Path
from typing import Final

from gateway.devices.model import DeviceId
from gateway.gb28181.catalogue import Assembly, Stage, Waits, classify
from gateway.gb28181.catalogue_tree import build_tree
from gateway.gb28181.charset import Charset, decode, encode
from gateway.gb28181.dates import DateError, parse_time
from gateway.gb28181.ids import is_identity, kind_of
from gateway.gb28181.manscdp import match_keepalive, parse
from gateway.gb28181.markup import TEXT_MAX, Element, ManscdpError, write_document
from gateway.gb28181.messages import CataloguePage, Keepalive, read
from gateway.gb28181.messages.catalogue import PARENTS_MAX
from tests.fuzz._driver import Target, main, with_words
from tests.fuzz.sip_syntax import mutate

ROOT: Final = Path(__file__).parents[1]
NVR: Final = DeviceId("34020000001180000007")
WORDS: Final = [
    *(b"<Item>", b"</Item>", b"<DeviceID>", b"</DeviceID>", b"<Info>", b"</Info>", b"<a b='c'/>", b"<!--", b"-->"),
    *(b"<![CDATA[", b"]]>", b"<!DOCTYPE a>", b"<?a?>", b'<?xml version="1.0" encoding="UTF-8"?>'),
    *(b"&", b"<", b">", b"&amp;", b"&#x41;", b"&#0;", b"\x00", b"\x01", b"\xd6\xd0", b"\xe4\xb8\xad", b"\x81\x30"),
    *(b"/", b" ", b"\r\n", b"null", b"65535", b"9" * 40, b"-1", b"1e309"),
]


def check_body(data: bytes, override: Charset | None) -> None:
    """What is read keeps its bounds, reads the same when it is written again, and can be worked with."""
    plain = match_keepalive(data)
    try:
        document = parse(data, override)
    except ManscdpError:
        assert plain is None
        return
    message = read(document)
    if plain is not None:
        assert isinstance(message, Keepalive)
        assert (message.sn, message.device_id) == plain
    check_element(document.element)
    again = parse(write_document(document.element, Charset.UTF_8), Charset.UTF_8)
    assert again.command == document.command
    if isinstance(message, CataloguePage):
        check_page(message)


def check_element(element: Element) -> None:
    """No text is longer than allowed."""
    assert len(element.text) <= TEXT_MAX
    for child in element.children:
        check_element(child)


def check_page(page: CataloguePage) -> None:
    """Items have good codes; assembling, sorting and building the tree end, and lose nothing."""
    for item in page.items:
        assert is_identity(item.code)
        assert len(item.parents) <= PARENTS_MAX
        assert item.longitude is None or -180 <= item.longitude <= 180
        kind_of(item.code)
    assembly = Assembly(Waits(), first_sn=17)
    assembly.start(0.0)
    assembly.handle_page(1.0, page)
    assert page.failed == (assembly.stage is Stage.FAILED)
    assert assembly.stage is not Stage.COMPLETE or page.sum_num is not None
    told = classify(NVR, assembly.items)
    assert len(told.channels) + len(told.others) + len(told.nodes) == len(assembly.items)
    tree = build_tree(NVR, assembly.items.values())
    assert all(tree.path(code)[0] == NVR for code in tree.nodes)


def check_text(data: bytes, charset: Charset) -> None:
    """Decoding never fails; what a charset can write, it reads."""
    text = decode(data).text
    assert decode(encode(text, charset), charset) is not None
    try:
        parse_time(text[:40])
    except DateError:
        return


def seeds() -> list[bytes]:
    """The bodies of all vectors."""
    return [path.read_bytes().partition(b"\n\n")[2] for path in sorted((ROOT / "vectors" / "manscdp").glob("*.txt"))]


CORPUS: Final = seeds()
TARGET: Final = Target(
    "manscdp",
    lambda rng: with_words(rng, mutate(rng, rng.choice(CORPUS), rng.choice(CORPUS)), WORDS),
    (
        lambda rng, data: check_body(data, rng.choice([None, None, *Charset])),
        lambda rng, data: check_text(data, rng.choice(list(Charset))),
    ),
)


if __name__ == "__main__":
    sys.exit(main(TARGET, __doc__))
