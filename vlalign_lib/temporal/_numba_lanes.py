"""A vector of numbers side by side, as a type that numba compiles to vector instructions.

Whether LLVM turns a loop over arrays into vector instructions depends on how many arrays the loop
touches and on what can be proved about them; the recurrences of alignment are past what it
manages. Here 128 bytes of numbers (32 of float32 and int32, 16 of float64 and int64) are one
value, ``Lanes``. Arithmetic, comparisons and bit operations work on all of them at once, a scalar
operand is spread, and LLVM splits a value over as many registers as the processor needs: two of
AVX-512, which keep each other busy where every operation waits for the one before.

A product and a sum may be fused into one instruction. Nothing else is rearranged, so that NaN and
infinities mean what they mean.
"""

# mypy: ignore-errors  # numba compiles what is written here, by rules of its own

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

BYTES = 128
REGISTER = 64  # bytes of a row of a tile, below
INTEGERS = {types.float32: types.int32, types.float64: types.int64}
REALS = {integer: real for real, integer in INTEGERS.items()}
FUSED = ("contract",)


def lanes_of(dtype):
    """Return how many numbers of a type lie side by side."""
    return BYTES * 8 // dtype.bitwidth


class Lanes(types.Type):
    """``count`` scalars of one type."""

    def __init__(self, dtype, count):
        self.dtype = dtype
        self.count = count
        super().__init__(name=f"Lanes({dtype}, {count})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """Lanes are a vector of LLVM's."""

    def __init__(self, manager, kind):
        if kind.dtype == types.boolean:
            element = ir.IntType(1)
        else:
            element = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(element, kind.count))


def _register(operation: Any, code: Callable[..., Any], *, compares: bool = False) -> None:
    """Teach numba a binary operator on lanes, or on lanes and a scalar."""

    class Template(AbstractTemplate):
        def generic(self, args, kws):
            found = [each for each in args if isinstance(each, Lanes)]
            others = [types.unliteral(each) for each in args if not isinstance(each, Lanes)]
            if not found or not all(isinstance(each, types.Number) for each in others):
                return None
            lanes = found[0]
            kinds = [each if isinstance(each, Lanes) else lanes.dtype for each in args]
            answer = Lanes(types.boolean, lanes.count) if compares else lanes
            return signature(answer, *kinds)

    def lower(context, builder, sig, args):
        lanes = next(each for each in sig.args if isinstance(each, Lanes))
        vectors = (
            value if isinstance(each, Lanes) else _spread(builder, value, lanes.count)
            for each, value in zip(sig.args, args, strict=True)
        )
        return code(builder, *vectors, isinstance(lanes.dtype, types.Float))

    infer_global(operation)(Template)
    for kinds in ((Lanes, Lanes), (Lanes, types.Any), (types.Any, Lanes)):
        lower_builtin(operation, *kinds)(lower)


def _register_comparison(operation: Any, sign: str) -> None:
    def code(builder, a, b, real):
        return builder.fcmp_ordered(sign, a, b) if real else builder.icmp_signed(sign, a, b)

    _register(operation, code, compares=True)


_register(operator.add, lambda at, a, b, real: at.fadd(a, b, flags=FUSED) if real else at.add(a, b))
_register(operator.sub, lambda at, a, b, real: at.fsub(a, b, flags=FUSED) if real else at.sub(a, b))
_register(operator.mul, lambda at, a, b, real: at.fmul(a, b, flags=FUSED) if real else at.mul(a, b))
_register(operator.truediv, lambda at, a, b, real: at.fdiv(a, b))
_register(operator.lshift, lambda at, a, b, real: at.shl(a, b))
_register(operator.rshift, lambda at, a, b, real: at.ashr(a, b))
_register(operator.and_, lambda at, a, b, real: at.and_(a, b))
_register(operator.or_, lambda at, a, b, real: at.or_(a, b))
_register(operator.xor, lambda at, a, b, real: at.xor(a, b))
_register_comparison(operator.lt, "<")
_register_comparison(operator.le, "<=")
_register_comparison(operator.eq, "==")


def _index(lane):
    return ir.Constant(ir.IntType(32), lane)


def _order(lanes):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))


def _spread(builder, scalar, count):
    undefined = ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined)
    first = builder.insert_element(undefined, scalar, _index(0))
    return builder.shuffle_vector(first, undefined, _order([0] * count))


@intrinsic
def width(typing, array):
    """Return how many numbers of the array's type lie side by side."""

    def code(context, builder, sig, args):
        return context.get_constant(types.intp, lanes_of(array.dtype))

    return types.intp(array), code


@intrinsic
def tile(typing, array):
    """Return how many rows and columns a tile of the array's type has."""

    def code(context, builder, sig, args):
        return context.get_constant(types.intp, REGISTER * 8 // array.dtype.bitwidth)

    return types.intp(array), code


@intrinsic
def spread(typing, scalar):
    """Return lanes that all hold the scalar."""
    answer = Lanes(scalar, lanes_of(scalar))

    def code(context, builder, sig, args):
        return _spread(builder, args[0], answer.count)

    return answer(scalar), code


@intrinsic
def maximum(typing, a, b):
    """Return the larger of two lanes of integers."""

    def code(context, builder, sig, args):
        return builder.select(builder.icmp_signed(">", *args), *args)

    return a(a, a), code


@intrinsic
def fused(typing, a, factor, c):
    """Return ``a * factor + c``, in one rounding on every processor that can."""

    def code(context, builder, sig, args):
        a_, factor_, c_ = args
        kind = ir.FunctionType(a_.type, [a_.type] * 3)
        name = f"llvm.fmuladd.v{a.count}f{a.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [a_, _spread(builder, factor_, a.count), c_])

    return a(a, a.dtype, a), code


@intrinsic
def select(typing, mask, a, b):
    """Return a where the mask holds, else b."""

    def code(context, builder, sig, args):
        return builder.select(*args)

    return a(mask, a, a), code


@intrinsic
def bits(typing, values):
    """Return the bits of floating-point lanes, or of one number, as integers."""
    if isinstance(values, Lanes):
        answer = Lanes(INTEGERS[values.dtype], values.count)
    else:
        answer = INTEGERS[values]

    def code(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(answer))

    return answer(values), code


@intrinsic
def floats(typing, values):
    """Return the floating-point lanes that have these bits."""
    answer = Lanes(REALS[values.dtype], values.count)

    def code(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(answer))

    return answer(values), code


def _vector(context, builder, kind, array, index, count):
    """Return a pointer to the lanes that start at an element of a flat contiguous array."""
    data = context.make_array(kind)(context, builder, array).data
    element = builder.gep(data, [index])
    return builder.bitcast(element, ir.VectorType(data.type.pointee, count).as_pointer())


def _bytes(kind):
    return kind.dtype.bitwidth // 8


@intrinsic
def load(typing, array, at):
    """Return the lanes that start at an index of a flat array."""
    answer = Lanes(array.dtype, lanes_of(array.dtype))

    def code(context, builder, sig, args):
        pointer = _vector(context, builder, array, *args, answer.count)
        return builder.load(pointer, align=_bytes(array))

    return answer(array, types.intp), code


@intrinsic
def store(typing, array, at, values):
    """Write lanes to a flat array from an index on."""

    def code(context, builder, sig, args):
        pointer = _vector(context, builder, array, *args[:2], values.count)
        builder.store(args[2], pointer, align=_bytes(array))
        return context.get_dummy_value()

    return types.none(array, types.intp, values), code


@intrinsic
def shift_up(typing, values, first):
    """Return the lanes moved up by one, and ``first`` in lane 0."""

    def code(context, builder, sig, args):
        values_, first_ = args
        count = values.count
        other = builder.insert_element(ir.Constant(values_.type, ir.Undefined), first_, _index(0))
        return builder.shuffle_vector(other, values_, _order([0, *range(count, 2 * count - 1)]))

    return values(values, values.dtype), code


@intrinsic
def shift_down(typing, values, last):
    """Return the lanes moved down by one, and ``last`` in the last lane."""

    def code(context, builder, sig, args):
        values_, last_ = args
        other = builder.insert_element(ir.Constant(values_.type, ir.Undefined), last_, _index(0))
        return builder.shuffle_vector(values_, other, _order(range(1, values.count + 1)))

    return values(values, values.dtype), code


@intrinsic
def first_lane(typing, values):
    """Return the first lane."""

    def code(context, builder, sig, args):
        return builder.extract_element(args[0], _index(0))

    return values.dtype(values), code


@intrinsic
def last_lane(typing, values):
    """Return the last lane."""

    def code(context, builder, sig, args):
        return builder.extract_element(args[0], _index(values.count - 1))

    return values.dtype(values), code


def _transpose(builder, rows):
    """Return the transpose of as many vectors as each has elements: swap blocks, halve them."""
    count = size = len(rows)
    while size := size // 2:
        low = [lane + count - size if lane & size else lane for lane in range(count)]
        high = [lane + count if lane & size else lane + size for lane in range(count)]
        for row in range(count):
            if not row & size:
                a, b = rows[row], rows[row + size]
                rows[row] = builder.shuffle_vector(a, b, _order(low))
                rows[row + size] = builder.shuffle_vector(a, b, _order(high))
    return rows


def _start(context, builder, kind, bases, lane, at):
    element = builder.gep(context.make_array(kind)(context, builder, bases).data, [lane])
    return builder.add(builder.load(element), at)


@intrinsic
def gather_tile(typing, source, bases, lane, at, target, to):
    """Copy a tile: row r from ``source[bases[lane + r] + at:]`` to lane ``lane + r`` of target.

    Column c of the tile goes to the lanes that start at ``target[to + c * width]``.
    """
    count = REGISTER // _bytes(source)
    pitch = lanes_of(source.dtype)

    def code(context, builder, sig, args):
        source_, bases_, lane_, at_, target_, to_ = args
        rows = []
        for row in range(count):
            where = builder.add(lane_, ir.Constant(lane_.type, row))
            start = _start(context, builder, bases, bases_, where, at_)
            pointer = _vector(context, builder, source, source_, start, count)
            rows.append(builder.load(pointer, align=_bytes(source)))
        for column, values in enumerate(_transpose(builder, rows)):
            where = builder.add(to_, ir.Constant(to_.type, column * pitch))
            where = builder.add(where, lane_)
            pointer = _vector(context, builder, target, target_, where, count)
            builder.store(values, pointer, align=_bytes(target))
        return context.get_dummy_value()

    return types.none(source, bases, types.intp, types.intp, target, types.intp), code


@intrinsic
def scatter_tile(typing, source, at, target, bases, lane, to):
    """Copy a tile back: lane ``lane + r`` of ``source[at:]`` to ``target[bases[lane + r] + to:]``.

    Column c of the tile comes from the lanes that start at ``source[at + c * width]``.
    """
    count = REGISTER // _bytes(source)
    pitch = lanes_of(source.dtype)

    def code(context, builder, sig, args):
        source_, at_, target_, bases_, lane_, to_ = args
        columns = []
        for column in range(count):
            where = builder.add(at_, ir.Constant(at_.type, column * pitch))
            where = builder.add(where, lane_)
            pointer = _vector(context, builder, source, source_, where, count)
            columns.append(builder.load(pointer, align=_bytes(source)))
        for row, values in enumerate(_transpose(builder, columns)):
            where = builder.add(lane_, ir.Constant(lane_.type, row))
            start = _start(context, builder, bases, bases_, where, to_)
            pointer = _vector(context, builder, target, target_, start, count)
            builder.store(values, pointer, align=_bytes(target))
        return context.get_dummy_value()

    return types.none(source, types.intp, target, bases, types.intp, types.intp), code
