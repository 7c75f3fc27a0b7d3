"""What the operator's handbook says is so: settings, figures, files."""

import asyncio
import json
import re
import subprocess
import tomllib
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.settings import Settings
from gateway.settings_table import settings_table
from tests.e2e.running import RunningGateway

ROOT = Path(__file__).parents[2]
HANDBOOK = (ROOT / "docs/operating.md").read_text()
FUNCTIONS = {"rate", "increase", "sum", "by", "histogram_quantile"}


def between(first: str, last: str) -> str:
    return HANDBOOK.partition(first)[2].partition("-->")[2].partition(last)[0].strip()


def test_the_table_of_settings_is_that_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SIP__PORT", "1")  # defaults are shown, whatever is set
    assert between("<!-- settings", "<!-- end of settings") == settings_table(), "gateway config --table prints it anew"


def test_the_example_settings_are_valid() -> None:
    text = (ROOT / "configs/gateway.toml").read_text()
    Settings.model_validate(tomllib.loads(text))
    everything = re.sub(r"^# (?=[\w\"]+ ?=|\".*\" = )", "", text, flags=re.MULTILINE)
    settings = Settings.model_validate(tomllib.loads(everything))
    assert settings.sip.advertise == {"0.0.0.0/0": "203.0.113.10:5080", "10.0.0.0/8": "10.0.0.5"}
    assert settings.database.url.startswith("postgresql://")


def test_linked_files_are_there() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", HANDBOOK):
        assert (ROOT / "docs" / link).exists(), link


def told() -> set[str]:
    return set(re.findall(r"(?:gateway|relay)_\w+", between("<!-- metrics", "<!-- end of metrics")))


@pytest.fixture
async def exported(tmp_path: Path) -> AsyncIterator[set[str]]:
    """The names of all metrics of a gateway that runs, once those of the handbook are among them, or 20 s after."""
    gateway = RunningGateway(tmp_path)
    try:
        await gateway.start()
        await gateway.channels()
        names: set[str] = set()
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                while not told() <= names:  # some are there from their first counting on
                    text = (await gateway.client.get(f"{gateway.url}/metrics")).text
                    lines = text.splitlines()
                    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
                    names |= {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}
                    await asyncio.sleep(0.1)
        yield names
    finally:
        await gateway.close()


async def test_metrics_of_handbook_and_dashboard_exist(exported: set[str]) -> None:
    assert told() <= exported, told() - exported
    ours = {name for name in exported if name.startswith(("gateway_", "relay_"))}
    missing = {
        name
        for name in ours
        if not any(name.removesuffix("_total").startswith(one.removesuffix("_total")) for one in told())
    }
    assert not missing, f"not in docs/operating.md: {missing}"
    board = json.loads((ROOT / "configs/grafana-dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            names = set(re.findall(r"\b(?:gateway|relay|process)_\w+", target["expr"]))
            counted = {name for name in names if name != "gateway_calls_failed_total"}  # no call has failed yet
            assert names, panel["title"]
            assert counted <= exported, counted - exported


def test_the_unit_file_is_one(tmp_path: Path) -> None:
    text = (ROOT / "configs/gateway.service").read_text().replace("/opt/gateway/.venv/bin/gateway", "/bin/true")
    unit = tmp_path / "gateway.service"
    unit.write_text(text)
    try:
        done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no systemd here")
    assert "gateway.service" not in done.stderr, done.stderr
