"""Every setting: defaults, then a TOML file, then `GATEWAY_*` in the environment, then the command line.

Nested names are joined by `__` in the environment (`GATEWAY_SIP__PORT`) and by dots on the command line (`sip.port`).
Durations are seconds.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import (
    SettingsError as PydanticSettingsError,
)

from gateway.errors import GatewayError
from gateway.media_settings import Ffmpeg, Media, Pull, Rtmp, Rtp, Rtsp, Send, Tls, WebRtc
from gateway.setting_types import Port, Rules, Seconds, Section, network

FILE_VARIABLE: Final = "GATEWAY_CONFIG"
"""Names the TOML file, unless the command line does."""
DEFAULT_QUOTAS: Final = {
    "stream": 100_000,
    "active_stream": 200,
    "device": 100_000,
    "password": 10,
    "aksk": 10,
    "random_access_time": 240,
    "consecutive_access_time": 120,
}
"""What a project may have unless it was given more; times in minutes."""
TRUSTED_PROXIES_MAX: Final = 64
"""Networks: each connection is compared with all of them."""
_PASSWORD_IN_URL: Final = re.compile(r"(//[^:/@]*:)[^@/]*@")


class SettingsError(GatewayError):
    """The settings cannot be used; the text names each wrong one."""


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or (host.replace(".", "").isdigit() and host.startswith("127.")) or host == "::1"


def _complete(quotas: Any) -> Any:
    """Quotas that are not named keep their default; unknown ones are a mistake."""
    if isinstance(quotas, Mapping):
        unknown = set(quotas) - set(DEFAULT_QUOTAS)
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        return {**DEFAULT_QUOTAS, **quotas}
    return quotas


class SipTimers(Section):
    """Waits of GB/T 28181, of which the standard gives few."""

    keepalive_interval: Seconds = 60.0
    """Until a device's own is learnt."""
    keepalive_count: Annotated[int, Field(ge=1)] = 3
    """Missed in a row, and the device is offline."""
    keepalive_grace: Seconds = 5.0
    expires_min: Annotated[int, Field(ge=1)] = 60
    expires_max: Annotated[int, Field(ge=60)] = 604_800
    request: Seconds = 8.0
    """For the answer to a MESSAGE."""
    query: Seconds = 10.0
    """For the first response to a query."""
    catalogue: Seconds = 30.0
    """For the first response to a catalogue query; old NVRs take long."""
    catalogue_gap: Seconds = 5.0
    """Between pages of a catalogue."""
    query_tries: Annotated[int, Field(ge=1)] = 3
    invite: Seconds = 10.0
    """For the final response to an INVITE."""
    media: Seconds = 15.0
    """From the answer to the first packet."""
    bye: Seconds = 5.0


class Sip(Section):
    """The SIP server that devices register to."""

    host: str = "0.0.0.0"
    port: Port = 5080
    id: Annotated[str, Field(pattern=r"^[0-9]{20}$")] = "34020000002000000001"
    """Of the SIP server, 20 digits, as cameras are told."""
    domain: Annotated[str, Field(pattern=r"^[0-9A-Za-z.-]{0,64}$")] = ""
    """The realm of the digest; the first 10 digits of the id unless given."""
    advertise: Rules = Field(default_factory=dict)
    """Network → `host` or `host:port` at which its devices reach us; others get the address they came to."""
    user_agent: str = "gb28181-gateway"
    subscribe_catalogue: bool = False
    """Whether to ask devices to tell changes of their catalogues at once; many refuse."""
    timers: SipTimers = SipTimers()

    @model_validator(mode="before")
    @classmethod
    def _domain_of_id(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and not values.get("domain"):
            server = values.get("id", cls.model_fields["id"].default)
            return {**values, "domain": str(server)[:10]}
        return values


class Http(Section):
    """The front door: page, APIs and video on one port."""

    host: str = "0.0.0.0"
    port: Port = 8080
    public_url: Annotated[str, Field(pattern=r"^(https?://[^/\s]+)?$")] = ""
    """Beginning of play addresses, such as https://video.example.org; empty: as the client addressed us."""
    trusted_proxies: Annotated[
        tuple[Annotated[str, AfterValidator(network)], ...], Field(max_length=TRUSTED_PROXIES_MAX)
    ] = ()
    """Networks such as 10.1.0.0/16 whose hosts pass on what others ask: they tell who asked (X-Forwarded-For) and
    whether by TLS (X-Forwarded-Proto), and may have as many connections as there are."""


class Access(Section):
    """Channels that are invited by their access strategies."""

    starts_per_second: Annotated[float, Field(gt=0, le=10_000)] = 200.0
    """Invitations of slices that begin at the same time, and as many that end."""
    kept_days: Annotated[int, Field(ge=1, le=3_650)] = 31
    """Days whose slices can be looked up."""


class Database(Section):
    """Empty URL: SQLite in the data directory."""

    url: str = ""
    """postgresql://user:password@host/name; empty: SQLite in the data directory."""


class Obs(Section):
    """The S3-compatible object storage that streams are retained in."""

    endpoint: Annotated[str, Field(pattern=r"^(https?://[^/\s]+)?$")] = ""
    """Scheme and host, such as https://obs.example.org; empty: streams can be retained in local directories only."""
    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "us-east-1"
    access_key_id: str = ""
    secret_access_key: SecretStr | None = None
    virtual_host: bool = False
    """Whether buckets are host names below the endpoint's; else they are the first part of the path."""
    allow_http: bool = False
    """Whether http:// may be used to other hosts than this machine: video and its place are readable then."""
    timeout: Seconds = 60.0
    """For one request, which carries up to 8 MiB."""
    buckets: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Project's name → the only buckets it uses, and nobody else does; projects without a list use all others."""

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.endpoint.startswith("http://") and not self.allow_http and not _is_loopback(self.endpoint):
            raise ValueError("endpoint: http:// to another machine needs allow_http")
        if self.endpoint and (not self.access_key_id or self.secret_access_key is None):
            raise ValueError("endpoint: needs access_key_id and secret_access_key")
        return self


class Retention(Section):
    """Streams that are recorded and kept."""

    spool_dir: Path | None = None
    """Where slices wait until they are stored; spool in the data directory unless given."""
    spool_bytes_max: Annotated[int, Field(ge=1_048_576)] = 53_687_091_200
    """What may wait; beyond it nothing is recorded, so that nothing recorded is lost."""
    disk_free_min: Annotated[int, Field(ge=0)] = 1_073_741_824
    """Bytes that stay free on the spool's disk, for the same reason."""
    local_dir: Path | None = None
    """Root of store type local, a directory a project; recordings in the data directory unless given."""
    uploads: Annotated[int, Field(ge=1, le=64)] = 4
    """Slices stored at the same time; each takes up to 16 MiB of memory."""
    obs: Obs = Obs()


class Admin(Section):
    """The administrator that the first start makes."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")] = "admin"
    password: SecretStr | None = None
    """Random, and printed once, unless given."""


class Accounts(Section):
    """Projects, users and tokens."""

    token_life: Seconds = 86_400.0
    """How long a token is good."""
    subscription_required: bool = False
    """Whether a project must subscribe (POST /v1/{project_id}/subscription) before it is served."""
    audit_days: Annotated[int, Field(ge=0, le=36_500)] = 365
    """How long the audit log is kept; 0: for ever."""
    quotas: Annotated[dict[str, Annotated[int, Field(ge=0)]], BeforeValidator(_complete)] = DEFAULT_QUOTAS
    """What a project may have unless it was given more."""


class Statistics(Section):
    """What is counted, and how long history is kept."""

    interval: Seconds = 60.0
    """Between two readings of the packets of a call; a crash loses what came since the last one."""
    history_days: Annotated[int, Field(ge=0, le=36_500)] = 90
    """How long state changes and packet sums are kept; 0: for ever. The lists need none older than today."""
    stream_history_days: Annotated[int, Field(ge=0, le=36_500)] = 90
    """How long events of streams that are pushed or pulled are kept; 0: for ever. No list is made of them."""


class Log(Section):
    """What is logged, and how."""

    level: Annotated[str, Field(pattern=r"^(debug|info|warning|error)$")] = "info"
    format: Annotated[str, Field(pattern=r"^(text|json)$")] = "text"


class Settings(BaseSettings):
    """The effective settings; made by `load`."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    data_dir: Path = Path("data")
    """Embedded database and secret key."""
    demo: bool = True
    """Whether simulated devices start with the gateway."""
    sip: Sip = Sip()
    http: Http = Http()
    rtp: Rtp = Rtp()
    rtmp: Rtmp = Rtmp()
    rtsp: Rtsp = Rtsp()
    tls: Tls = Tls()
    webrtc: WebRtc = WebRtc()
    pull: Pull = Pull()
    ffmpeg: Ffmpeg = Ffmpeg()
    send: Send = Send()
    media: Media = Media()
    database: Database = Database()
    admin: Admin = Admin()
    accounts: Accounts = Accounts()
    access: Access = Access()
    retention: Retention = Retention()
    statistics: Statistics = Statistics()
    log: Log = Log()

    @property
    def database_url(self) -> str:
        """The URL in use."""
        return self.database.url or f"sqlite:///{(self.data_dir / 'gateway.db').absolute()}"

    @property
    def spool_dir(self) -> Path:
        """Where slices wait."""
        return self.retention.spool_dir or self.data_dir / "spool"

    @property
    def recordings_dir(self) -> Path:
        """The root of what is retained on this machine."""
        return self.retention.local_dir or self.data_dir / "recordings"

    @property
    def local_url(self) -> str:
        """Where the front door is for programs on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.http.host, self.http.host)  # noqa: S104 RUF100
        return f"http://{f'[{host}]' if ':' in host else host}:{self.http.port}"

    @property
    def key_file(self) -> Path:
        """The key that secrets in the database are sealed with."""
        return self.data_dir / "secret.key"


def load(overrides: Sequence[str] = (), file: Path | None = None) -> Settings:
    """Puts the settings together; `overrides` are `name=value` from the command line, such as `sip.port=5060`.

    SettingsError names what is wrong.
    """
    above, toml = _nested(overrides), _file(file)

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            *given: PydanticBaseSettingsSource,
            **named: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            ours = (named["init_settings"], named["env_settings"])
            return ours if toml is None else (*ours, TomlConfigSettingsSource(settings_cls, toml_file=toml))

    try:
        return Loaded(**above)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from error
    except (OSError, tomllib.TOMLDecodeError, PydanticSettingsError) as error:
        raise SettingsError(f"{toml or 'environment'}: {error}") from error


def effective(settings: Settings) -> dict[str, Any]:
    """All settings as plain values for `gateway config`; passwords are masked."""
    shown = settings.model_dump(mode="json")
    shown["database"]["url"] = _PASSWORD_IN_URL.sub(r"\1***@", settings.database_url)
    return shown


def _file(given: Path | None) -> Path | None:
    name = os.environ.get(FILE_VARIABLE)
    file = given or (Path(name) if name else None)
    if file is not None and not file.is_file():
        raise SettingsError(f"{file}: no such file")
    return file


def _nested(overrides: Sequence[str]) -> dict[str, Any]:
    """`["sip.port=1"]` as `{"sip": {"port": "1"}}`; the setting's own type reads the value."""
    nested: dict[str, Any] = {}
    for override in overrides:
        name, separator, value = override.partition("=")
        if not separator or not name:
            raise SettingsError(f"{override}: not of the form name=value")
        *sections, last = name.split(".")
        place: Any = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise SettingsError(f"{override}: {section} is given as a value too")
        place[last] = _plain(value)
    return nested


def _plain(value: str) -> Any:
    """Lists and tables are written as JSON, as in the environment; everything else stays text for its type to read."""
    if value.startswith(("{", "[")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _explain(problem: ErrorDetails) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name}: there is no such setting (`gateway config --table` lists them)"
    return f"{name}: {problem['msg']}"
