"""Inner products of signed bytes, by the processor's own instruction for them where it has one."""

# numba's and llvmlite's own builders have no types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-arg, import-untyped, attr-defined"

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

BLOCK = 64
"""Bytes that one instruction multiplies and sums up."""

_LANES = 16


def _has_instruction() -> bool:
    """Does what numba compiles run where AVX-512 VNNI is? Told to compile for another processor, it may not."""
    if not config.ENABLE_AVX or config.CPU_NAME is not None or config.CPU_FEATURES is not None:
        return False
    return bool(get_host_cpu_features().get("avx512vnni", False))


@intrinsic
def _dot_blocks(_, codes, row, query, blocks):
    """Sum of `codes[row, i] ^ 0x80` (unsigned) times `query[i]` (signed) over the first `blocks * BLOCK` bytes.

    The instruction wants one side unsigned. numba has no way to name it, and its vectoriser does not find it.
    """
    return types.int32(codes, types.intp, query, types.intp), _generate_dot_blocks


def _generate_dot_blocks(context, builder, signature, arguments):
    array, at_row, vector, count = arguments
    code = make_array(signature.args[0])(context, builder, array)
    signed = make_array(signature.args[2])(context, builder, vector)
    lanes, block = ir.VectorType(ir.IntType(32), _LANES), ir.VectorType(ir.IntType(8), BLOCK)
    multiply = _declared(builder, "llvm.x86.avx512.vpdpbusd.512", lanes, [lanes, block, block])
    add_up = _declared(builder, "llvm.vector.reduce.add.v16i32", ir.IntType(32), [lanes])
    flip = ir.Constant(block, [-128] * BLOCK)
    begin = builder.gep(code.data, [builder.mul(at_row, builder.extract_value(code.shape, 1))])
    total = cgutils.alloca_once_value(builder, ir.Constant(lanes, [0] * _LANES))
    with cgutils.for_range(builder, count) as loop:
        at = builder.mul(loop.index, ir.Constant(loop.index.type, BLOCK))
        unsigned = builder.xor(_load(builder, begin, at, block), flip)
        more = [builder.load(total), unsigned, _load(builder, signed.data, at, block)]
        builder.store(builder.call(multiply, more), total)
    return builder.call(add_up, [builder.load(total)])


def _declared(builder, name, result, arguments):
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def _load(builder, data, at, kind):
    loaded = builder.load(builder.bitcast(builder.gep(data, [at]), kind.as_pointer()))
    loaded.align = 1
    return loaded


@njit(cache=True, nogil=True, inline="always")
def _dot_by_instruction(codes, row, query, query_sum):
    blocks = len(query) // BLOCK
    total = np.int32(0)
    if blocks > 0:
        total = np.int32(_dot_blocks(codes, row, query, blocks))
    for f in range(blocks * BLOCK, len(query)):
        total = np.int32(total + (np.int32(codes[row, f]) + np.int32(128)) * np.int32(query[f]))
    # (code + 128) was multiplied all along.
    return np.int32(total - np.int32(128) * query_sum)


@njit(cache=True, nogil=True, inline="always")
def _dot_plainly(codes, row, query, query_sum):
    code = codes[row]
    total = np.int32(0)
    for f in range(len(query)):
        # Kept to 32 bits at each step: numba would make 64 of them, and the vectoriser half as many at once.
        total = np.int32(total + np.int32(code[f]) * np.int32(query[f]))
    return total


dot_bytes = _dot_by_instruction if _has_instruction() else _dot_plainly
"""`dot_bytes(codes, row, query, query_sum)`: the exact product of one row of int8 `codes`, shape (n, f), C-contiguous,
with int8 `query`, shape (f,), whose sum the caller has. With more than 65,000 numbers a row 32 bits overflow."""
