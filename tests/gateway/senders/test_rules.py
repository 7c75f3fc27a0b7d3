"""What a sender may be."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import InvalidError
from gateway.senders.model import SenderOrder, SenderTransport
from gateway.senders.rules import check

ORDER = SenderOrder(transport=SenderTransport.UDP, host="203.0.114.7", port=30_000, ssrc=100_000_001)
PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "::1", "fe80::1"]


@pytest.mark.parametrize("host", [*PRIVATE, *(f"::ffff:{host}" for host in PRIVATE if "." in host)])
def test_private_addresses_are_only_for_who_may(host: str) -> None:
    order = replace(ORDER, host=host)
    with pytest.raises(InvalidError, match="private"):
        check(order, allow_private=False)
    check(order, allow_private=True)


def test_a_public_address_is_for_everybody() -> None:
    for host in ("203.0.114.7", "2a00:1450::1", "::ffff:203.0.114.7"):
        check(replace(ORDER, host=host), allow_private=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": None},
        {"host": ""},
        {"host": "camera.example"},
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "239.1.1.1"},
        {"host": "ff02::1"},
        {"port": 0},
        {"port": 65_535},
        {"port": -1},
        {"ssrc": 2**32},
        {"ssrc": -1},
        {"payload_type": 128},
        {"local_port": 65_535},
        {"video": False, "audio": False},
        {"report_timeout": -1.0},
        {"wait": 0.0},
        {"wait": 601.0},
        {"transport": SenderTransport.TCP_ACTIVE, "local_port": 5000},
    ],
)
def test_what_may_not_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        check(replace(ORDER, **wrong), allow_private=True)


def test_over_a_connection_nobody_names_an_address() -> None:
    order = SenderOrder(ssrc=7, over=3)
    check(order, allow_private=False)
    wrong: dict[str, Any]
    for wrong in ({"host": "203.0.114.7"}, {"port": 9}, {"local_port": 9}, {"report_timeout": 1.0}):
        with pytest.raises(InvalidError, match="connection of a stream"):
            check(replace(order, **wrong), allow_private=True)


def test_who_may_connect_must_be_told_unless_anybody_may() -> None:
    passive = replace(ORDER, transport=SenderTransport.TCP_PASSIVE, host=None, port=0)
    check(passive, allow_private=True)
    with pytest.raises(InvalidError, match="who may connect"):
        check(passive, allow_private=False)
