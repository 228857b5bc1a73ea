func.func @main(%x: tensor<1x10x10x8xi8>, %w: tensor<3x3x8x16xi8>) -> tensor<1x8x8x16xi32> {
  %zero = arith.constant 0 : i32
  %empty = tensor.empty() : tensor<1x8x8x16xi32>
  %init = linalg.fill ins(%zero : i32) outs(%empty : tensor<1x8x8x16xi32>) -> tensor<1x8x8x16xi32>
  %0 = linalg.conv_2d_nhwc_hwcf {strides = dense<1> : tensor<2xi64>, dilations = dense<1> : tensor<2xi64>}
      ins(%x, %w : tensor<1x10x10x8xi8>, tensor<3x3x8x16xi8>)
      outs(%init : tensor<1x8x8x16xi32>) -> tensor<1x8x8x16xi32>
  return %0 : tensor<1x8x8x16xi32>
}
