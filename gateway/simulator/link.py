"""A bad link: packets get lost, doubled and out of order, by a seed, and every one of them is counted. Pure."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Impairment:
    """Shares (0–1) of packets that fare ill. A late packet is overtaken by up to `depth` others."""

    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    depth: int = 4
    seed: int = 0


@dataclass
class LinkCounts:
    """What became of the packets given to a link. `sent` counts packets on the wire, duplicates included.

    A packet is `reordered` if a later one went before it; the same word means the same in the relay's figures.
    """

    offered: int = 0
    sent: int = 0
    bytes: int = 0
    lost: int = 0
    reordered: int = 0
    duplicated: int = 0


class Link:
    """Takes packets in order and gives out what gets through, in the order in which it does."""

    def __init__(self, impairment: Impairment) -> None:
        self.counts = LinkCounts()
        self._impairment = impairment
        self._random = Random(impairment.seed)
        self._late: list[tuple[int, int, bytes]] = []  # (packets to let by, index, packet)
        self._highest = -1

    def pass_on(self, packets: list[bytes]) -> list[bytes]:
        """What goes on the wire now for these packets."""
        out: list[bytes] = []
        for packet in packets:
            self._offer(packet, out)
        return out

    def flush(self) -> list[bytes]:
        """What was still held back: at the end of the stream."""
        out: list[bytes] = []
        for _, index, packet in self._late:
            self._emit(index, packet, out)
        self._late.clear()
        return out

    def _offer(self, packet: bytes, out: list[bytes]) -> None:
        index, fate = self.counts.offered, self._impairment
        self.counts.offered += 1
        if fate.loss and self._random.random() < fate.loss:
            self.counts.lost += 1
            return
        if fate.reorder and self._random.random() < fate.reorder:
            self._late.append((self._random.randint(1, fate.depth), index, packet))
            return
        self._emit(index, packet, out)
        if fate.duplicate and self._random.random() < fate.duplicate:
            self.counts.duplicated += 1
            self._write(packet, out)
        if self._late:
            self._let_by(out)

    def _let_by(self, out: list[bytes]) -> None:
        """One packet overtook those that are held; some may go now."""
        held = [(patience - 1, index, packet) for patience, index, packet in self._late]
        self._late = [entry for entry in held if entry[0] > 0]
        for patience, index, packet in held:
            if patience <= 0:
                self._emit(index, packet, out)

    def _emit(self, index: int, packet: bytes, out: list[bytes]) -> None:
        if index < self._highest:
            self.counts.reordered += 1
        self._highest = max(self._highest, index)
        self._write(packet, out)

    def _write(self, packet: bytes, out: list[bytes]) -> None:
        self.counts.sent += 1
        self.counts.bytes += len(packet)
        out.append(packet)
