// The host program's own work: loops, branches, calls, state and scalars.

util.global private mutable @counter = 7 : i32

func.func private @collatz_steps(%n: i32) -> i32 {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %c3 = arith.constant 3 : i32
  %end:2 = scf.while (%value = %n, %steps = %c0) : (i32, i32) -> (i32, i32) {
    %going = arith.cmpi ne, %value, %c1 : i32
    scf.condition(%going) %value, %steps : i32, i32
  } do {
  ^bb0(%value: i32, %steps: i32):
    %parity = arith.remui %value, %c2 : i32
    %even = arith.cmpi eq, %parity, %c0 : i32
    %next = scf.if %even -> (i32) {
      %half = arith.divui %value, %c2 : i32
      scf.yield %half : i32
    } else {
      %triple = arith.muli %value, %c3 : i32
      %odd = arith.addi %triple, %c1 : i32
      scf.yield %odd : i32
    }
    %more = arith.addi %steps, %c1 : i32
    scf.yield %next, %more : i32, i32
  }
  return %end#1 : i32
}

func.func @while_loop_in_a_call() {
  %n = util.unfoldable_constant 27 : i32
  %expected = arith.constant 111 : i32
  %value = call @collatz_steps(%n) : (i32) -> i32
  %equal = arith.cmpi eq, %value, %expected : i32
  check.expect_true(%equal) : i1
  return
}

func.func @state_is_kept() {
  %one = util.unfoldable_constant 1 : i32
  %eight = arith.constant 8 : i32
  %before = util.global.load @counter : i32
  %after = arith.addi %before, %one : i32
  util.global.store %after, @counter : i32
  %again = util.global.load @counter : i32
  %equal = arith.cmpi eq, %again, %eight : i32
  check.expect_true(%equal) : i1
  return
}

func.func @loop_of_dispatches() {
  %value = util.unfoldable_constant dense<[1.0, 2.0]> : tensor<2xf32>
  %lower = arith.constant 0 : index
  %upper = util.unfoldable_constant 10 : index
  %step = arith.constant 1 : index
  %result = scf.for %i = %lower to %upper step %step iter_args(%x = %value) -> (tensor<2xf32>) {
    %y = arith.addf %x, %x : tensor<2xf32>
    scf.yield %y : tensor<2xf32>
  }
  check.expect_almost_eq_const(%result, dense<[1024.0, 2048.0]> : tensor<2xf32>) : tensor<2xf32>
  return
}

func.func @unequal_is_false() {
  %a = util.unfoldable_constant 3 : i64
  %b = util.unfoldable_constant 4 : i64
  %equal = arith.cmpi eq, %a, %b : i64
  check.expect_false(%equal) : i1
  return
}
