"""What names and passwords of users, projects and groups may be. Pure."""

import re
from typing import Final

from gateway.accounts.passwords import generate
from gateway.errors import InvalidError

USER_NAME: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
PROJECT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""It is the first part of play addresses."""
GROUP_NAME_MAX: Final = 64
PASSWORD_MIN: Final = 8
PASSWORD_MAX: Final = 128


def check_user_name(name: str) -> None:
    """InvalidError."""
    if not USER_NAME.fullmatch(name):
        raise InvalidError("name", "1 to 64 letters, digits and ._@-")


def check_project_name(name: str) -> None:
    """InvalidError."""
    if not PROJECT_NAME.fullmatch(name):
        raise InvalidError("name", "1 to 64 letters, digits, - and _, of which the first is a letter or digit")


def check_group_name(name: str) -> None:
    """InvalidError."""
    if not (name.strip() == name and 1 <= len(name) <= GROUP_NAME_MAX and name.isprintable()):
        raise InvalidError("name", f"1 to {GROUP_NAME_MAX} characters that can be seen, no blank at either end")


def chosen_password(password: str | None) -> str:
    """The password given, or a random one; InvalidError."""
    if password is not None and not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise InvalidError("password", f"{PASSWORD_MIN} to {PASSWORD_MAX} characters")
    return password or generate()
