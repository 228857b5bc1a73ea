"""Functions in MLIR that several tests put together into programs."""

from __future__ import annotations

__all__ = ["COUNT_UP", "DIVIDE", "POSITIVE", "SPIN", "SPIN_AT_START", "SPIN_ON_HOST"]

COUNT_UP = """
  util.global private mutable @count = 0 : i32
  func.func @count_up() -> i32 {
    %one = arith.constant 1 : i32
    %0 = util.global.load @count : i32
    %1 = arith.addi %0, %one : i32
    util.global.store %1, @count : i32
    return %1 : i32
  }
"""
"""``count_up`` gives 1, 2, 3, ...: state that a module keeps."""

DIVIDE = """
  func.func @divide(%a: tensor<4xi32>, %b: tensor<4xi32>) -> tensor<4xi32> {
    %0 = arith.divsi %a, %b : tensor<4xi32>
    return %0 : tensor<4xi32>
  }
"""
"""``divide`` traps in a kernel where ``b`` has a 0."""

POSITIVE = """
  func.func @positive(%a: i32) -> i32 {
    %zero = arith.constant 0 : i32
    %ok = arith.cmpi sgt, %a, %zero : i32
    cf.assert %ok, "a must be positive"
    return %a : i32
  }
"""
"""``positive`` fails in the program itself."""

SPIN = """
  func.func @spin(%a: tensor<4xi32>) -> tensor<4xi32> {
    %empty = tensor.empty() : tensor<4xi32>
    %0 = linalg.generic {
        indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
        iterator_types = ["parallel"]} ins(%a : tensor<4xi32>) outs(%empty : tensor<4xi32>) {
    ^bb0(%in: i32, %out: i32):
      %end = arith.constant -1 : i32
      %three = arith.constant 3 : i32
      %1 = scf.while (%x = %in) : (i32) -> i32 {
        %more = arith.cmpi ne, %x, %end : i32
        scf.condition(%more) %x : i32
      } do {
      ^bb1(%x: i32):
        %2 = arith.muli %x, %three : i32
        %3 = arith.xori %2, %three : i32
        %4 = arith.andi %3, %three : i32
        scf.yield %4 : i32
      }
      linalg.yield %1 : i32
    } -> tensor<4xi32>
    return %0 : tensor<4xi32>
  }
"""
"""``spin`` never leaves its kernel, but for elements of -1."""

SPIN_ON_HOST = """
  func.func @spin_on_host(%n: i64) -> i64 {
    %zero = arith.constant 0 : i64
    %one = arith.constant 1 : i64
    %0 = scf.while (%i = %zero) : (i64) -> i64 {
      %more = arith.cmpi ne, %i, %n : i64
      scf.condition(%more) %i : i64
    } do {
    ^bb0(%i: i64):
      %next = arith.addi %i, %one : i64
      scf.yield %next : i64
    }
    return %0 : i64
  }
"""
"""``spin_on_host`` counts to ``n`` in the host program, and for -1 for ever."""

SPIN_AT_START = """
  util.global private mutable @end = -1 : i64
  util.global private mutable @sum = 0 : i64
  util.initializer {
    %zero = arith.constant 0 : i64
    %one = arith.constant 1 : i64
    %end = util.global.load @end : i64
    %0 = scf.while (%i = %zero) : (i64) -> i64 {
      %more = arith.cmpi ne, %i, %end : i64
      scf.condition(%more) %i : i64
    } do {
    ^bb0(%i: i64):
      %next = arith.addi %i, %one : i64
      scf.yield %next : i64
    }
    util.global.store %0, @sum : i64
    util.return
  }
  util.func public @set(%a: i64) -> i64 {
    util.global.store %a, @end : i64
    %0 = util.global.load @sum : i64
    util.return %0 : i64
  }
"""
"""A program whose initialisation has no end."""
