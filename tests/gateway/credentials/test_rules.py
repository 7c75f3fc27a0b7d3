"""What user names and passwords may be."""

import pytest

from gateway.credentials.errors import PasswordIsNameError
from gateway.credentials.rules import check_password, check_username
from gateway.errors import InvalidError


@pytest.mark.parametrize("username", ["a", "0100", "userJack", "x" * 32])
def test_user_names(username: str) -> None:
    check_username(username)


@pytest.mark.parametrize("username", ["", "x" * 33, "a b", "a-b", "用户", "a\n", "é"])
def test_user_names_that_are_refused(username: str) -> None:
    with pytest.raises(InvalidError, match="username"):
        check_username(username)


@pytest.mark.parametrize("password", ["Abcdefg1", "abc-1234", "ABC@1234", "Aa1@#_-*", "Ab1" + "x" * 29])
def test_passwords(password: str) -> None:
    check_password(password, "user", field="password", shortest=8, classes=3)


@pytest.mark.parametrize(
    "password",
    ["", "Abcde1", "Ab1" + "x" * 30, "abcdefg1", "ABCDEFGH", "Abcdefg1!", "Abcdefg 1", "Abcdefgé1", "Abc1\n5678"],
)
def test_passwords_that_are_refused(password: str) -> None:
    with pytest.raises(InvalidError, match="password"):
        check_password(password, "user", field="password", shortest=8, classes=3)


@pytest.mark.parametrize("password", ["Camera001", "100aremaC"])
def test_the_user_name_is_no_password_not_even_backwards(password: str) -> None:
    with pytest.raises(PasswordIsNameError):
        check_password(password, "Camera001", field="password", shortest=8, classes=3)
