// Conversions between f16, bf16 and the wide float types, by bits; round to nearest even.
// The 16-bit types travel as integers or as f32, as the wasm backend of LLVM passes them.

typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;

static float float_of(u32 bits) {
  union { u32 bits; float value; } u = {bits};
  return u.value;
}

static u32 bits_of(float value) {
  union { float value; u32 bits; } u = {value};
  return u.bits;
}

static u64 wide_bits_of(double value) {
  union { double value; u64 bits; } u = {value};
  return u.bits;
}

// Rounds a double's bits to a float format with `exponent_bits` and `fraction_bits`.
static u32 narrow(u64 bits, int exponent_bits, int fraction_bits) {
  u32 sign = (u32)(bits >> 63) << (exponent_bits + fraction_bits);
  int exponent = (int)(bits >> 52) & 0x7FF;
  u64 fraction = bits & 0xFFFFFFFFFFFFFull;
  u32 infinity = ((1u << exponent_bits) - 1) << fraction_bits;
  if (exponent == 0x7FF) {
    u32 payload = (u32)(fraction >> (52 - fraction_bits));
    return sign | infinity | (fraction ? payload | (1u << (fraction_bits - 1)) : 0);
  }
  int bias = (1 << (exponent_bits - 1)) - 1;
  int target = exponent - 1023 + bias;
  int drop = 52 - fraction_bits;
  if (exponent) fraction |= 1ull << 52;
  if (target <= 0) {
    drop += 1 - target;
    if (drop > 54) return sign;
    target = 1;
  }
  u64 kept = fraction >> drop;
  u64 rest = fraction & ((1ull << drop) - 1), half = 1ull << (drop - 1);
  kept += rest > half || (rest == half && (kept & 1));
  // The hidden bit of `kept` adds one to the exponent field, and so does a carry out of it.
  u32 result = ((u32)(target - 1) << fraction_bits) + (u32)kept;
  return sign | (result >= infinity ? infinity : result);
}

// Every float is a double, so that one rounding routine serves both without double rounding.
static u64 widened(float value) { return wide_bits_of((double)value); }

u16 __truncdfhf2(double value) { return (u16)narrow(wide_bits_of(value), 5, 10); }
u16 __truncsfhf2(float value) { return (u16)narrow(widened(value), 5, 10); }
u16 __gnu_f2h_ieee(float value) { return (u16)narrow(widened(value), 5, 10); }

float __extendhfsf2(u16 half) {
  u32 sign = (u32)(half & 0x8000) << 16, rest = half & 0x7FFF;
  if (rest >= 0x7C00) {
    u32 quiet = rest > 0x7C00 ? 0x400000 : 0;
    return float_of(sign | 0x7F800000 | quiet | ((rest & 0x3FF) << 13));
  }
  // 2**112 moves the exponent's bias from 15 to 127, subnormals included, without rounding.
  return float_of(sign | bits_of(float_of(rest << 13) * 0x1p112f));
}

float __gnu_h2f_ieee(u16 half) { return __extendhfsf2(half); }

// LLVM's wasm backend passes and returns bf16 as an f32 that holds the value.
static float brain(double value) {
  return float_of(narrow(wide_bits_of(value), 8, 7) << 16);
}

float __truncdfbf2(double value) { return brain(value); }
float __truncsfbf2(float value) { return brain((double)value); }
