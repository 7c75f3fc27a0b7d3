"""Inputs of a pulled stream, as operators set them."""

import pytest

from gateway.streams.inputs import BackupType, numbered
from tests.api.conftest import Client
from tests.api.world import World

PATH = "/gb/v1/streams/stream1/inputs"
NEW = {"name": "stream1", "access_type": "HTTP-FLV", "encode_type": "H264", "url": "http://u:p@camera.example/live?t=1"}
BACKUPS = [
    {"url": "rtsp://me:secret@camera.example/2?k=v", "backup": "active"},
    {"url": "https://camera.example/3", "backup": "disabled"},
]


@pytest.fixture
async def stream(client: Client) -> None:
    await client.ok("POST", "streams", NEW)


@pytest.mark.usefixtures("stream")
async def test_inputs_are_set_and_listed_without_their_secrets(client: Client) -> None:
    alone = (await client("GET", PATH)).json()["inputs"]
    assert [(one["number"], one["url"]) for one in alone] == [(1, "http://camera.example/live?…")]
    answer = await client("PUT", PATH, {"inputs": BACKUPS})
    assert answer.status_code == 200, answer.text
    listed = (await client("GET", PATH)).json()["inputs"]
    assert listed == answer.json()["inputs"]
    shown = [(one["number"], one["url"], one["backup"], one["ready"]) for one in listed[1:]]
    assert shown == [
        (2, "rtsp://camera.example/2?…", "active", False),
        (3, "https://camera.example/3", "disabled", False),
    ]
    assert (await client("PUT", PATH, {"inputs": []})).json()["inputs"] == alone


@pytest.mark.usefixtures("stream")
async def test_what_cannot_be_an_input_is_refused(client: Client) -> None:
    for wrong in (
        {"inputs": [{"url": "srt://camera.example:9000"}]},
        {"inputs": [{"url": "http://127.0.0.1/live"}]},
        {"inputs": [{"url": "http://camera.example/", "backup": "sometimes"}]},
        {"inputs": BACKUPS * 4},
    ):
        answer = await client("PUT", PATH, wrong)
        assert answer.status_code == 400, (wrong, answer.text)
    assert (await client("POST", f"{PATH}/switch", {"number": 2})).status_code == 400, "it is not active"
    assert (await client("GET", "/gb/v1/streams/unknown/inputs")).status_code == 404


@pytest.mark.usefixtures("stream")
async def test_inputs_are_added_and_taken_away_one_by_one(client: Client) -> None:
    for one in BACKUPS:
        answer = await client("POST", PATH, one)
        assert answer.status_code == 201, answer.text
    assert [(one["number"], one["backup"]) for one in answer.json()["inputs"][1:]] == [(2, "active"), (3, "disabled")]
    assert (await client("DELETE", f"{PATH}/2")).status_code == 204
    left = (await client("GET", PATH)).json()["inputs"]
    assert [(one["number"], one["url"]) for one in left[1:]] == [(2, "https://camera.example/3")], "it moved up"
    assert (await client("DELETE", f"{PATH}/1")).status_code == 400, "the stream's own URL"
    assert (await client("DELETE", f"{PATH}/3")).status_code == 404
    assert (await client("POST", PATH, {"url": "http://127.0.0.1/live"})).status_code == 400
    for _ in range(6):
        assert (await client("POST", PATH, BACKUPS[1])).status_code == 201
    assert (await client("POST", PATH, BACKUPS[1])).status_code == 400, "seven at most"
    assert len((await client("GET", PATH)).json()["inputs"]) == 8


@pytest.mark.usefixtures("stream")
async def test_an_input_is_called_the_same_in_whatever_place(client: Client) -> None:
    hidden = [
        f"rtsp://{user}@camera.example/2?token={token}" for user, token in (("a", 1), ("b", 1), ("b", 2), ("b", 2))
    ]
    await client("PUT", PATH, {"inputs": [{"url": url} for url in hidden]})
    before = (await client("GET", PATH)).json()["inputs"]
    assert len({one["url"] for one in before[1:]}) == 1, "nothing that is shown tells them apart"
    assert len({one["id"] for one in before}) == 5
    assert (await client("DELETE", f"{PATH}/2", id=before[1]["id"])).status_code == 204
    after = (await client("GET", PATH)).json()["inputs"]
    assert [one["id"] for one in after] == [one["id"] for one in before if one["number"] != 2]
    again = await client("DELETE", f"{PATH}/2", id=before[1]["id"])
    assert (again.status_code, again.headers["X-Error-Reason"]) == (409, "input_moved")
    switched = await client("POST", f"{PATH}/switch", {"number": 2, "id": before[1]["id"]})
    assert switched.headers["X-Error-Reason"] == "input_moved"
    assert (await client("GET", PATH)).json()["inputs"] == after


@pytest.mark.usefixtures("stream")
async def test_an_input_is_chosen_among_those_that_run(client: Client, world: World) -> None:
    """Those that are stored meanwhile, as while others are put in their place, are not yet what a number means."""
    urls = [f"rtsp://camera.example/{number}" for number in (2, 3)]
    await client("PUT", PATH, {"inputs": [{"url": url} for url in urls]})
    await client.ok("PUT", "streams/stream1", {"state": "ACTIVE"})
    second, third = ((await client("GET", PATH)).json()["inputs"])[1:]
    stored = await world.store.streams.find("default", "stream1")
    assert stored is not None
    await world.store.inputs.put(stored.stream_id, numbered((url, BackupType.PASSIVE) for url in reversed(urls)))
    refused = await client("POST", f"{PATH}/switch", {"number": 2, "id": third["id"]})
    assert (refused.status_code, refused.headers["X-Error-Reason"]) == (409, "input_moved")
    assert (await client("POST", f"{PATH}/switch", {"number": 2, "id": second["id"]})).is_success
    running = (await client("GET", PATH)).json()["inputs"]
    assert [one["id"] for one in running if one["active"]] == [second["id"]]
