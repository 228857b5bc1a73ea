// Exact in every element, at any size: numpy says what is right.
func.func @matmul(%a: tensor<?x96xf32>, %b: tensor<96x?xf32>) -> tensor<?x?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %m = tensor.dim %a, %c0 : tensor<?x96xf32>
  %n = tensor.dim %b, %c1 : tensor<96x?xf32>
  %empty = tensor.empty(%m, %n) : tensor<?x?xf32>
  %fill = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x?xf32>) -> tensor<?x?xf32>
  %0 = linalg.matmul ins(%a, %b : tensor<?x96xf32>, tensor<96x?xf32>)
      outs(%fill : tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}
func.func @widen(%a: tensor<?xi32>) -> tensor<?xi64> {
  %0 = arith.extsi %a : tensor<?xi32> to tensor<?xi64>
  return %0 : tensor<?xi64>
}
func.func @divide(%a: tensor<?xi32>, %b: tensor<?xi32>) -> tensor<?xi32> {
  %0 = arith.divsi %a, %b : tensor<?xi32>
  return %0 : tensor<?xi32>
}
