"""The loops of selection on a processor, compiled by numba: plain functions of arrays, rows `first` to `last`.

They release the interpreter's lock, so that `selection.py` runs them on several threads, each on its own rows. What
comes out depends on the input alone, never on the number of threads. float32 and float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def top_k_rows(
    pre: Array, begin: int, end: int, only: Array, k: int, value: Array, latent: Array, first: int, last: int
) -> None:
    """Write the `k` largest of columns `begin` to `end` of each row of `pre` (n, m) to `value` and `latent`.

    Or, where `only` names columns, of those. In no order. The columns are seen as up to 16 strips side by side; the
    largest of the entries at one place of all strips is that place's maximum. k places with a maximum of at least t
    hold k entries of at least t, so a t that k places reach, found by halving, lies at or below the k-th largest entry.
    Few entries reach t; the k largest of them are picked exactly. Whatever passes a bar is written without a branch: to
    the next free place, which is counted on only where it passed.
    """
    m = len(only) if len(only) else end - begin
    strips = 16
    while strips > 1 and m // strips < 4 * k:
        strips //= 2
    places = m // strips
    gathered = np.empty(len(only), pre.dtype)  # the columns in `only` of a row
    top = np.empty(places, pre.dtype)  # the largest at each place of all strips
    passing = np.empty(places + 1, np.int32)  # places whose largest reaches t, and room for one that does not
    candidate = np.empty(m + 1, pre.dtype)  # entries that reach t, and below where they lie
    position = np.empty(m + 1, np.int32)
    half = pre.dtype.type(0.5)
    for r in range(first, last):
        row = pre[r, begin:end]
        if len(only):
            for j in range(m):
                gathered[j] = pre[r, only[j]]
            row = gathered
        if k == 1:
            best = 0
            for j in range(1, m):
                if row[j] > row[best]:
                    best = j
            value[r, 0] = row[best]
            latent[r, 0] = only[best] if len(only) else begin + best
            continue
        for j in range(places):
            top[j] = row[j]
        for s in range(1, strips):
            strip = row[s * places : (s + 1) * places]
            for j in range(places):
                top[j] = max(top[j], strip[j])
        low = top[0]
        high = top[0]
        for j in range(places):
            low = min(low, top[j])
            high = max(high, top[j])
        for _ in range(40):
            middle = half * low + half * high
            if not low < middle:
                break
            reach = 0
            for j in range(places):
                reach += top[j] >= middle
            if reach < k:
                high = middle
            else:
                low = middle
                if reach <= k + k // 4:
                    break
        reach = 0
        for j in range(places):
            passing[reach] = j
            reach += top[j] >= low
        count = 0
        for p in range(reach):
            j = passing[p]
            for _ in range(strips):
                candidate[count] = row[j]
                position[count] = j
                count += row[j] >= low
                j += places
        for j in range(strips * places, m):
            candidate[count] = row[j]
            position[count] = j
            count += row[j] >= low
        if count < k:  # only where entries are not numbers: hand on the first, so that they are seen
            for j in range(k):
                value[r, j] = row[j]
                latent[r, j] = only[j] if len(only) else begin + j
            continue
        high = candidate[0]
        for j in range(count):
            high = max(high, candidate[j])
        reach = count
        while reach > k:
            middle = half * low + half * high
            if not low < middle < high:
                break
            passed = 0
            for j in range(count):
                passed += candidate[j] >= middle
            if passed < k:
                high = middle
            else:
                low = middle
                reach = passed
        place = 0
        if reach == k:
            for j in range(count):
                if place < k:
                    value[r, place] = candidate[j]
                    latent[r, place] = position[j]
                    place += candidate[j] >= low
        else:  # the k-th and the next are equal or neighbours among the numbers
            low = np.partition(candidate[:count], count - k)[count - k]
            for j in range(count):
                if candidate[j] > low:
                    value[r, place] = candidate[j]
                    latent[r, place] = position[j]
                    place += 1
            for j in range(count):
                if place < k and candidate[j] == low:
                    value[r, place] = candidate[j]
                    latent[r, place] = position[j]
                    place += 1
        for j in range(k):
            latent[r, j] = only[latent[r, j]] if len(only) else begin + latent[r, j]


def count_above(pre: Array, threshold: Array, count: Array, first: int, last: int) -> None:
    """Write to `count` (n,) how many entries of each row of `pre` (n, m) are above `threshold` (m,)."""
    m = pre.shape[1]
    for r in range(first, last):
        row = pre[r]
        total = 0
        for j in range(m):
            total += row[j] > threshold[j]
        count[r] = total


def take_above(pre: Array, threshold: Array, start: Array, value: Array, latent: Array, first: int, last: int) -> None:
    """Write the entries above `threshold`, row after row, from place ``start[r]`` on."""
    m = pre.shape[1]
    block = 16
    for r in range(first, last):
        row = pre[r]
        place = start[r]
        for begin in range(0, m, block):
            end = min(begin + block, m)
            some = 0
            for j in range(begin, end):
                some += row[j] > threshold[j]
            if some:
                for j in range(begin, end):
                    if row[j] > threshold[j]:
                        value[place] = row[j]
                        latent[place] = j
                        place += 1


def transpose(start: Array, latent: Array, start_t: Array, row_t: Array, order: Array) -> None:
    """Sort the entries of a sparse pattern by latent, and by row within a latent (a counting sort).

    Entry e of the result lies in row ``row_t[e]`` and was entry ``order[e]``; latent l has those from ``start_t[l]`` to
    ``start_t[l + 1]``.
    """
    n, m = len(start) - 1, len(start_t) - 1
    start_t[:] = 0
    for e in range(len(latent)):
        start_t[latent[e] + 1] += 1
    for j in range(m):
        start_t[j + 1] += start_t[j]
    place = start_t[:-1].copy()
    for r in range(n):
        for e in range(start[r], start[r + 1]):
            j = latent[e]
            row_t[place[j]] = r
            order[place[j]] = e
            place[j] += 1


def squared_errors(
    start: Array,
    latent: Array,
    value: Array,
    decoder: Array,
    bias: Array,
    target: Array,
    residual: Array,
    total: Array,
    slope: Array,
    first: int,
    last: int,
) -> None:
    """Write f D + b - target to `residual` (n, d), its sum of squares to `total` (n,), residual . D_l to `slope`.

    The decoder rows of a row's entries are read for the first and are still in the cache for the last.
    """
    d = decoder.shape[1]
    zero = decoder.dtype.type(0)  # of the matrix's type: sums in a wider one take half as long again
    for r in range(first, last):
        out = residual[r]
        wanted = target[r]
        for c in range(d):
            out[c] = bias[c] - wanted[c]
        for e in range(start[r], start[r + 1]):
            weight = decoder[latent[e]]
            x = value[e]
            if x != 0:
                for c in range(d):
                    out[c] += x * weight[c]
        square = zero
        for c in range(d):
            square += out[c] * out[c]
        total[r] = square
        for e in range(start[r], start[r + 1]):
            weight = decoder[latent[e]]
            dot = zero
            for c in range(d):
                dot += out[c] * weight[c]
            slope[e] = dot
