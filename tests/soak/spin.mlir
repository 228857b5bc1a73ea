// Mixes each value as many times as its count says; a large count never ends.
func.func @spin(%values: tensor<?xi32>, %counts: tensor<?xi64>) -> tensor<?xi32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %values, %c0 : tensor<?xi32>
  %empty = tensor.empty(%n) : tensor<?xi32>
  %0 = linalg.generic {
      indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
      iterator_types = ["parallel"]}
      ins(%values, %counts : tensor<?xi32>, tensor<?xi64>) outs(%empty : tensor<?xi32>) {
  ^bb0(%value: i32, %count: i64, %out: i32):
    %zero = arith.constant 0 : i64
    %one = arith.constant 1 : i64
    %multiplier = arith.constant 1664525 : i32
    %mixer = arith.constant 1013904223 : i32
    %last, %result = scf.while (%i = %zero, %x = %value) : (i64, i32) -> (i64, i32) {
      %more = arith.cmpi slt, %i, %count : i64
      scf.condition(%more) %i, %x : i64, i32
    } do {
    ^bb1(%i: i64, %x: i32):
      %1 = arith.muli %x, %multiplier : i32
      %2 = arith.xori %1, %mixer : i32
      %3 = arith.addi %i, %one : i64
      scf.yield %3, %2 : i64, i32
    }
    linalg.yield %result : i32
  } -> tensor<?xi32>
  return %0 : tensor<?xi32>
}
