// Elementwise arithmetic on every element type that a kernel computes in.

func.func @add_f32() {
  %lhs = util.unfoldable_constant dense<[1.0, -2.5, 3.25, 0.0]> : tensor<4xf32>
  %rhs = util.unfoldable_constant dense<[0.5, 2.5, -1.25, -0.0]> : tensor<4xf32>
  %sum = arith.addf %lhs, %rhs : tensor<4xf32>
  check.expect_almost_eq_const(%sum, dense<[1.5, 0.0, 2.0, 0.0]> : tensor<4xf32>) : tensor<4xf32>
  return
}

func.func @multiply_i32_wraps() {
  %lhs = util.unfoldable_constant dense<[65536, -3, 7]> : tensor<3xi32>
  %rhs = util.unfoldable_constant dense<[65536, 5, 6]> : tensor<3xi32>
  %product = arith.muli %lhs, %rhs : tensor<3xi32>
  check.expect_eq_const(%product, dense<[0, -15, 42]> : tensor<3xi32>) : tensor<3xi32>
  return
}

func.func @divide_i64_signed() {
  %lhs = util.unfoldable_constant dense<[-7, 7, 9223372036854775807]> : tensor<3xi64>
  %rhs = util.unfoldable_constant dense<[2, -2, 3]> : tensor<3xi64>
  %quotient = arith.divsi %lhs, %rhs : tensor<3xi64>
  check.expect_eq_const(%quotient, dense<[-3, -3, 3074457345618258602]> : tensor<3xi64>) : tensor<3xi64>
  return
}

func.func @shift_i8() {
  %value = util.unfoldable_constant dense<[-128, 127, -1]> : tensor<3xi8>
  %count = util.unfoldable_constant dense<[7, 3, 1]> : tensor<3xi8>
  %shifted = arith.shrsi %value, %count : tensor<3xi8>
  check.expect_eq_const(%shifted, dense<[-1, 15, -1]> : tensor<3xi8>) : tensor<3xi8>
  return
}

func.func @compare_i1() {
  %lhs = util.unfoldable_constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %rhs = util.unfoldable_constant dense<[2.0, 2.0, 2.0]> : tensor<3xf32>
  %less = arith.cmpf ole, %lhs, %rhs : tensor<3xf32>
  %wide = arith.extui %less : tensor<3xi1> to tensor<3xi8>
  check.expect_eq_const(%wide, dense<[1, 1, 0]> : tensor<3xi8>) : tensor<3xi8>
  return
}

func.func @maximum_and_nan() {
  %lhs = util.unfoldable_constant dense<[1.0, 0x7FC00000, -4.0]> : tensor<3xf32>
  %rhs = util.unfoldable_constant dense<[2.0, 5.0, -3.0]> : tensor<3xf32>
  %number = arith.maxnumf %lhs, %rhs : tensor<3xf32>
  check.expect_almost_eq_const(%number, dense<[2.0, 5.0, -3.0]> : tensor<3xf32>) : tensor<3xf32>
  return
}

func.func @f16_through_f32() {
  %value = util.unfoldable_constant dense<[1.0, 0.5, -2.0]> : tensor<3xf16>
  %wide = arith.extf %value : tensor<3xf16> to tensor<3xf32>
  %square = arith.mulf %wide, %wide : tensor<3xf32>
  check.expect_almost_eq_const(%square, dense<[1.0, 0.25, 4.0]> : tensor<3xf32>) : tensor<3xf32>
  return
}

func.func @exponential() {
  %value = util.unfoldable_constant dense<[0.0, 1.0, -1.0, 10.0]> : tensor<4xf32>
  %power = math.exp %value : tensor<4xf32>
  check.expect_almost_eq_const(%power, dense<[1.0, 2.7182818, 0.36787944, 22026.465]> : tensor<4xf32>, atol 1.0e-04, rtol 1.0e-05) : tensor<4xf32>
  return
}
