"""Pictures that look the same though their files differ: difference hashes, compared in two steps.

A difference hash says of each pixel of a small grey picture whether its right neighbour is lighter; it lives
through another size, compression and brightness. 64 bits (8 x 8) find candidates fast; 256 bits (16 x 16)
decide. On drawn faces, all placed alike (`idfer synth`, 240 faces of 60 people), two different pictures
differ in 4 of 64 bits and 34 of 256 at least; the same one at half the size or as a JPEG of quality 50 mostly
in 2 of 64 or fewer, and in at most 32 of 256. Hence the two bounds [ours].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COARSE, FINE = 3, 32  # bits that may differ, of 64 and of 256
_BLOCKS = 4  # of 16 bits: of 4 blocks with 3 differing bits one is equal
_PAIRS = 1 << 22  # compared at a time
_FLAT = 2.0  # grey levels: a picture of less contrast has no shape to compare
_ONES = np.array([bin(value).count("1") for value in range(256)], np.uint8)
WIDTH = 40  # bytes of a hash: 8 coarse, 32 fine


def difference_hash(image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Hash of a picture (H, W, 3) uint8 RGB as (40,) uint8; None where it is one even grey."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    parts = []
    for side in (8, 16):
        small = cv2.resize(grey, (side + 1, side), interpolation=cv2.INTER_AREA).astype(np.int16)
        if side == 8 and small.std() < _FLAT:
            return None
        parts.append(np.packbits(small[:, 1:] > small[:, :-1]))
    return np.concatenate(parts)


def near_pairs(hashes: NDArray[np.uint8], groups: NDArray[np.integer]) -> NDArray[np.int64]:
    """Pairs of rows of different groups whose pictures look the same.

    Args:
        hashes: (N, 40) of `difference_hash`.
        groups: (N,) number of each row's group, e.g. its split; pairs within one are not looked for.

    Returns:
        (P, 2) rows, the first before the second, sorted. Rows are compared only where 16 of the 64 coarse
        bits agree, so time grows with N^2 / 65536 on varied pictures.
    """
    found = [np.empty((0, 2), np.int64)]
    blocks = np.ascontiguousarray(hashes[:, :8]).view(np.uint16)
    for block in range(_BLOCKS):
        order = np.lexsort((groups, blocks[:, block]))
        keys = blocks[order, block]
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        for start, end in zip(starts, np.r_[starts[1:], len(keys)], strict=True):
            if end - start > 1 and groups[order[start]] != groups[order[end - 1]]:
                found.append(_within(order[start:end], hashes, groups))
    pairs = np.concatenate(found)
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _within(
    rows: NDArray[np.int64], hashes: NDArray[np.uint8], groups: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Near pairs among rows that share a block, sorted by group."""
    found = [np.empty((0, 2), np.int64)]
    ends = np.searchsorted(groups[rows], groups[rows], side="right")  # partners come after one's own group
    step = max(1, _PAIRS // len(rows))
    for start in range(0, len(rows), step):
        mine = np.arange(start, min(start + step, len(rows)))
        counts = len(rows) - ends[mine]
        first = np.repeat(mine, counts)
        second = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        second = second + np.repeat(ends[mine], counts)
        pairs = np.column_stack([rows[first], rows[second]])
        for part, bound in ((slice(0, 8), COARSE), (slice(8, WIDTH), FINE)):
            differ = hashes[pairs[:, 0], part] ^ hashes[pairs[:, 1], part]
            pairs = pairs[_ONES[differ].sum(axis=1, dtype=np.int64) <= bound]
        found.append(pairs)
    return np.concatenate(found)
