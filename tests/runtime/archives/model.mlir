util.global private mutable @state = dense<0> : tensor<4xi32>
func.func @add(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.addf %a, %b : tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @accumulate(%a: tensor<4xi32>) -> (tensor<4xi32>, i32) {
  %c0 = arith.constant 0 : index
  %state = util.global.load @state : tensor<4xi32>
  %sum = arith.addi %a, %state : tensor<4xi32>
  util.global.store %sum, @state : tensor<4xi32>
  %first = tensor.extract %sum[%c0] : tensor<4xi32>
  return %sum, %first : tensor<4xi32>, i32
}
func.func @matmul(%a: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c0 = arith.constant 0 : index
  %m = tensor.dim %a, %c0 : tensor<?x8xf32>
  %weights = arith.constant dense<0.5> : tensor<8x8xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty(%m) : tensor<?x8xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %0 = linalg.matmul ins(%a, %weights : tensor<?x8xf32>, tensor<8x8xf32>)
       outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
