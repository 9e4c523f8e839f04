"""Explicit SIMD values for Numba: tuples of vectors that stay in registers through ordinary Python loops.

A Vec is `lanes` neighbours of one element type; small integers in memory become floats on the way in, and floats become
the nearest integer on the way out.  Sizes arrive as the lengths of integer tuples, hence in the compiled signature:  lanes (L,)   cols (C,) vectors side by side   rows (N,) output rows of a block   op (1 to 5,) the term.
No bounds, wraparound or alias test, and the order of every sum is fixed.   Imports: numba, llvmlite.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

PRODUCT, ABSOLUTE, SQUARED, PLAIN_ABSOLUTE, PLAIN_SQUARED = OPS = tuple((0,) * n for n in range(1, 6))
"""Terms w x, v |x - w|, v (x - w)^2, |x - w| and (x - w)^2, told apart by their lengths.

|x - w| is multiplied by v[0], a 1 that LLVM cannot see: fused multiply-adds run beside the subtractions, additions would
wait for them (SAD 8 % faster on Zen 3).
"""

UNWEIGHTED = tuple(map(len, (PRODUCT, PLAIN_SQUARED)))
INDEX = ir.IntType(64)
SHORT = ir.IntType(32)
LINE = 64
"""Bytes of a cache line."""


class Block(NamedTuple):
    """Tuples whose lengths are the sizes of a register block; their values are never read."""

    lanes: tuple[int, ...]
    cols: tuple[int, ...]
    rows: tuple[int, ...]
    wide: tuple[int, ...]


def target() -> tuple[str, str, str]:
    """Triple, CPU name and features that Numba compiles for (its environment variables override the host's)."""
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    return str(triple), str(cpu), str(features)


@cache
def vector_bytes() -> int:
    """Bytes of the widest vector register in use, asked of LLVM itself: no list of CPU names to keep."""
    triple, cpu, features = target()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=2)
    probe = llvm.parse_assembly(
        f'target triple = "{triple}"\ndefine <16 x float> @probe(<16 x float> %a) {{ %s = fadd <16 x float> %a, %a\n ret <16 x float> %s }}'
    )
    text = machine.emit_assembly(probe)
    return 64 if "%zmm" in text else 32 if "%ymm" in text else 16


@cache
def block(itemsize: int) -> Block:
    """Block for elements of `itemsize` bytes: 4 x 4 accumulators where 32 vector registers exist, else 3 x 3."""
    width = vector_bytes()
    side = 4 if width == 64 or target()[0].startswith(("aarch64", "arm64")) else 3
    return Block((0,) * (width // itemsize), (0,) * side, (0,) * side, (0,) * 8)


class Vec(types.Type):  # type: ignore[misc]
    """`lanes` neighbouring elements of type `elem` in one register."""

    def __init__(self, elem: Any, lanes: int) -> None:
        self.elem, self.lanes = elem, lanes
        super().__init__(name=f"Vec({elem}, {lanes})")


@register_model(Vec)
class VecModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: Vec) -> None:
        elem = dmm.lookup(fe_type.elem).get_value_type()
        super().__init__(dmm, fe_type, ir.VectorType(elem, fe_type.lanes))


class Emit:
    """Writes the LLVM instructions of one intrinsic, for vectors of type `vec`."""

    def __init__(self, context: Any, builder: Any, vec: Any) -> None:
        self.context, self.builder, self.lanes = context, builder, vec.lanes
        self.real = isinstance(vec.elem, types.Float)
        self.bytes = vec.elem.bitwidth // 8
        self.name = f"v{vec.lanes}{'f' if self.real else 'i'}{vec.elem.bitwidth}"
        self.vector = ir.VectorType(context.get_value_type(vec.elem), vec.lanes)
        self.zero = ir.Constant(self.vector, None)
        self.kind = vec.elem

    def address(self, kind: Any, array: Any, index: Any) -> Any:
        data = self.context.make_array(kind)(self.context, self.builder, array).data
        return self.builder.gep(data, [index])

    def length(self, kind: Any, array: Any) -> Any:
        shape = self.context.make_array(kind)(self.context, self.builder, array).shape
        return cgutils.unpack_tuple(self.builder, shape)[0]

    def element(self, kind: Any, array: Any, index: Any) -> Any:
        return self.builder.load(self.address(kind, array, index))

    def inside(self, kind: Any) -> Any:
        """The vector as it lies in an array of type `kind`."""
        return ir.VectorType(self.context.get_data_type(kind.dtype), self.lanes)

    def place(self, kind: Any, array: Any, index: Any) -> Any:
        return self.builder.bitcast(self.address(kind, array, index), self.inside(kind).as_pointer())

    def load(self, kind: Any, array: Any, index: Any) -> Any:
        return self.widened(kind.dtype, self.builder.load(self.place(kind, array, index), align=kind.dtype.bitwidth // 8))

    def store(self, value: Any, kind: Any, array: Any, index: Any) -> None:
        found = self.settled(kind.dtype, value, self.lanes)
        self.builder.store(found, self.place(kind, array, index), align=kind.dtype.bitwidth // 8)

    def widened(self, kind: Any, value: Any) -> Any:
        """Elements of type `kind` as those of the vector: integers as floats that hold them."""
        if kind == self.kind:
            return value
        return self.builder.sitofp(value, self.vector) if kind.signed else self.builder.uitofp(value, self.vector)

    def settled(self, kind: Any, value: Any, lanes: int) -> Any:
        """Floats as elements of type `kind`: the nearest integers, of ties the even ones; they must hold them."""
        if kind == self.kind:
            return value
        made = ir.VectorType(ir.IntType(max(kind.bitwidth, 32)), lanes)
        found = self.builder.fptosi(self.call("rint", value), made)
        return found if kind.bitwidth >= 32 else self.builder.trunc(found, ir.VectorType(ir.IntType(kind.bitwidth), lanes))

    def load_first(self, count: Any, kind: Any, array: Any, index: Any) -> Any:
        """The first `count` lanes; the others are zero, and their memory is not touched."""
        return self.load_where(self.lane_is("<", count), kind, array, index)

    def take(self, few: Any, kind: Any, array: Any, index: Any) -> Any:
        """A vector of `vectors`."""
        return self.load(kind, array, index) if few is None else self.load_first(few, kind, array, index)

    def leave(self, few: Any, value: Any, kind: Any, array: Any, index: Any) -> None:
        """A vector of `vectors`, of the array's own type."""
        if few is None:
            self.store(value, kind, array, index)
        else:
            self.store_first(few, value, kind, array, index)

    def load_where(self, mask: Any, kind: Any, array: Any, index: Any, others: Any = None) -> Any:
        """The lanes of a mask; the others are zero, or those of `others`, and their memory is not touched."""
        others = others or ir.Constant(self.inside(kind), None)
        return self.widened(kind.dtype, self.masked(self.place(kind, array, index), mask, others))

    def masked(self, pointer: Any, mask: Any, others: Any) -> Any:
        """The lanes of a mask of the vector that a pointer leads to."""
        inside, size = others.type, self.bits(others.type.element)
        shape = ir.FunctionType(inside, [pointer.type, SHORT, mask.type, inside])
        # Named for typed pointers and with the alignment as an operand: LLVM 15 wants that, later ones translate it.
        name = f"v{self.lanes}{'i' if isinstance(inside.element, ir.IntType) else 'f'}{size}"
        function = cgutils.get_or_insert_function(self.builder.module, shape, f"llvm.masked.load.{name}.p0{name}")
        return self.builder.call(function, [pointer, SHORT(size // 8), mask, others])

    def ahead(self, start: Any, elements: int, masks: list[Any], others: Any) -> Any:
        """The vector so many elements from `start` on, a pointer to one of the vector's own type; where masks are given, as load_where."""
        pointer = self.builder.bitcast(self.builder.gep(start, [INDEX(elements)]), self.vector.as_pointer())
        if not masks:
            return self.builder.load(pointer, align=self.bytes)
        return self.masked(pointer, masks[0] if len(masks) == 1 else self.builder.and_(*masks), others)

    @staticmethod
    def bits(element: Any) -> int:
        """Of an element type of LLVM's."""
        return element.width if isinstance(element, ir.IntType) else 64 if isinstance(element, ir.DoubleType) else 32

    def gather(self, kind: Any, array: Any, start: Any, spots: Any) -> Any:
        """The elements at start + each of a vector of indices."""
        inside, size = self.inside(kind), kind.dtype.bitwidth // 8
        wide, name = ir.VectorType(INDEX, self.lanes), f"{'f' if isinstance(kind.dtype, types.Float) else 'i'}{8 * size}"
        base = self.splat(self.builder.ptrtoint(self.address(kind, array, start), INDEX))
        ahead = self.builder.mul(self.builder.sext(spots, wide), ir.Constant(wide, [size] * self.lanes))
        places = self.builder.inttoptr(self.builder.add(base, ahead), ir.VectorType(inside.element.as_pointer(), self.lanes))
        mask = ir.Constant(ir.VectorType(ir.IntType(1), self.lanes), [1] * self.lanes)
        shape = ir.FunctionType(inside, [places.type, SHORT, mask.type, inside])
        called = f"llvm.masked.gather.v{self.lanes}{name}.v{self.lanes}p0{name}"
        function = cgutils.get_or_insert_function(self.builder.module, shape, called)
        return self.builder.call(function, [places, SHORT(size), mask, ir.Constant(inside, None)])

    def store_first(self, count: Any, value: Any, kind: Any, array: Any, index: Any) -> None:
        """The first `count` lanes of floats of the array's own type."""
        pointer, mask = self.place(kind, array, index), self.lane_is("<", count)
        shape = ir.FunctionType(ir.VoidType(), [self.vector, pointer.type, SHORT, mask.type])
        function = cgutils.get_or_insert_function(self.builder.module, shape, f"llvm.masked.store.{self.name}.p0{self.name}")
        self.builder.call(function, [value, pointer, SHORT(self.bytes), mask])

    def lane_is(self, relation: str, count: Any) -> Any:
        """Mask of the lanes whose number stands in `relation` to count, an int64 between 0 and 2^31."""
        ramp = ir.Constant(ir.VectorType(SHORT, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed(relation, ramp, self.splat(self.builder.trunc(count, SHORT)))

    def splat(self, value: Any) -> Any:
        empty = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(SHORT, self.lanes), None)
        return self.builder.shuffle_vector(self.builder.insert_element(empty, value, SHORT(0)), empty, everywhere)

    def call(self, name: str, *values: Any) -> Any:
        shape = ir.FunctionType(self.vector, [self.vector] * len(values))
        function = cgutils.get_or_insert_function(self.builder.module, shape, f"llvm.{name}.{self.name}")
        return self.builder.call(function, values)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b) if self.real else self.builder.add(a, b)

    def sub(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b) if self.real else self.builder.sub(a, b)

    def mul(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b) if self.real else self.builder.mul(a, b)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        # fmuladd, not fma: without the instruction the latter becomes a libm call per lane, 14 to 22 times slower.
        return self.call("fmuladd", a, b, c) if self.real else self.add(self.mul(a, b), c)

    def magnitude(self, a: Any) -> Any:
        if self.real:
            return self.call("fabs", a)
        return self.builder.select(self.builder.icmp_signed("<", a, self.zero), self.sub(self.zero, a), a)

    def term(self, op: int, w: Any, v: Any, x: Any, total: Any) -> Any:
        """total + the term of `op`."""
        if op == len(PRODUCT):
            return self.fma(w, x, total)
        gap = self.sub(x, w)
        if op == len(PLAIN_SQUARED):
            return self.fma(gap, gap, total)
        return self.fma(v, self.mul(gap, gap) if op == len(SQUARED) else self.magnitude(gap), total)


def repeat(builder: Any, count: Any, total: list[Any], step: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """A loop over l < count, written as LLVM wants it: `step(l, total)` gives the new total, which stays in registers.

    (Of Numba's own loops each takes 20 ms to compile.)
    """
    before, head, body, after = builder.block, *(builder.append_basic_block(name) for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    index, held = builder.phi(INDEX), [builder.phi(value.type) for value in total]
    builder.cbranch(builder.icmp_signed("<", index, count), body, after)
    builder.position_at_end(body)
    found = [builder.add(index, INDEX(1)), *step(index, held)]
    for phi, first, value in zip([index, *held], [INDEX(0), *total], found, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return held


def vectors(builder: Any, lanes: int, n: Any, total: list[Any], step: Callable[[Any, Any, list[Any]], list[Any]]) -> list[Any]:
    """`step(at, few, total)` for each vector of n elements, as in `repeat`; `few` lanes of the last, None of the others."""
    whole = builder.sdiv(n, INDEX(lanes))
    total = repeat(builder, whole, total, lambda l, held: step(builder.mul(l, INDEX(lanes)), None, held))
    done = builder.mul(whole, INDEX(lanes))
    return step(done, builder.sub(n, done), total)


@cache
def sized(kernel: Any, *sizes: tuple[int, ...]) -> Any:
    """`kernel` with its last arguments settled, the sizes it is compiled for: what is called from Python.

    As defaults they need not be unpacked: a kernel compiles 0.12 s sooner, and a call takes 0.5 us less.  Nor would it be
    noticed if they were wrong: a name of its own keeps each in files of its own in Numba's cache, where processes that
    compile at once may take each other's.
    """
    plain = kernel.py_func
    made = FunctionType(plain.__code__, plain.__globals__, plain.__name__, sizes)
    made.__module__, made.__qualname__ = plain.__module__, "_".join([plain.__qualname__, *[str(len(size)) for size in sizes]])
    return njit(nogil=True, cache=True, no_cfunc_wrapper=True)(made)


@intrinsic
def stay_whole(typing: Any) -> Any:
    """Forbids LLVM to inline the function this stands in: a copy at every call is compiled every time."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def least(typing: Any, a: Any, b: Any) -> Any:
    """min of two integers.  (Numba's own is a function with a loop over its arguments: 20 ms to compile at each place.)"""
    return types.int64(types.int64, types.int64), _chosen("<")


@intrinsic
def most(typing: Any, a: Any, b: Any) -> Any:
    """max of two integers."""
    return types.int64(types.int64, types.int64), _chosen(">")


def _chosen(relation: str) -> Callable[..., Any]:
    return lambda context, builder, signature, args: builder.select(builder.icmp_signed(relation, *args), *args)


@intrinsic
def zeros(typing: Any, w: Any, lanes: Any, cols: Any, rows: Any) -> Any:
    """Accumulators of a block, of w's elements: rows * cols zero vectors, row by row."""
    made = types.UniTuple(Vec(w.dtype, len(lanes)), len(cols) * len(rows))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(context.get_value_type(made.dtype), None)
        return context.make_tuple(builder, made, [zero] * made.count)

    return made(w, lanes, cols, rows), code


@intrinsic
def seats(typing: Any, at: Any, r: Any, count: Any, wide: Any) -> Any:
    """at[r], at[r + 1], ...: as many as wide is long, the last of `count` repeated."""
    made = types.UniTuple(types.int64, len(wide))

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = []
        for i in range(made.count):
            ahead = builder.select(builder.icmp_signed("<", INDEX(i), args[2]), INDEX(i), builder.sub(args[2], INDEX(1)))
            data = context.make_array(at)(context, builder, args[0]).data
            found.append(builder.sext(builder.load(builder.gep(data, [builder.add(args[1], ahead)])), INDEX))
        return context.make_tuple(builder, made, found)

    return made(at, types.int64, types.int64, wide), code


@intrinsic
def put(typing: Any, y: Any, i: Any, pitch: Any, acc: Any, cols: Any) -> Any:
    """Row r of the block to y[i + r*pitch:]."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        for n, value in enumerate(cgutils.unpack_tuple(builder, args[3])):
            row, col = divmod(n, len(cols))
            start = builder.add(args[1], builder.mul(args[2], INDEX(row)))
            emit.store(value, y, args[0], builder.add(start, INDEX(col * emit.lanes)))
        return context.get_dummy_value()

    return types.void(y, types.int64, types.int64, acc, cols), code


@intrinsic
def put_more(typing: Any, y: Any, i: Any, pitch: Any, acc: Any, cols: Any, top: Any, left: Any) -> Any:
    """As put, added to what y holds; the rows before `top` and the first `left` elements of a row are done already."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, acc.dtype)
        values = cgutils.unpack_tuple(builder, args[3])
        for row in range(acc.count // len(cols)):
            with builder.if_then(builder.icmp_signed(">=", INDEX(row), args[5])):
                for col in range(len(cols)):
                    start = builder.add(args[1], builder.mul(args[2], INDEX(row)))
                    start = builder.add(start, INDEX(col * emit.lanes))
                    old = emit.load(y, args[0], start)
                    new = emit.add(old, values[row * len(cols) + col])
                    fresh = emit.lane_is(">=", builder.sub(args[6], INDEX(col * emit.lanes)))
                    emit.store(builder.select(fresh, new, old), y, args[0], start)
        return context.get_dummy_value()

    return types.void(y, types.int64, types.int64, acc, cols, types.int64, types.int64), code


@intrinsic
def nearest(typing: Any, y: Any, value: Any) -> Any:
    """One number as an element of y."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emit(context, builder, Vec(value, 1))
        one = builder.insert_element(ir.Constant(emit.vector, ir.Undefined), args[1], SHORT(0))
        return builder.extract_element(emit.settled(y.dtype, one, 1), SHORT(0))

    return y.dtype(y, value), code
