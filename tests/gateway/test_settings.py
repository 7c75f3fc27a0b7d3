"""Where settings come from, and what is refused."""

from pathlib import Path

import pytest

from gateway.settings import DEFAULT_QUOTAS, SettingsError, effective, load


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_are_those_of_the_documentation() -> None:
    settings = load()
    assert (settings.sip.port, settings.http.port, settings.rtp.port_min) == (5080, 8080, 30000)
    assert (settings.sip.id, settings.sip.domain) == ("34020000002000000001", "3402000000")
    assert settings.demo
    assert settings.database_url == f"sqlite:///{Path('data/gateway.db').absolute()}"


def test_command_line_goes_before_environment_before_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('data_dir = "/var/lib/gateway"\n[sip]\nport = 1\nid = "11010100002000000002"\n[http]\nport = 1\n')
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    monkeypatch.setenv("GATEWAY_SIP__PORT", "2")
    monkeypatch.setenv("GATEWAY_HTTP__PORT", "2")
    settings = load(["http.port=3"])
    assert (settings.sip.port, settings.http.port, settings.sip.domain) == (2, 3, "1101010000")
    assert settings.data_dir == Path("/var/lib/gateway")


def test_the_names_that_scripts_use(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        "GATEWAY_DATA_DIR": "/srv/gateway",
        "GATEWAY_DEMO": "0",
        "GATEWAY_SIP__HOST": "192.0.2.1",
        "GATEWAY_SIP__PORT": "5061",
        "GATEWAY_SIP__ID": "11010100002000000002",
        "GATEWAY_SIP__DOMAIN": "1101010001",
        "GATEWAY_HTTP__HOST": "127.0.0.1",
        "GATEWAY_HTTP__PORT": "8081",
        "GATEWAY_RTP__PORT_MIN": "40000",
        "GATEWAY_RTP__PORT_MAX": "40100",
        "GATEWAY_RTP__SHARED_PORT": "40200",
        "GATEWAY_DATABASE__URL": "postgresql://gateway:secret@db/gateway",
        "GATEWAY_ADMIN__NAME": "root",
        "GATEWAY_ADMIN__PASSWORD": "Secret-1234",
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert (settings.data_dir, settings.demo) == (Path("/srv/gateway"), False)
    assert (settings.sip.host, settings.sip.port, settings.sip.domain) == ("192.0.2.1", 5061, "1101010001")
    assert (settings.rtp.port_min, settings.rtp.port_max, settings.rtp.shared_port) == (40000, 40100, 40200)
    assert settings.database_url == "postgresql://gateway:secret@db/gateway"
    assert settings.admin.password is not None
    assert settings.admin.password.get_secret_value() == "Secret-1234"


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE__URL", "postgresql://gateway:hunter2@db/gateway")
    monkeypatch.setenv("GATEWAY_ADMIN__PASSWORD", "hunter2")
    shown = effective(load())
    assert "hunter2" not in repr(shown)
    assert shown["database"]["url"] == "postgresql://gateway:***@db/gateway"


def test_quotas_that_are_not_named_keep_their_default() -> None:
    assert load(['accounts.quotas={"device": 5}']).accounts.quotas == {**DEFAULT_QUOTAS, "device": 5}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("sip.port=x", "sip.port: "),
        ("sip.port=70000", "sip.port: "),
        ("sip.id=123", "sip.id: "),
        ("unknown=1", "unknown: "),
        ("sip.unknown=1", "sip.unknown: "),
        ("rtp.port_max=1", "rtp: .*port_max is below port_min"),
        ('http.trusted_proxies=["10.0.0.0/99"]', "http.trusted_proxies"),
        ('sip.advertise={"10.0.0.0/99": "10.0.0.1"}', "sip.advertise: "),
        ('accounts.quotas={"unknown": 5}', "accounts.quotas: .*unknown"),
        ("sip", "not of the form name=value"),
        ("=1", "not of the form name=value"),
    ],
)
def test_what_is_wrong_is_named(override: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load([override])


def test_a_value_cannot_be_a_section_too() -> None:
    with pytest.raises(SettingsError, match="given as a value too"):
        load(["sip=1", "sip.port=2"])


def test_a_file_must_exist_and_be_toml(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load(file=tmp_path / "missing.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[sip\n")
    with pytest.raises(SettingsError, match=r"broken\.toml"):
        load(file=broken)


def test_a_broken_table_in_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SIP__ADVERTISE", "{broken")
    with pytest.raises(SettingsError, match="environment"):
        load()


def test_an_object_storage_has_keys_and_is_not_spoken_to_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["retention.obs.access_key_id=AK", "retention.obs.secret_access_key=secret-of-ours"]
    settings = load(["retention.obs.endpoint=http://127.0.0.1:9000", *keys])
    assert "secret-of-ours" not in str(effective(settings))
    with pytest.raises(SettingsError, match="access_key_id"):
        load(["retention.obs.endpoint=https://obs.example.org"])
    for host in ("obs.example.org", "127.0.0.1.example.org", "192.0.2.1"):
        with pytest.raises(SettingsError, match="allow_http"):
            load([f"retention.obs.endpoint=http://{host}", *keys])
        load([f"retention.obs.endpoint=http://{host}", "retention.obs.allow_http=true", *keys])


def test_the_spool_and_local_recordings_are_in_the_data_directory_unless_told() -> None:
    settings = load(["data_dir=/srv/gateway"])
    assert (settings.spool_dir, settings.recordings_dir) == (
        Path("/srv/gateway/spool"),
        Path("/srv/gateway/recordings"),
    )
    assert load(["retention.spool_dir=/mnt/spool"]).spool_dir == Path("/mnt/spool")


@pytest.mark.parametrize(
    "given",
    [
        "accounts.audit_days=1000000",
        "statistics.history_days=1000000",
        "accounts.token_life=inf",
        "media.address_life=1e12",
        "sip.timers.request=nan",
    ],
)
def test_no_duration_leads_out_of_the_calendar(given: str) -> None:
    """Else the first one to reckon with it ends the gateway."""
    with pytest.raises(SettingsError, match=given.partition("=")[0]):
        load([given])


def test_a_tls_port_needs_its_files() -> None:
    with pytest.raises(SettingsError, match="tls"):
        load(["tls.https_port=8443", "tls.certificate=/etc/gateway/cert.pem"])
    settings = load(["tls.https_port=8443", "tls.certificate=/etc/gateway/cert.pem", "tls.key=/etc/gateway/key.pem"])
    assert (settings.tls.https_port, settings.tls.rtsps_port, settings.tls.rtmps_port) == (8443, 0, 0)
