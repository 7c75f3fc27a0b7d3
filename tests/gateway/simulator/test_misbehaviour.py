"""Names and values of misbehaviour, and the settings of a fleet, as they stand on a command line."""

import pytest

from gateway.gb28181.charset import Charset
from gateway.simulator.config import ConfigError, Server, parse_nvrs, plan_devices
from gateway.simulator.misbehaviour import AnswerY, Misbehaviour, MisbehaviourError, describe, parse_misbehaviour
from gateway.simulator.ps_writer import PsFault
from gateway.simulator.rtp_sender import MarkerUse


def test_names_and_values() -> None:
    wrong = parse_misbehaviour("loss=1%, reorder=0.02,silent=30s,ssrc=0,marker=never,y=other,charset=gb18030,one_item")
    assert wrong == Misbehaviour(
        loss=0.01,
        reorder=0.02,
        silent=30.0,
        ssrc=0,
        marker=MarkerUse.NEVER,
        y=AnswerY.OTHER,
        charset=Charset.GB18030,
        one_item=True,
    )
    assert parse_misbehaviour("") == Misbehaviour()
    assert parse_misbehaviour(describe(wrong)) == wrong


@pytest.mark.parametrize("text", ["unknown", "loss", "loss=much", "marker=sometimes", "one_item=perhaps", "sum_num="])
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(MisbehaviourError):
        parse_misbehaviour(text)


@pytest.mark.parametrize("fault", list(PsFault))
def test_every_fault_of_the_writer_has_a_name(fault: PsFault) -> None:
    assert parse_misbehaviour(fault.value).stream_faults().ps == {fault}


def test_streams_are_set_apart() -> None:
    wrong = parse_misbehaviour("loss=1%,seed=5")
    assert [wrong.stream_faults(number).impairment.seed for number in (0, 3)] == [5, 8]


def test_servers() -> None:
    server = Server.parse("sip:31011500002000000001@192.0.2.10:5080")
    assert (server.id, server.host, server.port, server.realm) == (
        "31011500002000000001",
        "192.0.2.10",
        5080,
        "3101150000",
    )
    assert Server.parse("31011500002000000001@[2001:db8::1]").host == "2001:db8::1"
    for text in ("", "192.0.2.10:5060", "sip:id@host:99999"):
        with pytest.raises(ConfigError):
            Server.parse(text)


def test_nvrs() -> None:
    assert parse_nvrs("2x4") == (4, 4)
    assert parse_nvrs("4,16") == (4, 16)
    assert parse_nvrs("3") == (4, 4, 4)
    assert parse_nvrs("") == ()
    with pytest.raises(ConfigError):
        parse_nvrs("many")


def test_devices_have_codes_of_the_standard() -> None:
    server = Server.parse("sip:31011500002000000001@192.0.2.10")
    ipc, small, large = plan_devices(server, ipcs=1, nvrs=(2, 3), password="secret", first=7)
    assert ipc.id == "31011500001320000007"
    assert ipc.is_ipc
    assert (small.id, large.id) == ("31011500001180000007", "31011500001180000008")
    codes = [channel.id for device in (small, large) for channel in device.channels]
    assert codes == [f"310115000013100000{number:02}" for number in range(7, 12)]
