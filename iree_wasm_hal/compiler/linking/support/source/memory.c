// The three memory functions that the code generator may call, eight bytes a step.

typedef __SIZE_TYPE__ size_t;
typedef unsigned long long __attribute__((aligned(1), may_alias)) word;

void* memcpy(void* restrict target, const void* restrict source, size_t count) {
  char* t = target;
  const char* s = source;
  for (; count >= 8; count -= 8, t += 8, s += 8) *(word*)t = *(const word*)s;
  while (count--) *t++ = *s++;
  return target;
}

void* memmove(void* target, const void* source, size_t count) {
  char* t = target;
  const char* s = source;
  if ((size_t)t - (size_t)s >= count) return memcpy(target, source, count);
  while (count & 7) --count, t[count] = s[count];
  for (; count; count -= 8) *(word*)(t + count - 8) = *(const word*)(s + count - 8);
  return target;
}

void* memset(void* target, int value, size_t count) {
  char* t = target;
  word pattern = (unsigned char)value * 0x0101010101010101ull;
  for (; count >= 8; count -= 8, t += 8) *(word*)t = pattern;
  while (count--) *t++ = (char)value;
  return target;
}

int memcmp(const void* left, const void* right, size_t count) {
  const unsigned char *l = left, *r = right;
  for (; count; --count, ++l, ++r)
    if (*l != *r) return *l - *r;
  return 0;
}
