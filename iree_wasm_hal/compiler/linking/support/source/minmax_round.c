// fmax, fmin, round and roundeven for both float types, in the few instructions wasm needs.
// C17 7.12.12 (a NaN operand gives the other operand) and 7.12.9.6 (halves away from zero).

#define DEFINE(type, suffix)                                                          \
  type fmax##suffix(type a, type b) {                                                 \
    type m = __builtin_wasm_max_f##suffix##_(a, b);                                   \
    m = b == b ? m : a;                                                               \
    return a == a ? m : b;                                                            \
  }                                                                                   \
  type fmin##suffix(type a, type b) {                                                 \
    type m = __builtin_wasm_min_f##suffix##_(a, b);                                   \
    m = b == b ? m : a;                                                               \
    return a == a ? m : b;                                                            \
  }                                                                                   \
  type round##suffix(type x) {                                                        \
    type whole = __builtin_trunc##suffix(x);                                          \
    type away = whole + __builtin_copysign##suffix((type)1, x);                       \
    return __builtin_fabs##suffix(x - whole) >= (type)0.5 ? away : whole;             \
  }                                                                                   \
  type roundeven##suffix(type x) { return __builtin_rint##suffix(x); }                \
  type rint##suffix(type x) { return __builtin_rint##suffix(x); }                     \
  type nearbyint##suffix(type x) { return __builtin_rint##suffix(x); }                \
  type sqrt##suffix(type x) { return __builtin_sqrt##suffix(x); }                     \
  type floor##suffix(type x) { return __builtin_floor##suffix(x); }                   \
  type ceil##suffix(type x) { return __builtin_ceil##suffix(x); }                     \
  type trunc##suffix(type x) { return __builtin_trunc##suffix(x); }                   \
  type fabs##suffix(type x) { return __builtin_fabs##suffix(x); }                     \
  type copysign##suffix(type x, type y) { return __builtin_copysign##suffix(x, y); }

#define __builtin_wasm_max_ff_ __builtin_wasm_max_f32
#define __builtin_wasm_min_ff_ __builtin_wasm_min_f32
#define __builtin_wasm_max_f_ __builtin_wasm_max_f64
#define __builtin_wasm_min_f_ __builtin_wasm_min_f64

DEFINE(float, f)
DEFINE(double, )
