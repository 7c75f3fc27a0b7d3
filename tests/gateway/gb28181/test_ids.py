"""Codes and what they name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.gb28181.ids import IdError, Kind, channel_id, device_id, domain_of, is_identity, kind_of


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("31011500001110000001", Kind.DEVICE),
        ("31011500001180000002", Kind.DEVICE),
        ("31011500001310000101", Kind.VIDEO),
        ("31011500001320000001", Kind.VIDEO),
        ("31011500001340000001", Kind.ALARM_INPUT),
        ("31011500001350000001", Kind.ALARM_OUTPUT),
        ("31011500001400000001", Kind.ALARM_OUTPUT),
        ("31011500001370000001", Kind.AUDIO),
        ("31011500001380000001", Kind.PERIPHERAL),
        ("31011500002000000001", Kind.SYSTEM),
        ("31011500002150000001", Kind.GROUP),
        ("31011500002160000001", Kind.ORGANISATION),
        ("31011500003000000001", Kind.USER),
        ("31011500009990000001", Kind.UNKNOWN),
        ("31", Kind.REGION),
        ("310115", Kind.REGION),
        ("31011500", Kind.REGION),
        ("310115000013200000", Kind.UNKNOWN),
        ("Camera7", Kind.UNKNOWN),
        ("", Kind.UNKNOWN),
    ],
)
def test_kinds(code: str, kind: Kind) -> None:
    assert kind_of(code) is kind


@given(st.text(max_size=40))
def test_any_text_has_a_kind_and_is_an_identity_or_refused(text: str) -> None:
    assert isinstance(kind_of(text), Kind)
    if is_identity(text):
        assert device_id(text) == channel_id(text) == text
    else:
        with pytest.raises(IdError):
            device_id(text)


def test_eighteen_digits_and_letters_are_accepted_as_provisioned() -> None:
    assert device_id("340200000013200001") == "340200000013200001"
    assert device_id("Camera7") == "Camera7"


@pytest.mark.parametrize("text", ["", "3402 0000", "3402/..", "٣٤٠٢", "3" * 33, "3402\n", "a'b"])
def test_what_cannot_name_anything(text: str) -> None:
    with pytest.raises(IdError):
        device_id(text)


def test_domain() -> None:
    assert domain_of("31011500002000000001") == "3101150000"
