// Comparisons of whole rows: the kernel keeps a copy on its stack.
func.func @main(%a: tensor<16x33xi32>) -> tensor<16x33xi32> {
  %0 = iree_linalg_ext.sort dimension(1) outs(%a : tensor<16x33xi32>) {
    ^bb0(%x: i32, %y: i32):
      %less = arith.cmpi slt, %x, %y : i32
      iree_linalg_ext.yield %less : i1
  } -> tensor<16x33xi32>
  return %0 : tensor<16x33xi32>
}
