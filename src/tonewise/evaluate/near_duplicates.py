"""Texts that are nearly the same: MinHash over characters, then the exact share they have in common."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SHINGLE = 5
"""Characters of a shingle."""
BANDS, BAND_ROWS = 20, 6
"""At a Jaccard index of 0.8 a pair meets in one of the bands 998 times of 1,000, at 0.5 in one of four."""
NEIGHBOURS = 20
"""Texts of a bucket that each is compared with, so that a thousand forms of one text stay cheap."""
MIXER = np.uint64(0x9E3779B97F4A7C15)

Hashes = NDArray[np.uint64]


def near_pairs(texts: Sequence[str], least: float = 0.8) -> list[tuple[int, int, float]]:
    """For each text the most similar earlier one, as (earlier, later, Jaccard index of `least` or more).

    Similarity is the Jaccard index of the two sets of 5-character shingles. Candidates are found by MinHash
    in bands (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3), in time
    linear in the texts; fixed seeds, so equal texts give equal answers.
    """
    shingles = [_shingles(text) for text in texts]
    best: dict[int, tuple[float, int]] = {}
    seen: set[tuple[int, int]] = set()
    for pair in _candidates(shingles):
        if pair in seen:
            continue
        seen.add(pair)
        first, second = pair
        alike = _jaccard(shingles[first], shingles[second])
        if alike >= least and (alike, -first) > best.get(second, (0.0, 0)):
            best[second] = (alike, -first)
    return [(-best[row][1], row, best[row][0]) for row in sorted(best)]


def _shingles(text: str) -> Hashes:
    """The sorted hashes of all runs of five characters, each once; of a shorter text the hash of it all."""
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.uint64)
    width = min(SHINGLE, len(codes))
    hashes = np.zeros(max(1, len(codes) - SHINGLE + 1), np.uint64)
    for offset in range(width):
        hashes = hashes * MIXER + codes[offset : offset + len(hashes)] + np.uint64(1)
        hashes ^= hashes >> np.uint64(29)
    return np.unique(hashes)


def _candidates(shingles: Sequence[Hashes]) -> Iterator[tuple[int, int]]:
    """Pairs (earlier, later) that share a band of their signatures."""
    if not shingles:
        return
    drawn = np.random.default_rng(0).integers(0, 2**63, (2, BANDS * BAND_ROWS, 1), dtype=np.uint64)
    factors, shifts = drawn[0] | np.uint64(1), drawn[1]
    # the high bits: of a product modulo 2^64 they alone depend on all bits of the hash
    signatures = np.array(
        [((factors * some + shifts) >> np.uint64(32)).min(axis=1) for some in shingles], np.uint64
    )
    for band in range(BANDS):
        part = np.ascontiguousarray(signatures[:, band * BAND_ROWS : (band + 1) * BAND_ROWS])
        _, bucket = np.unique(part, axis=0, return_inverse=True)
        order = np.argsort(bucket.ravel(), kind="stable")
        ends = np.flatnonzero(np.diff(bucket.ravel()[order])) + 1
        for start, end in pairwise([0, *ends.tolist(), len(order)]):
            rows = order[start:end].tolist()
            for place, row in enumerate(rows):
                yield from ((other, row) for other in rows[max(0, place - NEIGHBOURS) : place])


def _jaccard(first: Hashes, second: Hashes) -> float:
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)
