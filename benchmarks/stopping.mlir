// Kernels and a host program that do not end, or not soon. Each says first that it has begun.
func.func private @host.begun(%token: i32) -> i32
#map = affine_map<(d0) -> (d0)>

// Two workgroups, each of a loop without end; elements of -1 end at once.
func.func @loop(%a: tensor<8192xi32>) -> tensor<8192xi32> {
  %token = arith.constant 0 : i32
  %begun = call @host.begun(%token) : (i32) -> i32
  %empty = tensor.empty() : tensor<8192xi32>
  %0 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]}
      ins(%a : tensor<8192xi32>) outs(%empty : tensor<8192xi32>) {
  ^bb0(%in: i32, %out: i32):
    %end = arith.constant -1 : i32
    %three = arith.constant 3 : i32
    %1 = scf.while (%x = %in) : (i32) -> i32 {
      %more = arith.cmpi ne, %x, %end : i32
      scf.condition(%more) %x : i32
    } do {
    ^bb1(%x: i32):
      %2 = arith.muli %x, %three : i32
      %3 = arith.xori %2, %three : i32
      %4 = arith.andi %3, %three : i32
      scf.yield %4 : i32
    }
    linalg.yield %1 : i32
  } -> tensor<8192xi32>
  return %0 : tensor<8192xi32>
}

// Reads 8 MB again and again, a hundred thousand million multiply-adds in all.
func.func @stream(%a: tensor<2097152xf32>, %b: tensor<16x4096xf32>) -> tensor<16xf32> {
  %token = arith.constant 0 : i32
  %begun = call @host.begun(%token) : (i32) -> i32
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<16xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<16xf32>) -> tensor<16xf32>
  %0 = linalg.generic {
      indexing_maps = [affine_map<(p, i, j) -> (j)>, affine_map<(p, i, j) -> (p, i)>,
                       affine_map<(p, i, j) -> (p)>],
      iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%a, %b : tensor<2097152xf32>, tensor<16x4096xf32>) outs(%init : tensor<16xf32>) {
  ^bb0(%x: f32, %y: f32, %sum: f32):
    %product = arith.mulf %x, %y : f32
    %1 = arith.addf %sum, %product : f32
    linalg.yield %1 : f32
  } -> tensor<16xf32>
  return %0 : tensor<16xf32>
}

// A loop without end in the host program.
func.func @host_loop(%last: i64) -> i64 {
  %token = arith.constant 0 : i32
  %begun = call @host.begun(%token) : (i32) -> i32
  %zero = arith.constant 0 : i64
  %one = arith.constant 1 : i64
  %0 = scf.while (%i = %zero) : (i64) -> i64 {
    %more = arith.cmpi ne, %i, %last : i64
    scf.condition(%more) %i : i64
  } do {
  ^bb0(%i: i64):
    %next = arith.addi %i, %one : i64
    scf.yield %next : i64
  }
  return %0 : i64
}

// Tells whether the device works.
func.func @double(%a: tensor<8192xi32>) -> tensor<8192xi32> {
  %0 = arith.addi %a, %a : tensor<8192xi32>
  return %0 : tensor<8192xi32>
}
