func.func @main(%a: tensor<96x64xf32>, %b: tensor<64x80xf32>) -> tensor<96x80xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<96x80xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<96x80xf32>) -> tensor<96x80xf32>
  %0 = linalg.matmul ins(%a, %b : tensor<96x64xf32>, tensor<64x80xf32>)
      outs(%init : tensor<96x80xf32>) -> tensor<96x80xf32>
  return %0 : tensor<96x80xf32>
}
