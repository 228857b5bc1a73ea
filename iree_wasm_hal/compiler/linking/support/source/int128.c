// 128-bit integer arithmetic in 64-bit pieces: what the compiler calls for i128, which it makes
// of 64-bit high multiplications and of divisions of wide index arithmetic.

typedef unsigned long long u64;
typedef long long i64;
typedef unsigned __int128 u128;
typedef __int128 i128;

typedef union {
  u128 all;
  struct {
    u64 low, high;
  };
} parts;

static u128 join(u64 high, u64 low) {
  parts p;
  p.low = low;
  p.high = high;
  return p.all;
}

static u64 low_of(u128 x) { return ((parts){.all = x}).low; }
static u64 high_of(u128 x) { return ((parts){.all = x}).high; }

static u128 multiply_64(u64 a, u64 b) {
  u64 a0 = (unsigned)a, a1 = a >> 32, b0 = (unsigned)b, b1 = b >> 32;
  u64 p00 = a0 * b0, p01 = a0 * b1, p10 = a1 * b0, p11 = a1 * b1;
  u64 middle = (p00 >> 32) + (unsigned)p01 + (unsigned)p10;
  u64 high = p11 + (p01 >> 32) + (p10 >> 32) + (middle >> 32);
  return join(high, (middle << 32) | (unsigned)p00);
}

i128 __multi3(i128 a, i128 b) {
  u128 low = multiply_64(low_of(a), low_of(b));
  u64 high = high_of(low) + low_of(a) * high_of(b) + high_of(a) * low_of(b);
  return (i128)join(high, low_of(low));
}

i128 __ashlti3(i128 a, int count) {
  if (count & 64) return (i128)join(low_of(a) << (count & 63), 0);
  if (!(count & 63)) return a;
  return (i128)join((high_of(a) << count) | (low_of(a) >> (64 - count)), low_of(a) << count);
}

i128 __lshrti3(i128 a, int count) {
  if (count & 64) return (i128)join(0, high_of(a) >> (count & 63));
  if (!(count & 63)) return a;
  return (i128)join(high_of(a) >> count, (low_of(a) >> count) | (high_of(a) << (64 - count)));
}

i128 __ashrti3(i128 a, int count) {
  i64 high = (i64)high_of(a);
  if (count & 64) return (i128)join((u64)(high >> 63), (u64)(high >> (count & 63)));
  if (!(count & 63)) return a;
  return (i128)join((u64)(high >> count), (low_of(a) >> count) | ((u64)high << (64 - count)));
}

// Shift and subtract, one bit of the quotient a step; division by zero gives all ones.
u128 __udivmodti4(u128 a, u128 b, u128* remainder) {
  u64 quotient_high = high_of(a), quotient_low = low_of(a);
  u64 rest_high = 0, rest_low = 0;
  u64 divisor_high = high_of(b), divisor_low = low_of(b);
  for (int i = 0; i < 128; ++i) {
    rest_high = (rest_high << 1) | (rest_low >> 63);
    rest_low = (rest_low << 1) | (quotient_high >> 63);
    quotient_high = (quotient_high << 1) | (quotient_low >> 63);
    quotient_low <<= 1;
    if (rest_high > divisor_high || (rest_high == divisor_high && rest_low >= divisor_low)) {
      rest_high -= divisor_high + (rest_low < divisor_low);
      rest_low -= divisor_low;
      quotient_low |= 1;
    }
  }
  if (remainder) *remainder = join(rest_high, rest_low);
  return join(quotient_high, quotient_low);
}

u128 __udivti3(u128 a, u128 b) { return __udivmodti4(a, b, 0); }

u128 __umodti3(u128 a, u128 b) {
  u128 remainder;
  __udivmodti4(a, b, &remainder);
  return remainder;
}

static u128 magnitude(i128 a) { return (i64)high_of(a) < 0 ? -(u128)a : (u128)a; }

i128 __divti3(i128 a, i128 b) {
  u128 quotient = __udivmodti4(magnitude(a), magnitude(b), 0);
  return (i64)(high_of(a) ^ high_of(b)) < 0 ? -(i128)quotient : (i128)quotient;
}

i128 __modti3(i128 a, i128 b) {
  u128 remainder;
  __udivmodti4(magnitude(a), magnitude(b), &remainder);
  return (i64)high_of(a) < 0 ? -(i128)remainder : (i128)remainder;
}
