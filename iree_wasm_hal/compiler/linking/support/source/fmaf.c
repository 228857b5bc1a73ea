// x * y + z with one rounding. musl's version wants the floating-point environment, which wasm
// does not have.

typedef unsigned long long u64;

float fmaf(float x, float y, float z) {
  double product = (double)x * y;  // exact: 24 + 24 bits
  double sum = product + z;
  double part = sum - product;
  double error = (product - (sum - part)) + (z - part);
  if (error > 0 || error < 0) {
    // Rounding to odd keeps the information that the second rounding, to float, needs.
    union { double value; u64 bits; } odd = {sum};
    if (!(odd.bits & 1)) odd.bits += (error > 0) == (sum > 0) ? 1 : -1;
    sum = odd.value;
  }
  return (float)sum;
}
