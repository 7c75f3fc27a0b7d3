"""The tree that a catalogue describes: who stands under whom, whatever the device wrote (GB/T 28181-2022 annex J)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.devices.model import DeviceId
from gateway.gb28181.ids import Kind
from gateway.gb28181.messages.catalogue import CatalogueItem


@dataclass(slots=True)
class Node:
    """A place in the tree: its item (None for the device at the root) and the codes below it, in the order told."""

    code: str
    item: CatalogueItem | None
    parent: str | None
    children: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes by code; every node hangs, over its parents, from `root`."""

    root: str
    nodes: dict[str, Node]
    deviations: tuple[str, ...]

    def path(self, code: str) -> tuple[str, ...]:
        """The codes from the root down to `code`. Raises KeyError if there is no such node."""
        codes = [code]
        while (parent := self.nodes[codes[-1]].parent) is not None:
            codes.append(parent)
        return tuple(reversed(codes))


def build_tree(device_id: DeviceId, items: Iterable[CatalogueItem]) -> Tree:
    """Hangs each item under the parent it names; under the device if it names none, itself, nobody known or a cycle.

    An item with several parents (`system/organisation`) hangs under the last one that is known: the most particular.
    """
    nodes: dict[str, Node] = {device_id: Node(device_id, None, None)}
    items = list(items)
    for item in items:
        if item.code == device_id:
            nodes[device_id].item = item
        else:
            nodes.setdefault(item.code, Node(item.code, None, None)).item = item
    deviations: set[str] = set()
    for node in nodes.values():
        if node.item is not None and node.code != device_id:
            node.parent = _parent(node.item, nodes, device_id, deviations)
    _break_cycles(nodes, device_id, deviations)
    for node in nodes.values():
        if node.parent is not None:
            nodes[node.parent].children.append(node.code)
    return Tree(device_id, nodes, tuple(sorted(deviations)))


def _parent(item: CatalogueItem, nodes: dict[str, Node], root: str, deviations: set[str]) -> str:
    named = item.parents or _implied(item)
    known = [code for code in named if code in nodes and code != item.code]
    if item.code in named:
        deviations.add("parent-is-itself")
    elif named and not known:
        deviations.add("parent-unknown")
    return known[-1] if known else root


def _implied(item: CatalogueItem) -> tuple[str, ...]:
    """An organisation right under its group names only the group; a region stands under the code two digits shorter."""
    if item.kind is Kind.REGION:
        return (item.code[:-2],) if len(item.code) > 2 else ()
    return (item.group_id,) if item.group_id is not None else ()


def _break_cycles(nodes: dict[str, Node], root: str, deviations: set[str]) -> None:
    """Hangs one node of each cycle under the root. Linear: a node found good once is not walked again."""
    good = {root}
    for start in nodes:
        walked: list[str] = []
        seen: set[str] = set()
        code: str = start
        while code not in good:
            if code in seen:
                deviations.add("parent-cycle")
                nodes[code].parent = root
                break
            walked.append(code)
            seen.add(code)
            code = nodes[code].parent or root
        good.update(walked)
