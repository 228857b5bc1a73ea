// A convolution whose 7x7 output keeps a tile on the stack.
func.func @main(%x: tensor<1x16x9x9xf32>, %w: tensor<24x16x3x3xf32>) -> tensor<1x24x7x7xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<1x24x7x7xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x24x7x7xf32>) -> tensor<1x24x7x7xf32>
  %0 = linalg.conv_2d_nchw_fchw {strides = dense<1> : tensor<2xi64>, dilations = dense<1> : tensor<2xi64>}
      ins(%x, %w : tensor<1x16x9x9xf32>, tensor<24x16x3x3xf32>)
      outs(%init : tensor<1x24x7x7xf32>) -> tensor<1x24x7x7xf32>
  return %0 : tensor<1x24x7x7xf32>
}
