// Constants that become data segments, an exp that becomes a polynomial.
func.func @main(%a: tensor<64x64xf32>, %b: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %scales = arith.constant dense<[1.0, 2.0, 4.0, 8.0]> : tensor<4xf32>
  %empty = tensor.empty() : tensor<64x64xf32>
  %0 = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>,
                       affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%a, %b : tensor<64x64xf32>, tensor<64x64xf32>) outs(%empty : tensor<64x64xf32>) {
    ^bb0(%x: f32, %y: f32, %o: f32):
      %i = linalg.index 1 : index
      %c4 = arith.constant 4 : index
      %k = arith.remui %i, %c4 : index
      %s = tensor.extract %scales[%k] : tensor<4xf32>
      %e = math.exp %x : f32
      %m = arith.mulf %e, %s : f32
      %r = arith.addf %m, %y : f32
      linalg.yield %r : f32
  } -> tensor<64x64xf32>
  return %0 : tensor<64x64xf32>
}
