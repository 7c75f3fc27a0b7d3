"""The XML that MANSCDP documents are made of: a small tree, read leniently and written strictly.

Reading is strict first (expat, its limits watched while it parses), then lenient: devices send raw `&` and `<`, control
bytes and stray end tags, and one broken item must not cost the others. Each repair is a counted deviation, and none
changes an identifier. A document type, an entity of its own or a processing instruction is refused outright.
Element names are compared without regard to case and namespace. Writing escapes and keeps the order it is given.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from gateway.gb28181.charset import Charset, encode

DEPTH_MAX: Final = 8
ELEMENTS_MAX: Final = 50_000
"""More than a catalogue of the largest SIP body can hold (1 MiB, 20 bytes each), and read within 0.2 s: messages are
read on the loop."""
STRAYS_MAX: Final = 1_000
"""Signs `<` that are no tag; a document with more of them is none."""
TEXT_MAX: Final = 4096
"""Characters of one element's text; more is cut off."""
ATTRIBUTES_MAX: Final = 16


class ManscdpError(ValueError):
    """The body is no MANSCDP document, even after repair."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason if offset is None else f"{reason} (at {offset})")
        self.offset = offset


class Element:
    """One XML element: its text (trimmed) and its children, in order."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(
        self, name: str, text: str = "", children: Iterable["Element"] = (), attributes: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.text = text
        self.children = list(children)
        self.attributes = attributes or {}

    def __repr__(self) -> str:
        return f"Element({self.name!r}, {self.text!r}, {self.children!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Element):
            return NotImplemented
        return (self.name, self.text, self.children, self.attributes) == (
            other.name, other.text, other.children, other.attributes,
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]  # mutable while it is built

    def find(self, name: str) -> "Element | None":
        """The first child of that name, compared without regard to case."""
        return next(self.all(name), None)

    def all(self, name: str) -> Iterator["Element"]:
        """All children of that name."""
        wanted = name.lower()
        return (child for child in self.children if child.name.lower() == wanted)

    def value(self, name: str) -> str | None:
        """The text of the first child of that name; None if it is absent, empty, or has children of its own."""
        child = self.find(name)
        return child.text if child is not None and child.text and not child.children else None


def parse_xml(text: str) -> tuple[Element, tuple[str, ...]]:
    """Reads XML text without its declaration: the root, and the names of the repairs. Raises ManscdpError."""
    text = text.strip().removeprefix("\ufeff").lstrip()
    try:
        return _StrictReader().read(text)
    except expat.ExpatError:
        return _LenientReader(text.replace("\r\n", "\n").replace("\r", "\n")).read()  # XML 1.0 §2.11


class _Builder:
    """Builds the tree within its limits; shared by both readers."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self.open: list[Element] = []
        self.deviations: list[str] = []
        self._pieces: list[list[str]] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> Element:
        self._count += 1
        if self._count > ELEMENTS_MAX:
            raise ManscdpError(f"more than {ELEMENTS_MAX} elements")
        if len(self.open) >= DEPTH_MAX:
            raise ManscdpError(f"elements are nested deeper than {DEPTH_MAX}")
        if len(attributes) > ATTRIBUTES_MAX:
            raise ManscdpError(f"more than {ATTRIBUTES_MAX} attributes")
        element = Element(name.rpartition(":")[2], attributes=attributes)
        if self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)
        self._pieces.append([])
        return element

    def text(self, text: str) -> None:
        if self.open:
            self._pieces[-1].append(text)

    def undo(self) -> None:
        """Makes the innermost element what it was taken from: text of its parent."""
        element = self.open.pop()
        self.open[-1].children.pop()
        pieces = self._pieces.pop()
        self._pieces[-1] += [f"<{element.name}>", *pieces]

    def end(self) -> Element:
        element = self.open.pop()
        text = "".join(self._pieces.pop()).strip()
        if len(text) > TEXT_MAX:
            text = text[:TEXT_MAX]
            self.deviations.append("xml-text-cut")
        element.text = text
        return element


class _StrictReader:
    """expat with everything dangerous refused at its first sign."""

    def __init__(self) -> None:
        self._builder = _Builder()
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._builder.start
        parser.EndElementHandler = lambda _name: self._builder.end()
        parser.CharacterDataHandler = self._builder.text
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.ProcessingInstructionHandler = self._refuse
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self._parser = parser

    def read(self, text: str) -> tuple[Element, tuple[str, ...]]:
        """The root and what was tolerated. Raises ExpatError where XML is broken, ManscdpError where a limit is."""
        try:
            self._parser.Parse(text, True)
        except UnicodeEncodeError as error:  # a lone surrogate cannot come from bytes, but may from a caller
            raise ManscdpError("text with surrogates", error.start) from None
        root = self._builder.root
        if root is None:
            raise ManscdpError("there is no root element")
        return root, tuple(self._builder.deviations)

    def _refuse(self, *_: object) -> None:
        raise ManscdpError("document types, entities and processing instructions are refused")


_TAG: Final = re.compile(
    r"<(?P<end>/)?(?P<name>[A-Za-z_][\w.:-]{0,63})(?P<attributes>(?:\s+[\w.:-]{1,64}\s*=\s*(?:\"[^\"<]{0,256}\"|'[^'<]{0,256}'))*)\s*(?P<empty>/)?>",
    re.ASCII,
)
_ATTRIBUTE: Final = re.compile(r"([\w.:-]{1,64})\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')", re.ASCII)
_REFERENCE: Final = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#(\d{1,7})|#x([0-9A-Fa-f]{1,6}));|&")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_NAMED: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_CDATA: Final = "<![CDATA["
_SECTIONS: Final = ((_CDATA, "]]>"), ("<!--", "-->"))
_FORBIDDEN: Final = re.compile(r"<!DOCTYPE|<!ENTITY|<\?(?!xml\b)", re.IGNORECASE)


class _LenientReader:
    """Reads what a strict parser refuses: whatever is not plainly a tag is text; end tags close what they name."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._builder = _Builder()
        self._repairs: set[str] = set()
        self._unclosed: set[str] = set()
        self._strays = 0

    def read(self) -> tuple[Element, tuple[str, ...]]:
        """The root and the names of the repairs. Raises ManscdpError if there is none."""
        if (forbidden := _FORBIDDEN.search(self._text)) is not None:
            raise ManscdpError("document types, entities and processing instructions are refused", forbidden.start())
        position = 0
        while position < len(self._text) and (self._builder.root is None or self._builder.open):
            position = self._step(position)
        while self._builder.open:
            self._repairs.add("xml-end-tag-missing")
            self._close_one(implicit=len(self._builder.open) > 1)
        if self._builder.root is None:
            raise ManscdpError("there is no root element")
        if position < len(self._text):
            self._repairs.add("xml-text-after-root")
        return self._builder.root, (*self._builder.deviations, *sorted(self._repairs))

    def _step(self, position: int) -> int:
        """Reads the text up to the next `<` and what is there; gives the position behind it."""
        at = self._text.find("<", position)
        if at < 0:
            self._characters(self._text[position:])
            return len(self._text)
        self._characters(self._text[position:at])
        if (match := _TAG.match(self._text, at)) is not None:
            self._tag(match)
            return match.end()
        for opening, closing in _SECTIONS:
            if self._text.startswith(opening, at) and (end := self._find_end(closing, at)) >= 0:
                if opening == _CDATA:
                    self._builder.text(self._text[at + len(opening) : end])
                return end + len(closing)
        self._strays += 1
        if self._strays > STRAYS_MAX:
            raise ManscdpError(f"more than {STRAYS_MAX} signs < that are no tag", at)
        self._repairs.add("xml-stray-less-than")
        self._builder.text("<")
        return at + 1

    def _find_end(self, closing: str, at: int) -> int:
        """Where a comment or CDATA section ends; a vain search is not repeated, so that reading stays linear."""
        if closing in self._unclosed:
            return -1
        end = self._text.find(closing, at)
        if end < 0:
            self._unclosed.add(closing)
        return end

    def _tag(self, match: re.Match[str]) -> None:
        name = match["name"].rpartition(":")[2]
        if match["end"]:
            self._end(name)
            return
        attributes = {key: double or single for key, double, single in _ATTRIBUTE.findall(match["attributes"])}
        self._builder.start(name, attributes)
        if match["empty"]:
            self._builder.end()

    def _end(self, name: str) -> None:
        if all(element.name.lower() != name.lower() for element in self._builder.open):
            self._repairs.add("xml-stray-end-tag")
            return
        while self._builder.open:
            matches = self._builder.open[-1].name.lower() == name.lower()
            self._close_one(implicit=not matches)
            if matches:
                return
            self._repairs.add("xml-end-tag-missing")

    def _close_one(self, implicit: bool) -> None:
        """Closes the innermost element; one that was never closed and has no children was text in angle brackets."""
        builder = self._builder
        element = builder.open[-1]
        if implicit and not element.children and len(builder.open) > 1 and element.name.lower() not in _FIELDS:
            builder.undo()
            return
        builder.end()
        if not element.name.lower().endswith("id") and _CONTROL.search(element.text):  # identifiers are never changed
            self._repairs.add("xml-control-character")
            element.text = _CONTROL.sub("", element.text).strip()

    def _characters(self, text: str) -> None:
        if not text or not self._builder.open:
            return
        for match in _REFERENCE.finditer(text):
            if match.lastindex is None:
                self._repairs.add("xml-stray-ampersand")
                break
        self._builder.text(_REFERENCE.sub(_dereference, text))


def _dereference(match: re.Match[str]) -> str:
    named, decimal, hexadecimal = match.groups()
    if named:
        return _NAMED[named]
    if decimal is None and hexadecimal is None:
        return "&"
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000 else ""


_FIELDS: Final = frozenset(
    {
        "cmdtype",
        "sn",
        "deviceid",
        "name",
        "status",
        "sumnum",
        "devicelist",
        "item",
        "info",
        "event",
        "parentid",
        "civilcode",
        "address",
        "result",
    }
)

"""Elements that, left open, are ours rather than a word in angle brackets."""


def write_document(element: Element, charset: Charset) -> bytes:
    """The bytes of a whole document with its declaration; lines end in CRLF."""
    lines: list[str] = [f'<?xml version="1.0" encoding="{charset.value}"?>']
    _write(element, 0, lines)
    return encode("\r\n".join(lines) + "\r\n", charset)


def _write(element: Element, depth: int, lines: list[str]) -> None:
    attributes = "".join(f" {key}={quoteattr(_clean(value))}" for key, value in element.attributes.items())
    opening = f"{'  ' * depth}<{element.name}{attributes}>"
    if not element.children:
        lines.append(f"{opening}{escape(_clean(element.text))}</{element.name}>")
        return
    lines.append(opening)
    for child in element.children:
        _write(child, depth + 1, lines)
    lines.append(f"{'  ' * depth}</{element.name}>")


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot carry."""
    return _CONTROL.sub("", text).encode("utf-8", "ignore").decode("utf-8")
