// One workgroup; two of next to no work; two of some 50 us each.
func.func @trivial(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.addf %a, %a : tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @short(%a: tensor<8192xf32>) -> tensor<8192xf32> {
  %0 = arith.addf %a, %a : tensor<8192xf32>
  return %0 : tensor<8192xf32>
}
func.func @long(%a: tensor<8192xf32>) -> tensor<8192xf32> {
  %0 = math.tanh %a : tensor<8192xf32>
  %1 = math.tanh %0 : tensor<8192xf32>
  %2 = math.tanh %1 : tensor<8192xf32>
  %3 = math.tanh %2 : tensor<8192xf32>
  %4 = math.tanh %3 : tensor<8192xf32>
  return %4 : tensor<8192xf32>
}
