"""Kernels of content similarity: words out of a product's text, and items that share them."""

import numpy as np
from numba import njit

from recommender.scan import insert

NO_SLOT = -1
_FNV_OFFSET, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)
_SEPARATOR, _ABOVE, _SLASH, _SPACE = 0, 62, 47, 32
CATEGORY, BRAND, TITLE = 0, 1, 2
_LOGARITHMS = np.log(np.maximum(1, np.arange(4_096))).astype(np.float32)


@njit(cache=True, nogil=True)
def tokens_of(text, bands, buckets, tokens_max, weights_of_field, tokens, weights):  # type: ignore[no-untyped-def]
    """Write the tokens of one product, each once, into `tokens` and `weights`; how many there are.

    Args:
        text: category, brand and title in UTF-8, lower case, parted by a zero byte.
        bands: numbers that stand for the price, each a token of its own.
        buckets: tokens are numbered by a hash below this.
        tokens_max: what does not fit any more is left out; categories come first, then the brand.
        weights_of_field: shape (4,), of category, brand, title, price.
    """
    count, field, length, value = 0, CATEGORY, 0, _FNV_OFFSET
    for place in range(len(text) + 1):
        byte = text[place] if place < len(text) else np.uint8(_SEPARATOR)
        ends = byte == _SEPARATOR
        if field == CATEGORY:
            # Every level is a token, and each is told with all above it.
            if (ends or byte in (_ABOVE, _SLASH)) and length > 0:
                count = _add(tokens, weights, count, tokens_max, value, field, buckets, weights_of_field[field])
        elif field == BRAND:
            if ends and length > 0:
                count = _add(tokens, weights, count, tokens_max, value, field, buckets, weights_of_field[field])
        elif not _letter(byte):
            if length > 1:
                count = _add(tokens, weights, count, tokens_max, value, field, buckets, weights_of_field[field])
            length, value = 0, _FNV_OFFSET
        if ends:
            field += 1
            length, value = 0, _FNV_OFFSET
        elif (field == TITLE and _letter(byte)) or (field != TITLE and byte != _SPACE):
            value = np.uint32((value ^ np.uint32(byte)) * _FNV_PRIME)
            length += 1
    for band in bands:
        value = np.uint32((_FNV_OFFSET ^ np.uint32(band)) * _FNV_PRIME)
        count = _add(tokens, weights, count, tokens_max, value, 3, buckets, weights_of_field[3])
    return count


@njit(cache=True, nogil=True)
def _letter(byte):  # type: ignore[no-untyped-def]
    # Of a letter beyond ASCII every byte is 128 or more.
    return 48 <= byte <= 57 or 97 <= byte <= 122 or byte >= 128


@njit(cache=True, nogil=True)
def _add(tokens, weights, count, tokens_max, value, field, buckets, weight):  # type: ignore[no-untyped-def]
    token = np.int32(np.uint32((value ^ np.uint32(field + 1)) * _FNV_PRIME) % np.uint32(buckets))
    for place in range(count):
        if tokens[place] == token:
            return count
    if count == tokens_max:
        return count
    tokens[count], weights[count] = token, weight
    return count + 1


@njit(cache=True, nogil=True)
def describe(slot_tokens, slot_weights, following, before, heads, counts, row, tokens, weights, count):  # type: ignore[no-untyped-def]
    """Replace what is held of `row`; its postings become the newest of their tokens."""
    for place in range(slot_tokens.shape[1]):
        slot = row * slot_tokens.shape[1] + place
        token = slot_tokens[row, place]
        if token >= 0:
            _unlink(following, before, heads, counts, token, slot)
        slot_tokens[row, place] = NO_SLOT
        if place < count:
            token = tokens[place]
            slot_tokens[row, place], slot_weights[row, place] = token, weights[place]
            following[slot], before[slot] = heads[token], NO_SLOT
            if heads[token] >= 0:
                before[heads[token]] = slot
            heads[token] = slot
            counts[token] += 1


@njit(cache=True, nogil=True)
def _unlink(following, before, heads, counts, token, slot):  # type: ignore[no-untyped-def]
    if before[slot] >= 0:
        following[before[slot]] = following[slot]
    else:
        heads[token] = following[slot]
    if following[slot] >= 0:
        before[following[slot]] = before[slot]
    counts[token] -= 1


@njit(cache=True, nogil=True)
def similar(  # type: ignore[no-untyped-def]
    slot_tokens, slot_weights, following, heads, counts, profile, marks, rows, says, items, described, walk_max,
    n, blocked,
):  # fmt: skip
    """The `n` items most like `rows`: each one's cosine times what `says` of it, summed; ties by row.

    `profile` (by token) and `marks` (by item) are zero before and after.
    """
    width = slot_tokens.shape[1]
    of_all = _of_all(described)
    for i in range(len(rows)):
        length = _length(slot_tokens, slot_weights, counts, of_all, rows[i])
        for place in range(width):
            token = slot_tokens[rows[i], place]
            if token >= 0 and length > 0.0:
                profile[token] += says[i] * slot_weights[rows[i], place] * _rarity(counts, of_all, token) / length
        marks[rows[i]] = 1
    best_rows, best_scores = np.empty(n, np.int32), np.empty(n, np.float32)
    met = np.empty(len(rows) * width * walk_max, np.int32)
    filled, count = 0, 0
    for i in range(len(rows)):
        for place in range(width):
            token = slot_tokens[rows[i], place]
            if token < 0:
                continue
            slot, walked = heads[token], 0
            while slot >= 0 and walked < walk_max:
                row = slot // width
                slot = following[slot]
                walked += 1
                if marks[row]:
                    continue
                marks[row] = 1
                met[count] = row
                count += 1
                if row < len(blocked) and blocked[row]:
                    continue
                score = _likeness(slot_tokens, slot_weights, counts, of_all, profile, row)
                if filled < n or score > best_scores[n - 1] or (score == best_scores[n - 1] and row < best_rows[n - 1]):
                    filled = insert(best_rows, best_scores, filled, row, score)
    for i in range(count):
        marks[met[i]] = 0
    for i in range(len(rows)):
        marks[rows[i]] = 0
        for place in range(width):
            if slot_tokens[rows[i], place] >= 0:
                profile[slot_tokens[rows[i], place]] = 0.0
    return best_rows[:filled], best_scores[:filled]


@njit(cache=True, nogil=True)
def _likeness(slot_tokens, slot_weights, counts, of_all, profile, row):  # type: ignore[no-untyped-def]
    product, square = np.float32(0.0), np.float32(0.0)
    for place in range(slot_tokens.shape[1]):
        token = slot_tokens[row, place]
        if token >= 0:
            value = slot_weights[row, place] * _rarity(counts, of_all, token)
            product += profile[token] * value
            square += value * value
    return product / np.sqrt(square) if square > 0.0 else np.float32(0.0)


@njit(cache=True, nogil=True)
def _length(slot_tokens, slot_weights, counts, of_all, row):  # type: ignore[no-untyped-def]
    square = np.float32(0.0)
    for place in range(slot_tokens.shape[1]):
        token = slot_tokens[row, place]
        if token >= 0:
            value = slot_weights[row, place] * _rarity(counts, of_all, token)
            square += value * value
    return np.sqrt(square)


@njit(cache=True, nogil=True)
def _of_all(described):  # type: ignore[no-untyped-def]
    # One more than there are: a token that all share still counts a little, else a small shop has no neighbours.
    return np.float32(np.log(np.float32(described + 1)) + np.float32(0.1))


@njit(cache=True, nogil=True)
def _rarity(counts, of_all, token):  # type: ignore[no-untyped-def]
    count = counts[token]
    # From a table: this is asked for every token of every item met, and a logarithm costs more than all else of it.
    return of_all - (_LOGARITHMS[count] if count < len(_LOGARITHMS) else np.float32(np.log(np.float32(count))))
