// Softmax without the maximum (which would call fmaxf): several dispatches with barriers between.
func.func @main(%a: tensor<32x48xf32>) -> (tensor<32x48xf32>, tensor<32xf32>) {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<32x48xf32>
  %row = tensor.empty() : tensor<32xf32>
  %init = linalg.fill ins(%zero : f32) outs(%row : tensor<32xf32>) -> tensor<32xf32>
  %exp = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%a : tensor<32x48xf32>) outs(%empty : tensor<32x48xf32>) {
    ^bb0(%x: f32, %o: f32):
      %e = math.exp %x : f32
      linalg.yield %e : f32
  } -> tensor<32x48xf32>
  %sum = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>],
      iterator_types = ["parallel", "reduction"]}
      ins(%exp : tensor<32x48xf32>) outs(%init : tensor<32xf32>) {
    ^bb0(%x: f32, %acc: f32):
      %s = arith.addf %x, %acc : f32
      linalg.yield %s : f32
  } -> tensor<32xf32>
  %0 = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>,
                       affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%exp, %sum : tensor<32x48xf32>, tensor<32xf32>) outs(%empty : tensor<32x48xf32>) {
    ^bb0(%x: f32, %y: f32, %o: f32):
      %d = arith.divf %x, %y : f32
      linalg.yield %d : f32
  } -> tensor<32x48xf32>
  return %0, %sum : tensor<32x48xf32>, tensor<32xf32>
}
