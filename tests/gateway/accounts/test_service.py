"""Who may come in."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.accounts.errors import AlreadySubscribedError, ForbiddenError, LoginError, NotSubscribedError, TokenError
from gateway.accounts.model import Role
from gateway.accounts.quotas import Quotas
from gateway.accounts.service import Accounts, FirstStart
from gateway.errors import ConflictError, InvalidError, NotFoundError
from gateway.settings import DEFAULT_QUOTAS
from gateway.store import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def accounts(database: Store) -> Accounts:
    return Accounts(database, Quotas(DEFAULT_QUOTAS))


@pytest.fixture
async def first(accounts: Accounts) -> FirstStart:
    first = await accounts.first_start(NOW, name="admin", password=None)
    assert first is not None
    return first


async def test_the_first_start_makes_a_project_and_an_administrator_once(accounts: Accounts, first: FirstStart) -> None:
    assert (first.project.name, first.user.account_admin, first.generated) == ("default", True, True)
    (member,) = await accounts.members()
    assert (member.user, member.role, member.groups) == (first.user, Role.ADMINISTRATOR, None)
    assert len(first.password) >= 20
    assert await accounts.first_start(NOW, name="other", password=None) is None


async def test_a_given_password_is_used_and_not_called_generated(accounts: Accounts) -> None:
    first = await accounts.first_start(NOW, name="root", password="Secret-1234")
    assert first is not None
    assert not first.generated
    await accounts.log_in("root", "Secret-1234", NOW)


async def test_a_token_is_for_the_users_own_project_and_for_24_hours(accounts: Accounts, first: FirstStart) -> None:
    text, token = await accounts.log_in("admin", first.password, NOW)
    assert token.project == first.project
    assert await accounts.verify(text, NOW + timedelta(hours=23, minutes=59)) == token
    with pytest.raises(TokenError):
        await accounts.verify(text, NOW + timedelta(hours=24))


async def test_a_scope_must_be_the_users_project(accounts: Accounts, first: FirstStart) -> None:
    other = await accounts.add_project("other", NOW)
    await accounts.log_in("admin", first.password, NOW, project_name="default")
    await accounts.log_in("admin", first.password, NOW, project_id=first.project.project_id)
    with pytest.raises(ForbiddenError):
        await accounts.log_in("admin", first.password, NOW, project_name="other")
    with pytest.raises(ForbiddenError):
        await accounts.log_in("admin", first.password, NOW, project_id=other.project_id)


@pytest.mark.parametrize(("name", "password"), [("admin", "wrong"), ("nobody", "wrong"), ("", ""), ("admin", "")])
async def test_wrong_names_and_passwords_are_refused_alike(
    accounts: Accounts, first: FirstStart, name: str, password: str
) -> None:
    with pytest.raises(LoginError, match="the user name or the password is wrong"):
        await accounts.log_in(name, password, NOW)


async def test_a_token_can_be_taken_back(accounts: Accounts, first: FirstStart) -> None:
    text, _ = await accounts.log_in("admin", first.password, NOW)
    await accounts.revoke(text)
    with pytest.raises(TokenError):
        await accounts.verify(text, NOW)
    with pytest.raises(TokenError):
        await accounts.revoke(text)


async def test_a_new_password_takes_back_the_tokens(accounts: Accounts, first: FirstStart) -> None:
    text, _ = await accounts.log_in("admin", first.password, NOW)
    password = await accounts.set_password("admin", None)
    with pytest.raises(TokenError):
        await accounts.verify(text, NOW)
    await accounts.log_in("admin", password, NOW)
    with pytest.raises(LoginError):
        await accounts.log_in("admin", first.password, NOW)


async def test_users_are_made_and_deleted(accounts: Accounts, first: FirstStart) -> None:
    password = await accounts.add_user("viewer", "default", Role.VIEWER, None, NOW)
    text, token = await accounts.log_in("viewer", password, NOW)
    assert (token.role, token.project) == (Role.VIEWER, first.project)
    with pytest.raises(ConflictError):
        await accounts.add_user("viewer", "default", Role.VIEWER, None, NOW)
    with pytest.raises(NotFoundError):
        await accounts.add_user("other", "unknown", Role.VIEWER, None, NOW)
    with pytest.raises(InvalidError):
        await accounts.add_user("other", "default", Role.VIEWER, "short", NOW)
    with pytest.raises(InvalidError):
        await accounts.add_user("a b", "default", Role.VIEWER, None, NOW)
    await accounts.delete_user("viewer")
    with pytest.raises(TokenError):
        await accounts.verify(text, NOW)


async def test_a_project_subscribes_once(accounts: Accounts, first: FirstStart, database: Store) -> None:
    await accounts.subscribe(first.project, NOW)
    with pytest.raises(AlreadySubscribedError):
        await accounts.subscribe(first.project, NOW)
    project = await database.accounts.project(first.project.project_id)
    assert project is not None
    assert project.subscribed_at == NOW


async def test_a_subscription_is_only_asked_for_if_the_settings_say_so(database: Store, first: FirstStart) -> None:
    Accounts(database, Quotas({})).check_subscribed(first.project)
    with pytest.raises(NotSubscribedError):
        Accounts(database, Quotas({}), subscription_required=True).check_subscribed(first.project)


async def test_only_digests_are_stored(accounts: Accounts, first: FirstStart, database: Store) -> None:
    text, _ = await accounts.log_in("admin", first.password, NOW)
    assert await database.accounts.token(text) is None
    found = await database.accounts.user_named("admin")
    assert found is not None
    assert found[1].startswith("$argon2id$")
