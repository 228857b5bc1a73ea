// Contractions, reductions, and programs whose shapes are known only when they run.

func.func @matmul() {
  %lhs = util.unfoldable_constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %rhs = util.unfoldable_constant dense<[[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]]> : tensor<3x2xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<2x2xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<2x2xf32>) -> tensor<2x2xf32>
  %product = linalg.matmul ins(%lhs, %rhs : tensor<2x3xf32>, tensor<3x2xf32>)
      outs(%init : tensor<2x2xf32>) -> tensor<2x2xf32>
  check.expect_almost_eq_const(%product, dense<[[7.0, -1.0], [16.0, -1.0]]> : tensor<2x2xf32>) : tensor<2x2xf32>
  return
}

func.func @row_sums() {
  %values = util.unfoldable_constant dense<[[1, 2, 3, 4], [5, 6, 7, 8]]> : tensor<2x4xi32>
  %zero = arith.constant 0 : i32
  %empty = tensor.empty() : tensor<2xi32>
  %init = linalg.fill ins(%zero : i32) outs(%empty : tensor<2xi32>) -> tensor<2xi32>
  %sums = linalg.reduce { arith.addi } ins(%values : tensor<2x4xi32>)
      outs(%init : tensor<2xi32>) dimensions = [1]
  check.expect_eq_const(%sums, dense<[10, 26]> : tensor<2xi32>) : tensor<2xi32>
  return
}

func.func @dynamic_extent() {
  %size = util.unfoldable_constant 5 : index
  %step = util.unfoldable_constant 3.0 : f32
  %empty = tensor.empty(%size) : tensor<?xf32>
  %ramp = linalg.generic {
      indexing_maps = [affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      outs(%empty : tensor<?xf32>) {
    ^bb0(%out: f32):
      %i = linalg.index 0 : index
      %n = arith.index_cast %i : index to i32
      %f = arith.sitofp %n : i32 to f32
      %scaled = arith.mulf %f, %step : f32
      linalg.yield %scaled : f32
  } -> tensor<?xf32>
  %fixed = tensor.cast %ramp : tensor<?xf32> to tensor<5xf32>
  check.expect_almost_eq_const(%fixed, dense<[0.0, 3.0, 6.0, 9.0, 12.0]> : tensor<5xf32>) : tensor<5xf32>
  return
}

func.func @slice_and_concatenate() {
  %values = util.unfoldable_constant dense<[1, 2, 3, 4, 5, 6]> : tensor<6xi32>
  %head = tensor.extract_slice %values[0] [2] [1] : tensor<6xi32> to tensor<2xi32>
  %tail = tensor.extract_slice %values[4] [2] [1] : tensor<6xi32> to tensor<2xi32>
  %swapped = tensor.concat dim(0) %tail, %head : (tensor<2xi32>, tensor<2xi32>) -> tensor<4xi32>
  check.expect_eq_const(%swapped, dense<[5, 6, 1, 2]> : tensor<4xi32>) : tensor<4xi32>
  return
}
