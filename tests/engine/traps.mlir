func.func @divide(%a: tensor<4xi32>, %b: tensor<4xi32>) -> tensor<4xi32> {
  %0 = arith.divsi %a, %b : tensor<4xi32>
  return %0 : tensor<4xi32>
}
func.func @gather(%t: tensor<16xi32>, %i: tensor<4xi32>) -> tensor<4xi32> {
  %e = tensor.empty() : tensor<4xi32>
  %0 = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
    ins(%i : tensor<4xi32>) outs(%e : tensor<4xi32>) {
    ^bb0(%in: i32, %out: i32):
      %k = arith.index_cast %in : i32 to index
      %v = tensor.extract %t[%k] : tensor<16xi32>
      linalg.yield %v : i32
  } -> tensor<4xi32>
  return %0 : tensor<4xi32>
}
