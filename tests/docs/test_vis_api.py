"""docs/vis-api.md holds every call and code, and names only tests that are there."""

import re
from pathlib import Path

import pytest

from api.errors import STATUS
from tests.api.conftest import Opener, opened
from tests.api.endpoints import endpoints

__all__ = ["opened"]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/vis-api.md").read_text()


def section(title: str) -> str:
    found = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def named_tests() -> list[str]:
    """As `vis/test_devices.py` or `vis/test_devices.py::test_ids_may_be_given`, below tests/api or from the root."""
    return sorted(set(re.findall(r"`((?:[\w./]+/)?test_\w+\.py(?:::\w+)?)`", PAGE)))


@pytest.mark.parametrize("named", named_tests())
def test_every_test_that_is_named_is_there(named: str) -> None:
    path, _, function = named.partition("::")
    file = ROOT / path if path.startswith("tests/") else ROOT / "tests/api" / path
    assert file.is_file(), named
    assert not function or re.search(rf"^(async )?def {function}\(", file.read_text(), re.MULTILINE), named


def test_every_code_stands_in_the_table_with_its_status_and_a_test() -> None:
    rows = re.findall(
        r"^\| `(VIS\.\d{4})` \| (\d{3}) \| .+ \| `[^`]*test_\w+\.py[^`]*` \|$", section("Error codes"), re.M
    )
    assert {code: int(status) for code, status in rows} == STATUS
    assert len(rows) == len(STATUS)


async def test_every_call_stands_in_the_table(opened: Opener) -> None:
    """By the last word of its path that is no parameter."""
    _, client = await opened()
    calls = section("Calls")
    for endpoint in await endpoints(client, "/v1/", "/v3/"):
        words = [part for part in endpoint.path.split("/") if part and not part.startswith("{")]
        rows = [row for row in calls.splitlines() if words[-1] in row and f"{endpoint.method}" in row]
        assert rows, f"{endpoint.method} {endpoint.path}"


def test_linked_files_are_there() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
