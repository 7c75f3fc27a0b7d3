"""The table of errors is whole, and every error of the domain has its place in it."""

import re

from api.errors import CODES, NOT_FOUND, OURS, STATUS


def test_the_table_is_the_documents() -> None:
    ranges = [(1, 15), (17, 18), (101, 109), (201, 216), (301, 313)]
    assert set(STATUS) == {f"VIS.{number:04d}" for low, high in ranges for number in range(low, high + 1)}
    assert set(STATUS.values()) <= {400, 403, 404, 409, 500, 503}


def test_every_code_used_is_in_it() -> None:
    used = {*CODES.values(), *OURS.values(), *NOT_FOUND.values()}
    assert used <= set(STATUS)
    assert all(re.fullmatch(r"VIS\.\d{4}", code) for code in used)
