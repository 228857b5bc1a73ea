// In place of SIMDe (cmake/wamr_corrections.cmake): the SIMD operations that SIMDe 0.7.4 gets
// wrong on x86-64, by the official tests (simd_f32x4, simd_f64x2, simd_f64x2_rounding and
// simd_i16x8_q15mulr_sat_s.wast). On other processors SIMDe's are left as they are.
//
// Spec: https://webassembly.github.io/spec/core/exec/numerics.html#op-fmin

#include "simde/wasm/simd128.h"

#if defined(SIMDE_X86_SSE2_NATIVE)

#include <emmintrin.h>

static inline __m128 iwh_wamr_f32x4(simde_v128_t value) {
  return simde_v128_to_private(value).sse_m128;
}

static inline __m128d iwh_wamr_f64x2(simde_v128_t value) {
  return simde_v128_to_private(value).sse_m128d;
}

static inline simde_v128_t iwh_wamr_from_f32x4(__m128 value) {
  simde_v128_private result;
  result.sse_m128 = value;
  return simde_v128_from_private(result);
}

static inline simde_v128_t iwh_wamr_from_f64x2(__m128d value) {
  simde_v128_private result;
  result.sse_m128d = value;
  return simde_v128_from_private(result);
}

// The canonical NaN in lanes where either operand is a NaN.
static inline __m128 iwh_wamr_nan_or_f32x4(__m128 a, __m128 b, __m128 otherwise) {
  const __m128 nan = _mm_castsi128_ps(_mm_set1_epi32(0x7fc00000));
  const __m128 unordered = _mm_cmpunord_ps(a, b);
  return _mm_or_ps(_mm_and_ps(unordered, nan), _mm_andnot_ps(unordered, otherwise));
}

static inline __m128d iwh_wamr_nan_or_f64x2(__m128d a, __m128d b, __m128d otherwise) {
  const __m128d nan = _mm_castsi128_pd(_mm_set1_epi64x(0x7ff8000000000000));
  const __m128d unordered = _mm_cmpunord_pd(a, b);
  return _mm_or_pd(_mm_and_pd(unordered, nan), _mm_andnot_pd(unordered, otherwise));
}

// minps and maxps give the second of two zeros, so both orders differ only for zeros of different
// signs: the smaller has the sign, the larger has none.
static inline simde_v128_t iwh_wamr_f32x4_min(simde_v128_t left, simde_v128_t right) {
  const __m128 a = iwh_wamr_f32x4(left), b = iwh_wamr_f32x4(right);
  const __m128 either = _mm_or_ps(_mm_min_ps(a, b), _mm_min_ps(b, a));
  return iwh_wamr_from_f32x4(iwh_wamr_nan_or_f32x4(a, b, either));
}

static inline simde_v128_t iwh_wamr_f32x4_max(simde_v128_t left, simde_v128_t right) {
  const __m128 a = iwh_wamr_f32x4(left), b = iwh_wamr_f32x4(right);
  const __m128 both = _mm_and_ps(_mm_max_ps(a, b), _mm_max_ps(b, a));
  return iwh_wamr_from_f32x4(iwh_wamr_nan_or_f32x4(a, b, both));
}

static inline simde_v128_t iwh_wamr_f64x2_min(simde_v128_t left, simde_v128_t right) {
  const __m128d a = iwh_wamr_f64x2(left), b = iwh_wamr_f64x2(right);
  const __m128d either = _mm_or_pd(_mm_min_pd(a, b), _mm_min_pd(b, a));
  return iwh_wamr_from_f64x2(iwh_wamr_nan_or_f64x2(a, b, either));
}

static inline simde_v128_t iwh_wamr_f64x2_max(simde_v128_t left, simde_v128_t right) {
  const __m128d a = iwh_wamr_f64x2(left), b = iwh_wamr_f64x2(right);
  const __m128d both = _mm_and_pd(_mm_max_pd(a, b), _mm_max_pd(b, a));
  return iwh_wamr_from_f64x2(iwh_wamr_nan_or_f64x2(a, b, both));
}

// What is rounded up to zero from below is -0: the result always has the operand's sign.
static inline simde_v128_t iwh_wamr_f64x2_ceil(simde_v128_t operand) {
  const __m128d sign = _mm_and_pd(iwh_wamr_f64x2(operand), _mm_set1_pd(-0.0));
  const __m128d rounded = iwh_wamr_f64x2(simde_wasm_f64x2_ceil(operand));
  return iwh_wamr_from_f64x2(_mm_or_pd(rounded, sign));
}

// (a * b + 2^14) >> 15, of which only -32768 * -32768 is too large.
static inline simde_v128_t iwh_wamr_i16x8_q15mulr_sat(simde_v128_t left, simde_v128_t right) {
  const __m128i a = simde_v128_to_private(left).sse_m128i;
  const __m128i b = simde_v128_to_private(right).sse_m128i;
  const __m128i low = _mm_mullo_epi16(a, b), high = _mm_mulhi_epi16(a, b);
  const __m128i half = _mm_set1_epi32(1 << 14);
  const __m128i first = _mm_srai_epi32(_mm_add_epi32(_mm_unpacklo_epi16(low, high), half), 15);
  const __m128i second = _mm_srai_epi32(_mm_add_epi32(_mm_unpackhi_epi16(low, high), half), 15);
  simde_v128_private result;
  result.sse_m128i = _mm_packs_epi32(first, second);
  return simde_v128_from_private(result);
}

#define simde_wasm_f32x4_min iwh_wamr_f32x4_min
#define simde_wasm_f32x4_max iwh_wamr_f32x4_max
#define simde_wasm_f64x2_min iwh_wamr_f64x2_min
#define simde_wasm_f64x2_max iwh_wamr_f64x2_max
#define simde_wasm_f64x2_ceil iwh_wamr_f64x2_ceil
#define simde_wasm_i16x8_q15mulr_sat iwh_wamr_i16x8_q15mulr_sat

#endif
