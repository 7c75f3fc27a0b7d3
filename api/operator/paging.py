"""What part of a list a caller asks for; its answer says how much there is, or where to go on."""

from typing import Annotated, Final

from litestar.params import QueryParameter

NUMBER_MAX: Final = 2**63 - 1

Offset = Annotated[int, QueryParameter(ge=0, le=10_000_000)]
"""Entries that are left out before the first."""
Limit = Annotated[int, QueryParameter(ge=1, le=1000)]
"""Entries at most."""
Before = Annotated[int | None, QueryParameter(ge=1, le=NUMBER_MAX)]
"""The number of an entry of a history, which goes back from there; without it, from the latest one."""
