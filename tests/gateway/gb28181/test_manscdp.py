"""Properties of reading and writing MANSCDP."""

import contextlib
import time
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import BEIJING
from gateway.gb28181.charset import Charset
from gateway.gb28181.manscdp import SIZE_MAX, ManscdpError, Root, build, match_keepalive, parse
from gateway.gb28181.markup import ELEMENTS_MAX, STRAYS_MAX, TEXT_MAX, Element, parse_xml
from gateway.gb28181.messages import read
from gateway.gb28181.messages.catalogue import (
    CatalogueItem,
    CataloguePage,
    CatalogueQuery,
    Event,
    write_page,
    write_query,
)
from gateway.gb28181.messages.device import (
    CommandResult,
    DeviceInfo,
    DeviceStatus,
    Keepalive,
    write_device_info,
    write_device_status,
    write_keepalive,
    write_result,
)
from gateway.gb28181.messages.events import Alarm, MediaStatus, write_alarm, write_media_status

CODES = st.text("0123456789", min_size=20, max_size=20)
SNS = st.integers(1, 2**31)
CHARSETS = st.sampled_from(Charset)
# Text that a document can carry: no controls, no surrogates, trimmed, and not what is read as absent.
TEXTS = (
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp", "Cn"]), min_size=1, max_size=40)
    .map(str.strip)
    .filter(lambda text: text and text.lower() not in {"null", "(null)", "none"} and "\ufeff" not in text)
)
MAYBE = st.none() | TEXTS
COORDINATES = st.tuples(st.none(), st.none()) | st.tuples(
    st.integers(1, 180_000_000).map(lambda n: n / 1e6), st.integers(-90_000_000, 90_000_000).map(lambda n: n / 1e6)
)
TIMES = st.integers(10**9, 4 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, BEIJING))


@st.composite
def items(draw: st.DrawFn) -> CatalogueItem:
    longitude, latitude = draw(COORDINATES)
    return CatalogueItem(
        code=draw(CODES),
        name=draw(TEXTS),
        on=draw(st.booleans()),
        parents=tuple(draw(st.lists(CODES, max_size=3))),
        parental=draw(st.booleans()),
        group_id=draw(st.none() | CODES),
        manufacturer=draw(MAYBE),
        model=draw(MAYBE),
        civil_code=draw(st.none() | CODES),
        address=draw(MAYBE),
        secrecy=draw(st.booleans()),
        port=draw(st.none() | st.integers(0, 65535)),
        longitude=longitude,
        latitude=latitude,
        ptz_type=draw(st.none() | st.integers(1, 7)),
    )


@given(CODES, SNS, st.lists(items(), max_size=5), CHARSETS)
def test_a_catalogue_page_is_read_as_it_was_written(
    code: str, sn: int, entries: list[CatalogueItem], charset: Charset
) -> None:
    page = CataloguePage(notification=False, sn=sn, device_id=code, sum_num=len(entries), items=tuple(entries))
    document = parse(write_page(page, charset))
    assert read(document) == page
    assert document.deviations == ()


@given(
    st.builds(Keepalive, sn=SNS, device_id=CODES, ok=st.booleans(), faulty=st.lists(CODES, max_size=3).map(tuple))
    | st.builds(
        DeviceInfo, sn=SNS, device_id=CODES, ok=st.booleans(), name=MAYBE, manufacturer=MAYBE, model=MAYBE,
        firmware=MAYBE, channels=st.none() | st.integers(0, 9999),
    )
    | st.builds(
        DeviceStatus, sn=SNS, device_id=CODES, ok=st.booleans(), online=st.booleans(), normal=st.booleans(),
        reason=MAYBE, encoding=st.none() | st.booleans(), recording=st.none() | st.booleans(),
        device_time=st.none() | TIMES,
        duties=st.lists(st.tuples(CODES, st.sampled_from(["ONDUTY", "OFFDUTY", "ALARM"])), max_size=3).map(tuple),
    )
    | st.builds(
        CommandResult, command=st.sampled_from(["DeviceControl", "DeviceConfig"]), sn=SNS, device_id=CODES,
        ok=st.booleans(), reason=MAYBE,
    )
    | st.builds(
        Alarm, sn=SNS, device_id=CODES, priority=st.integers(1, 4), method=st.integers(1, 7), time=TIMES,
        description=MAYBE, type=st.none() | st.integers(1, 13), event_type=st.none() | st.integers(1, 2),
    )
    | st.builds(MediaStatus, sn=SNS, device_id=CODES, notify_type=st.just("121")),
    CHARSETS,
)  # fmt: skip
def test_messages_are_read_as_they_were_written(message: object, charset: Charset) -> None:
    writers = {
        Keepalive: write_keepalive,
        DeviceInfo: write_device_info,
        DeviceStatus: write_device_status,
        CommandResult: write_result,
        Alarm: write_alarm,
        MediaStatus: write_media_status,
    }
    document = parse(writers[type(message)](message, charset))  # type: ignore[operator]
    assert read(document) == message
    assert document.deviations == ()


def test_the_schemas_order_and_escaping() -> None:
    data = write_page(
        CataloguePage(
            notification=True, sn=5, device_id="31", sum_num=2,
            items=(
                CatalogueItem(code="32", event=Event.OFF),
                CatalogueItem(code="33", event=Event.ADD, name="a<b>&c"),
            ),
        )
    ).decode()  # fmt: skip
    assert data.startswith('<?xml version="1.0" encoding="GB2312"?>\r\n<Notify>\r\n  <CmdType>Catalog</CmdType>\r\n')
    assert "<Item>\r\n      <DeviceID>32</DeviceID>\r\n      <Event>OFF</Event>\r\n    </Item>" in data
    assert "<Name>a&lt;b&gt;&amp;c</Name>" in data
    assert data.index("<SN>") < data.index("<DeviceID>") < data.index("<SumNum>") < data.index("<DeviceList")


def test_a_query_of_a_span_of_time() -> None:
    start = datetime(2026, 3, 1, tzinfo=BEIJING)
    document = parse(write_query(CatalogueQuery(sn=18, device_id="31", start=start)))
    assert (document.root, document.command, document.sn) == (Root.QUERY, "Catalog", 18)
    assert document.element.value("StartTime") == "2026-03-01T00:00:00"
    assert document.element.find("EndTime") is None


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        document = parse(data)
    except ManscdpError:
        return
    read(document)


FRAGMENTS = st.lists(
    st.sampled_from(
        ["<Item>", "</Item>", "<DeviceID>", "</DeviceID>", "31011500001310000101", "&", "<", ">", "&amp;", "&#0;",
         "<!--", "-->", "<![CDATA[", "]]>", "<a b='c'>", "</Name>", "<Name>", "\x00", "东", "<x/>", "&#x41;", " ",
         "<DeviceList Num='1'>"]
    ),
    max_size=40,
).map("".join)  # fmt: skip


@given(FRAGMENTS)
@settings(max_examples=400)
def test_any_markup_is_read_or_refused_and_items_have_good_codes(inner: str) -> None:
    text = f"<Response><CmdType>Catalog</CmdType><SN>1</SN><DeviceID>31</DeviceID>{inner}</Response>"
    try:
        message = read(parse(text.encode()))
    except ManscdpError:
        return
    assert isinstance(message, CataloguePage)
    assert all(item.code.isalnum() for item in message.items)


def test_text_without_its_end_is_read_in_linear_time() -> None:
    head = "<Notify><CmdType>Alarm</CmdType>"
    for piece in ("<!--", "<![CDATA[", "<", "<a", "&", "</", "<a ", "<a b='"):
        data = (head + piece * (400_000 // len(piece))).encode()
        begun = time.perf_counter()
        with contextlib.suppress(ManscdpError):
            parse(data)
        assert time.perf_counter() - begun < 5, piece


def test_bounds() -> None:
    with pytest.raises(ManscdpError):
        parse(b"<Notify>" + b" " * SIZE_MAX + b"</Notify>")
    with pytest.raises(ManscdpError):
        parse_xml("<Notify>" + "<a/>" * ELEMENTS_MAX + "</Notify>")
    with pytest.raises(ManscdpError, match="no tag"):
        parse_xml("<Notify>" + "<" * (STRAYS_MAX + 1) + "</Notify>")
    element, deviations = parse_xml("<Notify><Name>" + "< " * STRAYS_MAX + "</Name></Notify>")
    assert element.value("Name") == ("< " * STRAYS_MAX).strip()
    assert deviations == ("xml-stray-less-than",)
    element, deviations = parse_xml(f"<Notify><Name>{'x' * (TEXT_MAX + 1)}</Name></Notify>")
    assert len(element.value("Name") or "") == TEXT_MAX
    assert deviations == ("xml-text-cut",)


def test_a_reference_to_a_character_that_xml_forbids_is_dropped() -> None:
    element, _ = parse_xml("<Notify><Name>a&#0;b&#x1;c&#65;</Name><Bad>&</Bad></Notify>")
    assert element.value("Name") == "abcA"


@given(SNS, CODES)
def test_the_fast_path_agrees_with_the_long_one(sn: int, code: str) -> None:
    data = write_keepalive(Keepalive(sn=sn, device_id=code))
    assert match_keepalive(data) == (sn, code)
    assert read(parse(data)) == Keepalive(sn=sn, device_id=code)


@given(st.binary(max_size=200))
def test_the_fast_path_takes_nothing_else(data: bytes) -> None:
    assert match_keepalive(data) is None


def test_what_xml_cannot_carry_is_left_out_when_writing() -> None:
    data = build(Root.NOTIFY, "Alarm", 1, "31", [Element("AlarmDescription", "a\x00b\x1f\ud800c")])
    assert parse(data).element.value("AlarmDescription") == "abc"
