// x to an integer power by repeated squaring (llvm.powi).

#define DEFINE(name, type)                                 \
  type name(type x, int n) {                               \
    unsigned count = n < 0 ? -(unsigned)n : (unsigned)n;   \
    type result = 1;                                       \
    for (; count; count >>= 1, x *= x)                     \
      if (count & 1) result *= x;                          \
    return n < 0 ? 1 / result : result;                    \
  }

DEFINE(__powisf2, float)
DEFINE(__powidf2, double)
