"""The commands that set up and look after a gateway: real databases, real sockets, and no traceback for a mistake."""

import asyncio
import json
import socket
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from gateway.accounts.quotas import Quotas
from gateway.cli import app
from gateway.clock import utc_now
from gateway.credentials.push_keys import PushKeys
from gateway.settings import DEFAULT_QUOTAS
from gateway.sole import sole_owner
from gateway.store import SecretBox, Store, StreamQuotas
from gateway.streams.push import RULES
from tests.gateway.streams.samples import stream
from tests.ports import free_ports

PORTS = ("GATEWAY_SIP__PORT", "GATEWAY_HTTP__PORT", "GATEWAY_RTMP__PORT", "GATEWAY_RTSP__PORT", "GATEWAY_RTP__PORT_MIN")


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """An empty data directory, loopback, and ports that are free."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    for name, port in ports.items():
        monkeypatch.setenv(name, str(port))
    for name in ("SIP", "HTTP", "RTMP", "RTSP", "RTP"):
        monkeypatch.setenv(f"GATEWAY_{name}__HOST", "127.0.0.1")
    monkeypatch.setenv("GATEWAY_RTP__PORT_MAX", str(min(ports["GATEWAY_RTP__PORT_MIN"] + 200, 65_535)))
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("GATEWAY_DEMO", "0")
    monkeypatch.setenv("COLUMNS", "200")
    return ports


def run(*words: str, code: int = 0) -> str:
    """What the command printed; it must end with this code, and of itself."""
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_config_shows_what_counts_and_hides_passwords(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, int]
) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN__PASSWORD", "Correct-horse-7")
    monkeypatch.setenv("GATEWAY_DATABASE__URL", "postgresql://gateway:hidden-one@db.example/gateway")
    shown = run("config", "--set", "sip.timers.invite=7")
    told = json.loads(shown)
    assert (told["sip"]["port"], told["sip"]["timers"]["invite"]) == (settings["GATEWAY_SIP__PORT"], 7.0)
    assert "Correct-horse-7" not in shown
    assert "hidden-one" not in shown


@pytest.mark.parametrize("command", ["config", "doctor", "serve"])
@pytest.mark.parametrize(
    ("setting", "named"),
    [("sip.id=123", "sip.id"), ("sip.prot=5060", "sip.prot"), ("http.port=99999", "http.port"), ("sip", "name=value")],
)
def test_a_wrong_setting_is_named(command: str, setting: str, named: str) -> None:
    assert named in run(command, "--set", setting, code=1)


def test_doctor_finds_all_well_on_a_free_machine(tmp_path: Path) -> None:
    told = run("doctor")
    assert "✗" not in told
    assert "embedded database answers" in told
    assert "runs at" not in told


def test_doctor_names_a_port_that_is_taken(settings: dict[str, int]) -> None:
    port = settings["GATEWAY_SIP__PORT"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        told = run("doctor", code=1)
    assert f"✗ SIP UDP 127.0.0.1:{port}" in told
    assert "in use" in told


def test_doctor_names_a_data_directory_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path / "file"))
    assert "✗ data directory" in run("doctor", code=1)


def test_serve_says_that_a_port_is_in_use(settings: dict[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", settings["GATEWAY_SIP__PORT"]))
        told = run("serve", code=1)
    assert "is another gateway running?" in told
    assert "Traceback" not in told


def test_nobody_else_reads_the_data_directory_that_doctor_makes(tmp_path: Path) -> None:
    run("doctor")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_two_gateways_do_not_share_a_data_directory(tmp_path: Path) -> None:
    with sole_owner(tmp_path / "data"):
        told = run("serve", code=1)
        assert f"{tmp_path / 'data'} (data_dir) belongs to a gateway that runs" in told
    with sole_owner(tmp_path / "data"):
        pass  # whoever ended it left nothing behind


def test_serve_names_the_directory_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path / "file" / "data"))
    assert str(tmp_path / "file" / "data") in run("serve", code=1)


def test_a_setting_that_does_not_exist_is_named() -> None:
    assert "sip.prot: there is no such setting" in run("serve", "--set", "sip.prot=5060", code=1)


def test_users_and_projects() -> None:
    project = run("project", "add", "north").split(": ")[1].strip()
    assert len(project) == 32
    assert project in run("project", "list")
    password = run("user", "add", "li", "--project-name", "north", "--role", "viewer").split(": ")[1].strip()
    assert "viewer" in run("user", "list")
    assert run("user", "password", "li").split(": ")[1].strip() != password
    run("project", "add", "south")
    run("user", "add", "zhao", "--project-name", "south", "--role", "administrator")
    run("user", "account-admin", "zhao")
    run("user", "role", "li", "operator", "--project-name", "south")
    assert run("user", "list").count("li ") == 2
    run("user", "disable", "zhao", code=1)
    run("user", "account-admin", "zhao", "--off", code=1)
    assert "account administrator" in run("user", "list")
    assert "0 tokens" in run("user", "revoke", "li")
    run("user", "shut-out", "li", "--project-name", "south")
    assert "not empty" in run("project", "delete", "south", code=1)
    run("project", "add", "empty")
    run("project", "delete", "empty")
    assert "empty" not in run("project", "list")
    run("user", "role", "li", "operator", "--project-name", "north")
    run("user", "delete", "li")
    assert "li " not in run("user", "list")


@pytest.mark.parametrize(
    "words",
    [
        ("user", "add", "li", "--project-name", "nowhere"),
        ("user", "password", "nobody"),
        ("user", "delete", "nobody"),
        ("project", "add", "with blank"),
    ],
)
def test_refusals_are_told_in_words(words: tuple[str, ...]) -> None:
    told = run(*words, code=1)
    assert "Traceback" not in told
    assert told.strip()


async def _add_stream(data: Path, **more: str) -> str:
    """A pushed stream of the project north; its key's secret."""
    async with Store.open(f"sqlite:///{data / 'gateway.db'}", secrets=SecretBox.load(data / "secret.key")) as store:
        project = await store.accounts.project_named("north")
        assert project is not None
        key = await PushKeys(store, Quotas(DEFAULT_QUOTAS)).create(project, name="key", description="", at=utc_now())
        record = stream(project_id=project.project_id, app="north", access_key=key.access_key, **more)
        await store.streams.add(record, quotas=StreamQuotas(9, 9))
        return key.secret_key


def test_push_url(tmp_path: Path, settings: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    run("project", "add", "north")
    assert "no stream stream1" in run("push-url", "stream1", code=1)
    secret = asyncio.run(_add_stream(tmp_path / "data"))
    url = urlsplit(run("push-url", "stream1", "--expires-in", "60").splitlines()[0])
    assert (url.scheme, url.port, url.path) == ("rtmp", settings["GATEWAY_RTMP__PORT"], "/north/stream1")
    given = dict(part.split("=") for part in url.query.split("&"))
    assert given["Token"] == RULES["hmac-sha256"].token(secret, "north", "stream1", int(given["Expires"]))
    assert "rtmp://[2001:db8::1]:" in run("push-url", "stream1", "--host", "2001:db8::1")
    said = run("push-url", "stream1", "--host", "video.example.net")
    assert f"by RTSP     rtsp://video.example.net:{settings['GATEWAY_RTSP__PORT']}/north/stream1?Expires=" in said
    monkeypatch.setenv("GATEWAY_RTMP__PUBLIC_URL", "rtmp://video.example.org")
    assert run("push-url", "stream1").startswith("rtmp://video.example.org/north/stream1?Expires=")
    assert "expires_in" in run("push-url", "stream1", "--expires-in", "604801", code=1)
    assert "rtmp.token_rule" in run("push-url", "stream1", "--set", "rtmp.token_rule=md5", code=1)


def test_inspect_wants_a_file_or_a_channel() -> None:
    assert "either a file or --channel" in run("inspect", code=2)
    assert "give --token" in run("inspect", "--channel", "1/2", code=1)
    run("project", "add", "north")
    assert "no channel 1/2" in run("inspect", "--channel", "1/2", code=1)
    assert "does the gateway run there?" in run("inspect", "--channel", "1/2", "--token", "x", code=1)


def test_the_data_directory_is_its_owners_alone(tmp_path: Path) -> None:
    run("project", "list")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
