"""Bodies as devices send them, one oddity a file: `#` lines say which, the body begins after the first empty line."""

from pathlib import Path
from typing import Final

import pytest

from gateway.gb28181.charset import Charset
from gateway.gb28181.ids import Kind
from gateway.gb28181.manscdp import Document, ManscdpError, match_keepalive, parse
from gateway.gb28181.messages import Alarm, CataloguePage, Keepalive, MobilePosition, Unknown, read
from gateway.gb28181.messages.catalogue import Event
from gateway.gb28181.messages.device import DeviceInfo, DeviceStatus

VECTORS: Final = Path(__file__).parents[2] / "vectors" / "manscdp"
NVR: Final = "34020000001180000007"


def body(name: str) -> bytes:
    return (VECTORS / f"{name}.txt").read_bytes().partition(b"\n\n")[2]


def page(name: str) -> tuple[CataloguePage, Document]:
    document = parse(body(name))
    message = read(document)
    assert isinstance(message, CataloguePage)
    return message, document


def channel(number: int) -> str:
    return f"3402000000131000{number:04d}"


def test_every_vector_has_a_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    missing = [path.stem for path in VECTORS.glob("*.txt") if f'"{path.stem}"' not in source]
    assert missing == []


@pytest.mark.parametrize("name", ["keepalive", "keepalive_lf", "keepalive_trailing_nul", "keepalive_no_declaration"])
def test_a_plain_keepalive_takes_the_fast_path_and_reads_the_same_on_the_long_one(name: str) -> None:
    assert match_keepalive(body(name)) == (43, NVR)
    assert read(parse(body(name))) == Keepalive(sn=43, device_id=NVR)


@pytest.mark.parametrize("name", ["keepalive_namespace", "keepalive_lower_case"])
def test_an_unusual_keepalive_takes_the_long_path(name: str) -> None:
    assert match_keepalive(body(name)) is None
    assert read(parse(body(name))) == Keepalive(sn=43, device_id=NVR)


def test_a_keepalive_with_a_fault_names_the_faulty() -> None:
    assert match_keepalive(body("keepalive_error")) is None
    message = read(parse(body("keepalive_error")))
    assert message == Keepalive(sn=43, device_id=NVR, ok=False, faulty=(channel(3), channel(4)))


@pytest.mark.parametrize(
    ("name", "text", "charset", "deviations"),
    [
        ("catalog_gb2312", "东门", Charset.GB2312, ()),
        ("catalog_gbk_undeclared", "东门萳", Charset.GB2312, ()),
        ("catalog_gb18030", "东门㐂𠮷", Charset.GB18030, ()),
        ("catalog_rare_under_gb2312", "萳山路", Charset.GB2312, ()),
        ("catalog_utf8", "东门", Charset.UTF_8, ()),
        ("catalog_utf8_under_gb2312", "东门", Charset.UTF_8, ("charset-declaration-wrong",)),
        ("catalog_gbk_under_utf8", "东门", Charset.GB2312, ("charset-declaration-wrong",)),
        ("catalog_bom", "东门", Charset.UTF_8, ()),
    ],
)
def test_the_bytes_decide_what_the_characters_are(
    name: str, text: str, charset: Charset, deviations: tuple[str, ...]
) -> None:
    message, document = page(name)
    assert [item.name for item in message.items] == [text]
    assert document.charset is charset
    assert document.deviations == deviations


def test_what_no_encoding_explains_costs_only_its_characters() -> None:
    message, document = page("catalog_undecodable")
    assert [item.code for item in message.items] == [channel(1), channel(2)]
    assert message.items[0].name.startswith("东")
    assert "charset-undecodable" in document.deviations


@pytest.mark.parametrize(
    ("name", "codes", "deviation"),
    [
        ("catalog_raw_ampersand", [1, 2], "xml-stray-ampersand"),
        ("catalog_raw_less_than", [1, 2, 3], "xml-stray-less-than"),
        ("catalog_control_bytes", [1, 2], "xml-control-character"),
        ("catalog_extra_end_tag", [1, 2], "xml-stray-end-tag"),
        ("catalog_item_end_missing", [1, 2], "xml-end-tag-missing"),
        ("catalog_cut_off", [1, 2], "xml-end-tag-missing"),
        ("catalog_text_after_root", [1], "xml-text-after-root"),
    ],
)
def test_broken_markup_is_repaired_and_counted(name: str, codes: list[int], deviation: str) -> None:
    message, document = page(name)
    assert [item.code for item in message.items] == [channel(number) for number in codes]
    assert deviation in document.deviations


def test_a_repair_keeps_the_text() -> None:
    assert page("catalog_raw_ampersand")[0].items[0].name == "R&D"
    assert page("catalog_raw_ampersand")[0].items[0].address == "A&B"
    assert [item.address for item in page("catalog_raw_less_than")[0].items] == ["floor<3", "hall <north> door", None]
    assert [item.name for item in page("catalog_control_bytes")[0].items] == ["gate", "yard"]


def test_a_repair_never_changes_an_identifier() -> None:
    message, _ = page("catalog_control_byte_in_id")
    assert [item.code for item in message.items] == [channel(1)]
    assert message.dropped == 1
    assert "deviceid-invalid" in message.deviations


def test_blanks_after_the_prolog_are_fine() -> None:
    message, document = page("catalog_prolog_blanks")
    assert len(message.items) == 1
    assert document.deviations == ()


@pytest.mark.parametrize(
    ("name", "sum_num", "items"),
    [
        ("catalog_sum_zero", 0, 0),
        ("catalog_sum_absent", None, 2),
        ("catalog_sum_too_high", 5, 1),
        ("catalog_sum_not_a_number", None, 1),
    ],
)
def test_sum_num_is_a_hint(name: str, sum_num: int | None, items: int) -> None:
    message, _ = page(name)
    assert (message.sum_num, len(message.items), message.failed) == (sum_num, items, False)


def test_an_item_without_a_code_is_dropped_and_the_others_stay() -> None:
    message, _ = page("catalog_item_without_id")
    assert [item.code for item in message.items] == [channel(1)]
    assert message.dropped == 2
    assert "item-dropped" in message.deviations


def test_status_in_all_spellings() -> None:
    message, _ = page("catalog_status_spellings")
    assert [item.on for item in message.items] == [True] * 5 + [False] * 5 + [True] * 2
    assert {"status-spelling", "status-unknown"} <= set(message.deviations)


def test_odd_values_are_absent_rather_than_zero() -> None:
    message, _ = page("catalog_odd_values")
    first, second, third, fourth, fifth = message.items
    assert first.parental
    assert second.parents == ("34020000002000000001", NVR)
    assert third.parents == ()
    assert fourth.name == ""
    assert fourth.civil_code is None
    assert [(i.longitude, i.latitude) for i in (first, second, third, fourth)] == [(None, None)] * 4
    assert (fifth.longitude, fifth.latitude) == (121.54412, 31.22127)
    assert {"parental-spelling", "longitude-invalid", "text-null"} <= set(message.deviations)


def test_fields_are_found_wherever_an_edition_put_them() -> None:
    message, _ = page("catalog_ptz_places")
    assert [item.ptz_type for item in message.items] == [1, 3, 2]
    assert [item.group_id for item in message.items] == ["34020000002150000001"] * 2 + [None]


def test_vendor_fields_do_no_harm() -> None:
    assert page("catalog_vendor_fields")[0].items[0].name == "Gate"


def test_nodes_of_all_kinds() -> None:
    message, _ = page("catalog_mixed_nodes")
    assert [item.kind for item in message.items] == [
        Kind.REGION, Kind.SYSTEM, Kind.GROUP, Kind.ORGANISATION, Kind.ALARM_INPUT, Kind.VIDEO, Kind.VIDEO, Kind.VIDEO,
    ]  # fmt: skip


def test_notified_changes() -> None:
    message, _ = page("catalog_notify")
    assert message.notification
    assert [(item.code, item.event) for item in message.items] == [
        (channel(4), Event.OFF), (channel(6), Event.DEL), (channel(5), Event.ADD),
    ]  # fmt: skip
    assert page("catalog_notify_operate_type")[0].items[0].event is Event.ADD


def test_a_missing_sn_is_counted() -> None:
    message, document = page("catalog_sn_missing")
    assert message.sn is None
    assert document.deviations == ("sn-missing",)


def test_device_info_of_both_forms() -> None:
    assert read(parse(body("device_info"))) == DeviceInfo(
        sn=20, device_id=NVR, name="大厅", manufacturer="Acme", model="N16", firmware="V2.4.1", channels=16
    )
    assert read(parse(body("device_info_2011"))) == DeviceInfo(
        sn=20, device_id=NVR, manufacturer="Acme", model="N16", channels=8
    )


def test_device_status() -> None:
    message = read(parse(body("device_status")))
    assert isinstance(message, DeviceStatus)
    assert (message.online, message.normal, message.encoding, message.recording) == (True, True, True, False)
    assert message.duties == (("34020000001340000001", "ONDUTY"),)
    assert message.device_time is not None
    assert message.device_time.isoformat() == "2026-03-05T08:00:03+08:00"


def test_an_alarm_with_its_fields_in_odd_places() -> None:
    message = read(parse(body("alarm_flat")))
    assert isinstance(message, Alarm)
    assert (message.priority, message.method, message.type, message.longitude) == (2, 5, 6, 121.5)


def test_an_empty_list_of_positions_is_empty() -> None:
    message = read(parse(body("position_list_empty")))
    assert isinstance(message, MobilePosition)
    assert message.positions == ()


def test_commands_are_known_by_their_misspelling_and_unknown_ones_are_kept() -> None:
    assert parse(body("preset_misspelt")).command == "PresetQuery"
    document = parse(body("unknown_command"))
    assert document.command == "AcmeDoorbell"
    assert read(document) == Unknown(document)
    assert document.element.value("Pressed") == "1"


@pytest.mark.parametrize(
    "name",
    [
        "refused_entities",
        "refused_external",
        "refused_not_xml",
        "refused_other_root",
        "refused_no_command",
        "refused_deep",
    ],
)
def test_refused(name: str) -> None:
    with pytest.raises(ManscdpError):
        parse(body(name))
