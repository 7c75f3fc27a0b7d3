"""What the sections of the settings share: their base, and kinds of values."""

from ipaddress import ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _networks(rules: dict[str, str]) -> dict[str, str]:
    for network in rules:
        ip_network(network, strict=False)
    return rules


def address(text: str) -> str:
    return str(ip_address(text))


def network(text: str) -> str:
    return str(ip_network(text, strict=False))


Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3_153_600_000)]
"""Up to a hundred years: what is added to the time of day must stay a date."""
Rules = Annotated[dict[str, str], AfterValidator(_networks)]
"""Network → `host` or `host:port` at which its devices reach us; other devices get the address they came to."""


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
