"""Headers of a message: an ordered multi-dictionary with typed readings of the headers that this library uses."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from sip.errors import Deviation, SipParseError
from sip.grammar import BLANK, TOKEN, parse_number, seconds, split
from sip.names import SINGLE, canonical
from sip.values import MAX_IDENTIFIER, Auth, CSeq, Event, NameAddr, SubscriptionState, Via

T = TypeVar("T")

FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Field = tuple[str, str, str]  # key (lower-case long name), name as written, value


class Headers:
    """Header fields in order, never changed once made; names without regard to case, compact forms known.

    Of a single header that came twice the first one counts. The methods that "change" return new `Headers`.
    Typed readings are made on first use and kept. An optional header that cannot be read counts as absent and as
    `Deviation.MALFORMED_HEADER`, which stands in `deviations` from the first reading on; a mandatory one (`via`,
    `from_`, `to`, `call_id`, `cseq`) raises SipParseError.
    """

    __slots__ = ("_typed", "deviations", "fields", "first")

    def __init__(self, fields: Iterable[tuple[str, object]] = ()) -> None:
        """From (name, value) pairs of our own; ValueError for what would break the message."""
        checked: list[Field] = []
        for name, value in fields:
            text = str(value)
            if FORBIDDEN.search(text):
                raise ValueError(f"control character in {name}: {text!r}")
            checked.append((*canonical(name), text.strip(BLANK)))
        self._take(checked, set())

    @classmethod
    def of_fields(cls, fields: list[Field], deviations: set[Deviation]) -> "Headers":
        """From fields that were checked already (the parser's way in)."""
        headers = cls.__new__(cls)
        headers._take(fields, deviations)
        return headers

    def _take(self, fields: list[Field], deviations: set[Deviation]) -> None:
        self.fields: list[Field] = fields
        self.first: dict[str, str] = {}  # key -> first value
        self.deviations: set[Deviation] = deviations
        self._typed: dict[str, Any] = {}
        first = self.first
        for key, _, value in fields:
            if key not in first:
                first[key] = value
            elif key in SINGLE:
                deviations.add(Deviation.DUPLICATE_HEADER)

    # -- as a dictionary of text --------------------------------------------------------------------------------------

    def get(self, name: str) -> str | None:
        """The first value of that name as text."""
        value = self.first.get(name)
        return value if value is not None else self.first.get(canonical(name)[0])

    def get_all(self, name: str) -> list[str]:
        """All fields of that name as text, in order; comma-joined ones are not split."""
        key = canonical(name)[0]
        return [value for other, _, value in self.fields if other == key] if key in self.first else []

    def get_list(self, name: str) -> list[str]:
        """All items of a header that may be comma-joined or repeated (RFC 3261 §7.3.1).

        Raises SipParseError if a quote is left open.
        """
        return [item for value in self.get_all(name) for item in split(value, ",") if item]

    def __contains__(self, name: str) -> bool:
        return canonical(name)[0] in self.first

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(name, value) of every field, names spelled as they are written."""
        return ((name, value) for _, name, value in self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.fields == other.fields

    __hash__ = None  # type: ignore[assignment]  # compared by value and holding text of any size

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"

    # -- changed copies -----------------------------------------------------------------------------------------------

    def adding(self, name: str, *values: object) -> "Headers":
        """With fields added at the end."""
        return self._copy([*self.fields, *Headers((name, value) for value in values).fields])

    def prepending(self, name: str, value: object) -> "Headers":
        """With a field in front, as a proxy or client adds its Via or Route."""
        return self._copy([*Headers([(name, value)]).fields, *self.fields])

    def removing(self, *names: str) -> "Headers":
        """Without any field of those names."""
        keys = {canonical(name)[0] for name in names}
        return self._copy([field for field in self.fields if field[0] not in keys])

    def replacing(self, name: str, *values: object) -> "Headers":
        """With these values for that name, where the first one stood, or at the end."""
        key = canonical(name)[0]
        fresh = Headers((name, value) for value in values).fields
        at = next((index for index, field in enumerate(self.fields) if field[0] == key), len(self.fields))
        kept = [field for field in self.fields[at:] if field[0] != key]
        return self._copy([*self.fields[:at], *fresh, *kept])

    def with_top_via(self, via: Via) -> "Headers":
        """With the topmost hop replaced, even if it is comma-joined with others. What was read already stays read."""
        at = next(index for index, field in enumerate(self.fields) if field[0] == "via")
        before = self.fields[at][2]
        text = ", ".join([str(via), *split(before, ",")[1:]]) if "," in before else str(via)
        if FORBIDDEN.search(text):
            raise ValueError(f"control character in Via: {text!r}")
        headers = Headers.__new__(Headers)
        headers.fields = self.fields.copy()
        headers.fields[at] = ("via", "Via", text)
        headers.first = {**self.first, "via": text}
        headers.deviations = set(self.deviations)
        headers._typed = {**self._typed, "via": via}
        headers._typed.pop("via*", None)
        return headers

    def _copy(self, fields: list[Field]) -> "Headers":
        return Headers.of_fields(fields, set(self.deviations))

    # -- mandatory headers --------------------------------------------------------------------------------------------

    def unread(self, key: str) -> bool:
        """Whether nobody has read that header as a typed value so far."""
        return key not in self._typed

    def _mandatory(self, key: str, read: Callable[[str], T]) -> T:
        try:
            cached: T = self._typed[key]
        except KeyError:
            text = self.first.get(key)
            if text is None:
                raise SipParseError(f"{canonical(key)[1]} missing", 0, "RFC 3261 §8.1.1") from None
            cached = self._typed[key] = read(text)
        return cached

    def _read_address(self, text: str) -> NameAddr:
        address = NameAddr.parse(text, self.deviations)
        if len(address.tag or "") > MAX_IDENTIFIER:
            raise SipParseError("tag too long", 0, "RFC 3261 §19.3")
        if not address.uri.host and not address.uri.opaque and address.uri.scheme != "tel":
            self.deviations.add(Deviation.EMPTY_HOST)
        return address

    @property
    def via(self) -> Via:
        """The topmost hop."""
        return self._mandatory("via", lambda text: Via.parse(split(text, ",")[0]))

    @property
    def from_(self) -> NameAddr:
        return self._mandatory("from", self._read_address)

    @property
    def to(self) -> NameAddr:
        return self._mandatory("to", self._read_address)

    @property
    def call_id(self) -> str:
        return self._mandatory("call-id", _read_call_id)

    @property
    def cseq(self) -> CSeq:
        return self._mandatory("cseq", CSeq.parse)

    # -- optional headers ---------------------------------------------------------------------------------------------

    def _optional(self, key: str, read: Callable[[str], T]) -> T | None:
        if key in self._typed:
            cached: T | None = self._typed[key]
            return cached
        text = self.first.get(key)
        value: T | None = None
        if text is not None:
            try:
                value = read(text)
            except SipParseError:
                self.deviations.add(Deviation.MALFORMED_HEADER)
        self._typed[key] = value
        return value

    def _list(self, key: str, read: Callable[[str], T]) -> tuple[T, ...]:
        items: tuple[T, ...] | None = self._typed.get(key + "*")
        if items is None:
            items = self._typed[key + "*"] = tuple(self._items(key, read))
        return items

    def _items(self, key: str, read: Callable[[str], T]) -> Iterator[T]:
        for text in self.get_all(key):
            try:
                items = split(text, ",")
            except SipParseError:
                items = [text]
            for item in filter(None, items):
                try:
                    yield read(item)
                except SipParseError:  # one bad hop must not hide the others
                    self.deviations.add(Deviation.MALFORMED_HEADER)

    @property
    def vias(self) -> tuple[Via, ...]:
        """All hops that can be read, topmost first."""
        return self._list("via", Via.parse)

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact; None for `*`."""
        contacts = self.contacts
        return contacts[0] if contacts else None

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        return () if self.contact_is_wildcard else self._list("contact", lambda t: NameAddr.parse(t, self.deviations))

    @property
    def contact_is_wildcard(self) -> bool:
        """`Contact: *`: all bindings are meant (RFC 3261 §10.2.2)."""
        return self.first.get("contact") == "*"

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        return self._list("route", NameAddr.parse)

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        return self._list("record-route", NameAddr.parse)

    @property
    def expires(self) -> int | None:
        """Expires in seconds, at most 2**31-1; without the header, `;expires=` of the first Contact."""
        value = self._optional("expires", _read_seconds)
        return value if value is not None or self.contact is None else self.contact.expires

    @property
    def max_forwards(self) -> int | None:
        return self._optional("max-forwards", lambda text: parse_number(text, "RFC 3261 §20.22"))

    @property
    def content_length(self) -> int | None:
        """What the sender claims; the body itself has been cut to what came."""
        return self._optional("content-length", lambda text: parse_number(text, "RFC 3261 §20.14"))

    @property
    def content_type(self) -> str | None:
        """Media type in lower case without parameters (`application/manscdp+xml`)."""
        return self._optional("content-type", _read_media_type)

    @property
    def authorization(self) -> Auth | None:
        return self._optional("authorization", Auth.parse)

    @property
    def proxy_authorization(self) -> Auth | None:
        return self._optional("proxy-authorization", Auth.parse)

    @property
    def www_authenticate(self) -> tuple[Auth, ...]:
        """Challenges of a 401, in order; one field each (they may not be comma-joined, RFC 3261 §7.3.1)."""
        return self._challenges("www-authenticate")

    @property
    def proxy_authenticate(self) -> tuple[Auth, ...]:
        """Challenges of a 407, in order."""
        return self._challenges("proxy-authenticate")

    def _challenges(self, key: str) -> tuple[Auth, ...]:
        challenges = []
        for text in self.get_all(key):
            try:
                challenges.append(Auth.parse(text))
            except SipParseError:
                self.deviations.add(Deviation.MALFORMED_HEADER)
        return tuple(challenges)

    @property
    def event(self) -> Event | None:
        return self._optional("event", Event.parse)

    @property
    def subscription_state(self) -> SubscriptionState | None:
        return self._optional("subscription-state", SubscriptionState.parse)

    @property
    def date(self) -> str | None:
        """Raw text: GB/T 28181 §9.10 does not use the form of RFC 3261 §20.17."""
        return self.first.get("date")

    @property
    def user_agent(self) -> str | None:
        return self.first.get("user-agent")


def _read_seconds(text: str) -> int:
    value = seconds(text)
    if value is None:
        raise SipParseError(f"not a duration: {text[:32]!r}", 0, "RFC 3261 §20.19")
    return value


def _read_call_id(text: str) -> str:
    if not text or len(text) > MAX_IDENTIFIER or " " in text or "\t" in text:
        raise SipParseError("Call-ID empty, too long or with blanks", 0, "RFC 3261 §20.8")
    return text


def _read_media_type(text: str) -> str:
    media_type = text.partition(";")[0].replace(" ", "").replace("\t", "").lower()
    kind, _, subtype = media_type.partition("/")
    if not (TOKEN.fullmatch(kind) and TOKEN.fullmatch(subtype)):
        raise SipParseError(f"Content-Type not understood: {text[:64]!r}", 0, "RFC 3261 §20.15")
    return media_type
