"""A vector of numbers side by side, as a type that numba compiles to vector instructions.

Whether LLVM turns a loop over arrays into vector instructions depends on how many arrays the loop
touches and on what can be proved about them; the recurrences of alignment are past what it
manages. Here 128 bytes of numbers (32 of float32, 16 of float64) are one value of numba's,
``Lanes``. LLVM splits it over as many registers as the processor needs: two of AVX-512, which
keep each other busy where every operation waits for the one before.

What is done with lanes is written as plain functions on ``Vector``, whose operators emit one
instruction for all lanes; ``on_lanes`` makes them callable from compiled code. They run once,
while numba compiles, so that a loop or a condition in them leaves no trace but its instructions,
and numba has little to infer: compilation takes a fraction of the time.

A product and a sum may be fused into one instruction. Nothing else is rearranged, so that NaN and
infinities mean what they mean.
"""

# mypy: ignore-errors

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.extending import intrinsic, models, register_model

from vlalign_lib.engine import _numba

BYTES = 128
REGISTER = 64  # bytes of a row of a tile, below
FUSED = ("contract",)


class Lanes(types.Type):
    """As many numbers of a floating-point type as ``BYTES`` hold."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.count = BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """Lanes are a vector of LLVM's."""

    def __init__(self, manager, kind):
        element = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(element, kind.count))


class Format(NamedTuple):
    """How floating-point numbers of one size are written in bits."""

    size: int  # in bytes
    digits: int  # of the fraction
    bias: int  # of the exponent

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.digits

    @property
    def fraction(self) -> int:
        """The bits of the fraction."""
        return (1 << self.digits) - 1

    @property
    def infinity(self) -> int:
        """The bits of +inf."""
        return (2 * self.bias + 1) << self.digits

    @property
    def magnitude(self) -> int:
        """All bits but the sign."""
        return self.infinity | self.fraction

    @property
    def rounder(self) -> float:
        """Added and subtracted, it rounds numbers of moderate size to integers."""
        return 1.5 * 2**self.digits

    @property
    def anchor(self) -> int:
        """The bits of ``rounder``."""
        return int(np.array(self.rounder, f"f{self.size}").view(f"i{self.size}"))


FORMATS = {4: Format(size=4, digits=23, bias=127), 8: Format(size=8, digits=52, bias=1023)}


class Vector:
    """Lanes while code is generated: every operator emits an instruction.

    The lanes hold floating-point numbers, integers of the same size, or truth values. The other
    operand may be a Python number.
    """

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder = builder
        self.value = value

    @property
    def count(self) -> int:
        """How many lanes there are."""
        return self.value.type.count

    @property
    def format(self) -> Format:
        """How the floating-point numbers of this size are written in bits."""
        return FORMATS[BYTES // self.count]

    @property
    def is_real(self) -> bool:
        """Whether the lanes hold floating-point numbers."""
        return isinstance(self.value.type.element, ir.FloatType | ir.DoubleType)

    def __add__(self, other: Vector | float) -> Vector:
        return self._emit("add", other)

    def __sub__(self, other: Vector | float) -> Vector:
        return self._emit("sub", other)

    def __mul__(self, other: Vector | float) -> Vector:
        return self._emit("mul", other)

    def __rsub__(self, other: float) -> Vector:
        return self._like(other) - self

    def __truediv__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fdiv(self.value, other.value))

    def __lshift__(self, other: int) -> Vector:
        return Vector(self.builder, self.builder.shl(self.value, self._like(other).value))

    def __rshift__(self, other: int) -> Vector:
        return Vector(self.builder, self.builder.ashr(self.value, self._like(other).value))

    def __and__(self, other: int) -> Vector:
        return Vector(self.builder, self.builder.and_(self.value, self._like(other).value))

    def __or__(self, other: Vector | int) -> Vector:
        return Vector(self.builder, self.builder.or_(self.value, self._like(other).value))

    def __xor__(self, other: int) -> Vector:
        return Vector(self.builder, self.builder.xor(self.value, self._like(other).value))

    def __lt__(self, other: Vector | float) -> Vector:
        return self._compare("<", other)

    def __le__(self, other: Vector | float) -> Vector:
        return self._compare("<=", other)

    def choose(self, a: Vector | float, b: Vector | float) -> Vector:
        """Return a where this holds, else b, at least one of them lanes."""
        pattern = a if isinstance(a, Vector) else b
        values = (pattern._like(each).value for each in (a, b))
        return Vector(self.builder, self.builder.select(self.value, *values))

    def or_larger(self, other: Vector | float) -> Vector:
        """Return the larger of two numbers."""
        return (self < other).choose(other, self)

    def fused(self, factor: Vector, other: Vector) -> Vector:
        """Return ``self * factor + other``, in one rounding on every processor that can."""
        kind = ir.FunctionType(self.value.type, [self.value.type] * 3)
        name = f"llvm.fmuladd.v{self.count}f{self.format.size * 8}"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        values = (self.value, factor.value, other.value)
        return Vector(self.builder, self.builder.call(function, values))

    def bits(self) -> Vector:
        """Return the bits as integers."""
        return self._cast(ir.IntType(self.format.size * 8))

    def floats(self) -> Vector:
        """Return the floating-point numbers that have these bits."""
        return self._cast(ir.FloatType() if self.format.size == 4 else ir.DoubleType())

    def magnitude(self) -> Vector:
        """Return the absolute values."""
        return (self.bits() & self.format.magnitude).floats()

    def negative(self) -> Vector:
        """Return numbers that are not below zero with the sign set, that of zero too."""
        return (self.bits() | (-1 - self.format.magnitude)).floats()

    def _emit(self, name: str, other: Vector | float) -> Vector:
        values = (self.value, self._like(other).value)
        if self.is_real:
            return Vector(self.builder, getattr(self.builder, f"f{name}")(*values, flags=FUSED))
        return Vector(self.builder, getattr(self.builder, name)(*values))

    def _compare(self, sign: str, other: Vector | float) -> Vector:
        compare = self.builder.fcmp_ordered if self.is_real else self.builder.icmp_signed
        return Vector(self.builder, compare(sign, self.value, self._like(other).value))

    def _like(self, other: Vector | float) -> Vector:
        if isinstance(other, Vector):
            return other
        constant = ir.Constant(self.value.type, [other] * self.count)
        return Vector(self.builder, constant)

    def _cast(self, element: ir.Type) -> Vector:
        kind = ir.VectorType(element, self.count)
        return Vector(self.builder, self.builder.bitcast(self.value, kind))


compiled = partial(_numba.compiled, error_model="numpy")
part = partial(
    _numba.part, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)  # nobody but compiled code calls it


def on_lanes(function: Callable[..., Any]) -> Any:
    """Let compiled code call a function of vectors, with lanes or scalars that are spread.

    Lanes of integers are handed over as the floating-point numbers with the same bits. One of the
    arguments has to be lanes; all results are.
    """
    names = list(inspect.signature(function).parameters)

    def run(builder, kinds, args):
        lanes = next(kind for kind in kinds if isinstance(kind, Lanes))
        vectors = (
            Vector(
                builder, each if isinstance(kind, Lanes) else _spread(builder, each, lanes.count)
            )
            for kind, each in zip(kinds, args, strict=True)
        )
        results = function(*vectors)
        results = results if isinstance(results, tuple) else (results,)
        return [each if each.is_real else each.floats() for each in results]

    def typed(typing, *kinds):
        lanes = next((kind for kind in kinds if isinstance(kind, Lanes)), None)
        if lanes is None:
            return None
        kinds = tuple(kind if isinstance(kind, Lanes) else lanes.dtype for kind in kinds)
        # Run it once into a module that is thrown away: how many results are there?
        element = ir.FloatType() if lanes.dtype == types.float32 else ir.DoubleType()
        vector = ir.VectorType(element, lanes.count)
        arguments = [vector if isinstance(kind, Lanes) else element for kind in kinds]
        draft = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), arguments), "draft")
        count = len(run(ir.IRBuilder(draft.append_basic_block()), kinds, draft.args))

        def code(context, builder, sig, args):
            values = [each.value for each in run(builder, kinds, args)]
            if count == 1:
                return values[0]
            return context.make_tuple(builder, sig.return_type, values)

        return signature(lanes if count == 1 else types.UniTuple(lanes, count), *kinds), code

    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for name in ("typing", *names)
    ]
    typed.__signature__ = inspect.Signature(parameters)
    typed.__name__ = typed.__qualname__ = function.__name__
    typed.__doc__ = function.__doc__
    return intrinsic(typed)


def _index(lane):
    return ir.Constant(ir.IntType(32), lane)


def _order(lanes):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))


def _spread(builder, scalar, count):
    undefined = ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined)
    first = builder.insert_element(undefined, scalar, _index(0))
    return builder.shuffle_vector(first, undefined, _order([0] * count))


def _bytes(kind):
    return kind.dtype.bitwidth // 8


@intrinsic
def width(typing, array):
    """Return how many numbers of the array's type lie side by side."""

    def code(context, builder, sig, args):
        return context.get_constant(types.intp, BYTES // _bytes(array))

    return types.intp(array), code


@intrinsic
def tile(typing, array):
    """Return how many rows and columns a tile of the array's type has."""

    def code(context, builder, sig, args):
        return context.get_constant(types.intp, REGISTER // _bytes(array))

    return types.intp(array), code


@intrinsic
def bits(typing, number):
    """Return the bits of a floating-point number as an integer."""
    answer = {types.float32: types.int32, types.float64: types.int64}[number]

    def code(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(answer))

    return answer(number), code


@intrinsic
def zeros(typing, array):
    """Return lanes of the array's type that are all zero."""
    answer = Lanes(array.dtype)

    def code(context, builder, sig, args):
        return ir.Constant(context.get_value_type(answer), [0.0] * answer.count)

    return answer(array), code


def _pointer(context, builder, kind, array, index, count):
    """Return a pointer to the lanes that start at an element of a flat contiguous array."""
    data = context.make_array(kind)(context, builder, array).data
    element = builder.gep(data, [index])
    return builder.bitcast(element, ir.VectorType(data.type.pointee, count).as_pointer())


@intrinsic
def load(typing, array, at):
    """Return the lanes that start at an index of a flat array."""
    answer = Lanes(array.dtype)

    def code(context, builder, sig, args):
        pointer = _pointer(context, builder, array, *args, answer.count)
        return builder.load(pointer, align=_bytes(array))

    return answer(array, types.intp), code


@intrinsic
def store(typing, array, at, values):
    """Write lanes to a flat array from an index on."""

    def code(context, builder, sig, args):
        pointer = _pointer(context, builder, array, args[0], args[1], values.count)
        builder.store(args[2], pointer, align=_bytes(array))
        return context.get_dummy_value()

    return types.none(array, types.intp, values), code


@intrinsic
def shift_up(typing, values, first):
    """Return the lanes moved up by one, and ``first`` in lane 0."""

    def code(context, builder, sig, args):
        count = values.count
        undefined = ir.Constant(args[0].type, ir.Undefined)
        other = builder.insert_element(undefined, args[1], _index(0))
        return builder.shuffle_vector(other, args[0], _order([0, *range(count, 2 * count - 1)]))

    return values(values, values.dtype), code


@intrinsic
def shift_down(typing, values, last):
    """Return the lanes moved down by one, and ``last`` in the last lane."""

    def code(context, builder, sig, args):
        undefined = ir.Constant(args[0].type, ir.Undefined)
        other = builder.insert_element(undefined, args[1], _index(0))
        return builder.shuffle_vector(args[0], other, _order(range(1, values.count + 1)))

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


def _pointer_to_row(context, builder, kinds, array, bases, lane, at):
    data = context.make_array(kinds[1])(context, builder, bases).data
    start = builder.add(builder.load(builder.gep(data, [lane])), at)
    return _pointer(context, builder, kinds[0], array, start, REGISTER // _bytes(kinds[0]))


def _pointer_to_column(context, builder, kind, array, column, lane, at):
    pitch = BYTES // _bytes(kind)
    start = builder.add(builder.add(at, ir.Constant(at.type, column * pitch)), lane)
    return _pointer(context, builder, kind, array, start, REGISTER // _bytes(kind))


@intrinsic
def gather_tile(typing, source, bases, lane, at, target, to):
    """Copy a tile: row r from ``source[bases[lane + r] + at:]`` to lane ``lane + r`` of target.

    Column c of the tile goes to the lanes that start at ``target[to + c * width]``.
    """
    count, size = REGISTER // _bytes(source), _bytes(source)

    def code(context, builder, sig, args):
        source_, bases_, lane_, at_, target_, to_ = args
        rows = []
        for row in range(count):
            which = builder.add(lane_, ir.Constant(lane_.type, row))
            kinds = (source, bases)
            pointer = _pointer_to_row(context, builder, kinds, source_, bases_, which, at_)
            rows.append(builder.load(pointer, align=size))
        for column, values in enumerate(_transpose(builder, rows)):
            pointer = _pointer_to_column(context, builder, target, target_, column, lane_, to_)
            builder.store(values, pointer, align=size)
        return context.get_dummy_value()

    return types.none(source, bases, types.intp, types.intp, target, types.intp), code


@intrinsic
def scatter_tile(typing, source, at, target, bases, lane, to):
    """Copy a tile back: lane ``lane + r`` of ``source[at:]`` to ``target[bases[lane + r] + to:]``.

    Column c of the tile comes from the lanes that start at ``source[at + c * width]``.
    """
    count, size = REGISTER // _bytes(source), _bytes(source)

    def code(context, builder, sig, args):
        source_, at_, target_, bases_, lane_, to_ = args
        columns = []
        for column in range(count):
            pointer = _pointer_to_column(context, builder, source, source_, column, lane_, at_)
            columns.append(builder.load(pointer, align=size))
        for row, values in enumerate(_transpose(builder, columns)):
            which = builder.add(lane_, ir.Constant(lane_.type, row))
            kinds = (target, bases)
            pointer = _pointer_to_row(context, builder, kinds, target_, bases_, which, to_)
            builder.store(values, pointer, align=size)
        return context.get_dummy_value()

    return types.none(source, types.intp, target, bases, types.intp, types.intp), code
