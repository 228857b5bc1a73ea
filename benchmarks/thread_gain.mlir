// One workgroup; two of next to no work; 256 that take some 0.5 ms together.
func.func @trivial(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.addf %a, %a : tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @short(%a: tensor<8192xf32>) -> tensor<8192xf32> {
  %0 = arith.addf %a, %a : tensor<8192xf32>
  return %0 : tensor<8192xf32>
}
#map = affine_map<(d0) -> (d0)>
func.func @long(%a: tensor<8192xf32>) -> tensor<8192xf32> {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %count = arith.constant 50 : index
  %half = arith.constant 0.5 : f32
  %empty = tensor.empty() : tensor<8192xf32>
  %0 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]}
      ins(%a : tensor<8192xf32>) outs(%empty : tensor<8192xf32>) {
  ^bb0(%x: f32, %unused: f32):
    %result = scf.for %i = %zero to %count step %one iter_args(%y = %x) -> f32 {
      %product = arith.mulf %y, %half : f32
      %sum = arith.addf %product, %half : f32
      scf.yield %sum : f32
    }
    linalg.yield %result : f32
  } -> tensor<8192xf32>
  return %0 : tensor<8192xf32>
}
