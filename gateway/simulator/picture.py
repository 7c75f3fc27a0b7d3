"""Text burnt into pictures: a bitmap font on the luma plane, for PyAV's wheels carry no drawtext."""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]

# Five columns a glyph, the lowest bit on top, seven bits high.
_GLYPHS: Final = {
    "0": "3E5149453E", "1": "00427F4000", "2": "4261514946", "3": "2141454B31", "4": "1814127F10", "5": "2745454539",
    "6": "3C4A494930", "7": "0171090503", "8": "3649494936", "9": "064949291E", ":": "0036360000", "-": "0808080808",
    ".": "0060600000", "/": "2010080402", "A": "7E1111117E", "B": "7F49494936", "C": "3E41414122", "D": "7F4141221C",
    "E": "7F49494941", "F": "7F09090901", "G": "3E4149497A", "H": "7F0808087F", "I": "00417F4100", "J": "2040413F01",
    "K": "7F08142241", "L": "7F40404040", "M": "7F020C027F", "N": "7F0408107F", "O": "3E4141413E", "P": "7F09090906",
    "Q": "3E4151215E", "R": "7F09192946", "S": "4649494931", "T": "01017F0101", "U": "3F4040403F", "V": "1F2040201F",
    "W": "3F4038403F", "X": "6314081463", "Y": "0708700807", "Z": "6151494543", "+": "08083E0808", "#": "147F147F14",
}  # fmt: skip


@lru_cache(maxsize=2048)
def _glyph(character: str, scale: int) -> Plane:
    """White on black, 6 × 9 cells of `scale` pixels; unknown characters are blank."""
    cell = np.full((9, 6), 16, dtype=np.uint8)
    for x, column in enumerate(bytes.fromhex(_GLYPHS.get(character, ""))):
        for y in range(7):
            if column >> y & 1:
                cell[y + 1, x] = 235
    return np.kron(cell, np.ones((scale, scale), dtype=np.uint8))


def burn(luma: Plane, text: str, *, line: int = 0) -> None:
    """Writes `text` into the luma plane in place, at the left of the `line`-th line; cut where the picture ends."""
    scale = max(1, luma.shape[0] // 120)
    top, left = scale * (2 + 10 * line), scale * 2
    for character in text.upper():
        glyph = _glyph(character, scale)
        area: Any = luma[top : top + glyph.shape[0], left : left + glyph.shape[1]]
        area[...] = glyph[: area.shape[0], : area.shape[1]]
        left += glyph.shape[1]
