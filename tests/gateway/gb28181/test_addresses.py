"""Which address a device is told."""

import pytest

from gateway.gb28181.addresses import advertise, is_near, read_rules

LOCAL = ("10.0.0.5", 5080)
RULES = read_rules(
    [
        ("0.0.0.0/0", "203.0.113.7:15080"),
        ("10.0.0.0/8", "10.0.0.5"),
        ("10.9.0.0/16", "gateway.example:5060"),
        ("::/0", "[2001:db8::1]:5061"),
    ]
)


@pytest.mark.parametrize(
    ("peer", "told"),
    [
        ("198.51.100.1", ("203.0.113.7", 15080)),
        ("10.1.2.3", ("10.0.0.5", 5080)),
        ("10.9.2.3", ("gateway.example", 5060)),
        ("::ffff:10.9.2.3", ("gateway.example", 5060)),
        ("2001:db8::9", ("2001:db8::1", 5061)),
        ("[2001:db8::9]", ("2001:db8::1", 5061)),
        ("3101150000", LOCAL),
        ("", LOCAL),
    ],
)
def test_the_most_particular_network_decides(peer: str, told: tuple[str, int]) -> None:
    assert advertise(RULES, peer, LOCAL) == told


def test_without_a_rule_it_is_the_address_that_the_device_reached() -> None:
    assert advertise((), "198.51.100.1", LOCAL) == LOCAL


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("2001:db8::1", "2001:db8::1", None), ("[2001:db8::1]", "2001:db8::1", None), ("[::1]:5060", "::1", 5060)],
)
def test_ipv6_addresses(address: str, host: str, port: int | None) -> None:
    (rule,) = read_rules([("::/0", address)])
    assert (rule.host, rule.port) == (host, port)


@pytest.mark.parametrize("rule", [("here", "10.0.0.1"), ("10.0.0.0/8", "10.0.0.1:x"), ("10.0.0.0/8", "10.0.0.1:70000")])
def test_nonsense_is_refused_when_it_is_read(rule: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_rules([rule])


@pytest.mark.parametrize(
    ("registered", "named", "near"),
    [
        ("198.51.100.20", "198.51.100.20", True),
        ("::ffff:198.51.100.20", "198.51.100.20", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("10.0.0.5", "192.168.1.64", True),
        ("10.0.0.5", "::ffff:192.168.1.64", True),
        ("10.0.0.5", "8.8.8.8", False),
        ("198.51.100.20", "8.8.8.8", False),
        ("8.8.8.8", "10.0.0.5", False),
        ("10.0.0.5", "127.0.0.1", False),
        ("10.0.0.5", "::ffff:127.0.0.1", False),
        ("10.0.0.5", "169.254.169.254", False),
        ("10.0.0.5", "::ffff:169.254.169.254", False),
        ("10.0.0.5", "0.0.0.1", False),
        ("10.0.0.5", "::ffff:0.0.0.0", False),
        ("10.0.0.5", "255.255.255.255", False),
        ("10.0.0.5", "::", False),
        ("10.0.0.5", "::1", False),
        ("10.0.0.5", "camera.example", False),
    ],
)
def test_a_device_cannot_aim_us_at_the_world_or_at_ourselves(registered: str, named: str, near: bool) -> None:
    assert is_near(registered, named) is near
