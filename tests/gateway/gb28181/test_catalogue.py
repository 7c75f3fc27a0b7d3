"""Assembling the answers of a query, telling channels from the rest, and the tree."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.model import DeviceId
from gateway.gb28181.catalogue import CHANNELS_MAX, ENDED, NODES_MAX, Assembly, Stage, Waits, classify
from gateway.gb28181.catalogue_tree import build_tree
from gateway.gb28181.messages.catalogue import CatalogueItem, CataloguePage

NVR = DeviceId("34020000001180000007")
WAITS = Waits(first=30, gap=5, tries=3)


def channel(number: int) -> str:
    return f"3402000000131000{number:04d}"


def page(
    *codes: str, sn: int = 100, sum_num: int | None = None, dropped: int = 0, failed: bool = False
) -> CataloguePage:
    items = tuple(CatalogueItem(code=code) for code in codes)
    return CataloguePage(
        notification=False, sn=sn, device_id=NVR, sum_num=sum_num, items=items, dropped=dropped, failed=failed
    )


def asked() -> Assembly:
    assembly = Assembly(WAITS, first_sn=100)
    assembly.start(0.0)
    assert assembly.poll_query() == 100
    assert assembly.poll_query() is None
    return assembly


def test_complete_by_the_count() -> None:
    assembly = asked()
    assert assembly.handle_page(1.0, page(channel(1), sum_num=2)) == ()
    assert assembly.stage is Stage.ASSEMBLING
    assembly.handle_page(2.0, page(channel(2), sum_num=2))
    assert assembly.stage is Stage.COMPLETE
    assert assembly.next_timeout() is None
    assert list(assembly.items) == [channel(1), channel(2)]


def test_partial_by_silence() -> None:
    assembly = asked()
    assembly.handle_page(1.0, page(channel(1), sum_num=3))
    assembly.handle_timeout(5.9)
    assert assembly.stage is Stage.ASSEMBLING
    assembly.handle_timeout(6.0)
    assert assembly.stage is Stage.PARTIAL
    assert list(assembly.items) == [channel(1)]


def test_duplicates_do_not_count_and_the_last_one_wins() -> None:
    assembly = asked()
    assembly.handle_page(1.0, page(channel(1), sum_num=2))
    assembly.handle_page(1.0, page(channel(1), sum_num=2))
    assert assembly.stage is Stage.ASSEMBLING
    named = CatalogueItem(code=channel(1), name="last")
    assembly.handle_page(1.0, CataloguePage(notification=False, sn=100, device_id=NVR, sum_num=2, items=(named,)))
    assert assembly.items[channel(1)].name == "last"


def test_a_dropped_item_makes_the_answer_partial() -> None:
    assembly = asked()
    assembly.handle_page(1.0, page(channel(1), sum_num=1, dropped=1))
    assert assembly.stage is Stage.ASSEMBLING
    assembly.handle_timeout(6.0)
    assert assembly.stage is Stage.PARTIAL


def test_zero_is_a_complete_empty_answer_but_only_as_the_first() -> None:
    assembly = asked()
    assembly.handle_page(1.0, page(sum_num=0))
    assert (assembly.stage, assembly.items) == (Stage.COMPLETE, {})
    assembly = asked()
    assembly.handle_page(1.0, page(channel(1), sum_num=2))
    assembly.handle_page(1.0, page(sum_num=0))
    assert assembly.stage is Stage.ASSEMBLING


def test_a_missing_sum_is_finished_by_silence() -> None:
    assembly = asked()
    assert assembly.handle_page(1.0, page(channel(1))) == ("catalogue-sum-missing",)
    assembly.handle_timeout(6.0)
    assert assembly.stage is Stage.PARTIAL


def test_no_answer_is_asked_again_with_a_new_sn_and_given_up() -> None:
    assembly = asked()
    assembly.handle_timeout(29.9)
    assert assembly.poll_query() is None
    for number, due in ((101, 30.0), (102, 60.0)):
        assembly.handle_timeout(due)
        assert assembly.poll_query() == number
    assembly.handle_timeout(90.0)
    assert (assembly.stage, assembly.poll_query(), assembly.next_timeout()) == (Stage.FAILED, None, None)


def test_a_late_answer_to_the_first_try_counts() -> None:
    assembly = asked()
    assembly.handle_timeout(30.0)
    assert assembly.handle_page(31.0, page(channel(1), sn=100, sum_num=1)) == ()
    assert assembly.stage is Stage.COMPLETE


def test_a_wrong_sn_is_taken_and_counted() -> None:
    assembly = asked()
    assert assembly.handle_page(1.0, page(channel(1), sn=0, sum_num=1)) == ("catalogue-sn-wrong",)
    assert assembly.stage is Stage.COMPLETE


def test_an_error_fails_the_query_and_an_answer_after_the_end_changes_nothing() -> None:
    assembly = asked()
    assembly.handle_page(1.0, page(failed=True))
    assert assembly.stage is Stage.FAILED
    assert assembly.handle_page(2.0, page(channel(1), sum_num=1)) == ("catalogue-late",)
    assert assembly.items == {}


def test_a_bare_result_before_the_list_ends_nothing() -> None:
    assembly = asked()
    assert assembly.handle_page(1.0, page()) == ("catalogue-empty-page",)
    assert assembly.stage is Stage.WAITING
    assembly.handle_page(2.0, page(channel(1), sum_num=1))
    assert assembly.stage is Stage.COMPLETE


def test_what_is_kept_is_bounded() -> None:
    assembly = asked()
    for start in range(0, NODES_MAX + 500, 500):
        codes = [f"{34020000001310000000 + start + number}" for number in range(500)]
        assembly.handle_page(1.0, page(*codes, sum_num=200_000))
    assert len(assembly.items) == NODES_MAX
    assert assembly.dropped == 500
    assert len(classify(NVR, assembly.items).channels) == CHANNELS_MAX


STEPS = st.lists(
    st.tuples(
        st.none() | st.tuples(st.lists(st.integers(1, 6), max_size=3), st.none() | st.integers(0, 6), st.booleans()),
        st.floats(0, 40),
    ),
    max_size=30,
)


@given(STEPS)
def test_any_history_ends_and_never_invents(
    steps: list[tuple[tuple[list[int], int | None, bool] | None, float]],
) -> None:
    assembly, now, told = asked(), 0.0, set()
    for answer, gap in steps:
        now += gap
        ended, before = assembly.stage in ENDED, dict(assembly.items)
        if answer is None:
            assembly.handle_timeout(now)
        else:
            codes = [channel(number) for number in answer[0]]
            told.update(codes)
            assembly.handle_page(now, page(*codes, sum_num=answer[1], failed=answer[2] and not codes))
        assert not ended or assembly.items == before
        assert set(assembly.items) <= told
        assert (assembly.next_timeout() is None) == (assembly.stage in ENDED)
        assembly.poll_query()
    while (due := assembly.next_timeout()) is not None:
        assembly.handle_timeout(due)
    assert assembly.stage in ENDED


def items(*codes: str) -> dict[str, CatalogueItem]:
    return {code: CatalogueItem(code=code) for code in codes}


def test_channels_and_the_rest() -> None:
    told = items(NVR, channel(1), "34020000001320000002", "34020000001340000001", "34020000002160000001", "3402")
    sorted_out = classify(NVR, told)
    assert [item.code for item in sorted_out.channels] == [channel(1), "34020000001320000002"]
    assert [item.code for item in sorted_out.others] == ["34020000001340000001"]
    assert [item.code for item in sorted_out.nodes] == ["34020000002160000001", "3402", NVR]
    assert sorted_out.deviations == ()


def test_an_ipc_is_its_own_only_channel() -> None:
    camera = DeviceId("34020000001320000001")
    assert [item.code for item in classify(camera, items(camera)).channels] == [camera]
    alarm_too = classify(camera, items(camera, "34020000001340000001"))
    assert [item.code for item in alarm_too.channels] == [camera]


def test_a_channel_with_an_odd_code_is_a_channel_and_counted() -> None:
    sorted_out = classify(NVR, items("340200000013100001", "34020000001180000009"))
    assert len(sorted_out.channels) == 2
    assert sorted_out.deviations == ("channel-type-unusual",)


def test_the_tree() -> None:
    told = [
        CatalogueItem(code="34020000002000000002"),
        CatalogueItem(code="34020000002150000001", parents=("34020000002000000002",)),
        CatalogueItem(code="34020000002160000001", group_id="34020000002150000001"),
        CatalogueItem(code=channel(1), parents=("34020000002000000002", "34020000002160000001")),
        CatalogueItem(code=channel(2), parents=(channel(2),)),
        CatalogueItem(code=channel(3), parents=("34020000002000000099",)),
        CatalogueItem(code=channel(4)),
        CatalogueItem(code="340200"),
        CatalogueItem(code="3402"),
    ]
    tree = build_tree(NVR, told)
    assert tree.path(channel(1)) == (
        NVR, "34020000002000000002", "34020000002150000001", "34020000002160000001", channel(1),
    )  # fmt: skip
    assert [tree.path(channel(n)) for n in (2, 3, 4)] == [(NVR, channel(n)) for n in (2, 3, 4)]
    assert tree.path("340200") == (NVR, "3402", "340200")
    assert tree.deviations == ("parent-is-itself", "parent-unknown")


@given(st.lists(st.tuples(st.integers(0, 8), st.lists(st.integers(0, 9), max_size=3)), max_size=12))
def test_every_node_hangs_from_the_root(pairs: list[tuple[int, list[int]]]) -> None:
    told = [CatalogueItem(code=channel(n), parents=tuple(channel(p) for p in parents)) for n, parents in pairs]
    tree = build_tree(NVR, told)
    assert set(tree.nodes) == {NVR} | {item.code for item in told}
    for code in tree.nodes:
        assert tree.path(code)[0] == NVR
        assert len(tree.path(code)) == len(set(tree.path(code)))
    assert sum(len(node.children) for node in tree.nodes.values()) == len(tree.nodes) - 1
