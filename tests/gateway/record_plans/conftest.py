"""A gateway whose calendar tests set, as for access strategies."""

from tests.gateway.access.conftest import calendar as calendar  # noqa: PLC0414  (a fixture)
from tests.gateway.access.conftest import open_world as open_world  # noqa: PLC0414  (a fixture)
