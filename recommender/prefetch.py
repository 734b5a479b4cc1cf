"""Ask for memory before it is read: a loop that branches on what it reads waits for every read of it."""

# numba's and llvmlite's own builders have no types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped"

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

_READ, _KEEP, _OF_DATA = 0, 3, 1


@intrinsic
def _prefetch(_, array, place):
    return types.void(array, types.intp), _generate_prefetch


def _generate_prefetch(context, builder, signature, arguments):
    array = make_array(signature.args[0])(context, builder, arguments[0])
    stride = builder.extract_value(array.strides, 0)
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    address = builder.gep(builder.bitcast(array.data, byte), [builder.mul(arguments[1], stride)])
    declared = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    fetch = cgutils.get_or_insert_function(builder.module, declared, "llvm.prefetch.p0")
    builder.call(fetch, [address, number(_READ), number(_KEEP), number(_OF_DATA)])
    return context.get_dummy_value()


prefetch: Any = _prefetch
"""`prefetch(array, place)`, in kernels: fetch the line in which `array[place]` begins (of two dimensions: row `place`);
nothing happens where there is none."""
