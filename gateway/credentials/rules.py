"""What user names and passwords of credentials may be. Pure."""

import re
from typing import Final

from gateway.credentials.errors import PasswordIsNameError
from gateway.errors import InvalidError

USERNAME: Final = re.compile(r"[A-Za-z0-9]{1,32}")
SPECIAL: Final = "@#_*-"
PASSWORD: Final = re.compile(rf"[A-Za-z0-9{re.escape(SPECIAL)}]*")
CLASSES: Final = (r"[A-Z]", r"[a-z]", r"[0-9]", rf"[{re.escape(SPECIAL)}]")


def check_username(username: str) -> None:
    """1 to 32 letters and digits; InvalidError."""
    if not USERNAME.fullmatch(username):
        raise InvalidError("username", "1 to 32 letters and digits")


def check_password(password: str, username: str, *, field: str, shortest: int, classes: int) -> None:
    """`shortest` to 32 characters of at least `classes` of: upper case, lower case, digit, one of @#_*-.

    InvalidError, or PasswordIsNameError if it is the user name or the user name backwards.
    """
    if username and password in (username, username[::-1]):
        raise PasswordIsNameError("the password may not be the user name, nor the user name backwards")
    if not shortest <= len(password) <= 32:
        raise InvalidError(field, f"{shortest} to 32 characters")
    if not PASSWORD.fullmatch(password):
        raise InvalidError(field, f"only letters, digits and {SPECIAL}")
    if sum(re.search(kind, password) is not None for kind in CLASSES) < classes:
        raise InvalidError(field, f"at least {classes} of upper case, lower case, digits and {SPECIAL}")
