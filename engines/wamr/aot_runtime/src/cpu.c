// What the CPU can do, as LLVM names it, if the operating system keeps the registers it needs.
//
// Names: LLVM's llvm/lib/Target/X86/X86.td; bits: Intel's manual, volume 2, CPUID, and AMD's, volume
// 3, appendix E.

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

// Registers that the operating system saves, of XCR0.
#define AVX_STATE 0x6u
#define AVX512_STATE 0xe6u

typedef enum { EAX, EBX, ECX, EDX } cpuid_register;

typedef struct {
  const char *name;
  uint32_t leaf;
  uint32_t subleaf;
  cpuid_register where;
  uint32_t bit;
  uint64_t state;
} feature;

static const feature features[] = {
    {"sse3", 1, 0, ECX, 0, 0},
    {"pclmul", 1, 0, ECX, 1, 0},
    {"ssse3", 1, 0, ECX, 9, 0},
    {"cx16", 1, 0, ECX, 13, 0},
    {"sse4.1", 1, 0, ECX, 19, 0},
    {"sse4.2", 1, 0, ECX, 20, 0},
    {"movbe", 1, 0, ECX, 22, 0},
    {"popcnt", 1, 0, ECX, 23, 0},
    {"aes", 1, 0, ECX, 25, 0},
    {"sahf", 0x80000001, 0, ECX, 0, 0},
    {"lzcnt", 0x80000001, 0, ECX, 5, 0},
    {"prfchw", 0x80000001, 0, ECX, 8, 0},
    {"bmi", 7, 0, EBX, 3, 0},
    {"bmi2", 7, 0, EBX, 8, 0},
    {"adx", 7, 0, EBX, 19, 0},
    {"sha", 7, 0, EBX, 29, 0},
    {"gfni", 7, 0, ECX, 8, 0},
    {"avx", 1, 0, ECX, 28, AVX_STATE},
    {"f16c", 1, 0, ECX, 29, AVX_STATE},
    {"fma", 1, 0, ECX, 12, AVX_STATE},
    {"avx2", 7, 0, EBX, 5, AVX_STATE},
    {"vaes", 7, 0, ECX, 9, AVX_STATE},
    {"vpclmulqdq", 7, 0, ECX, 10, AVX_STATE},
    {"avxvnni", 7, 1, EAX, 4, AVX_STATE},
    {"avxifma", 7, 1, EAX, 23, AVX_STATE},
    {"avxvnniint8", 7, 1, EDX, 4, AVX_STATE},
    {"avxneconvert", 7, 1, EDX, 5, AVX_STATE},
    {"avxvnniint16", 7, 1, EDX, 10, AVX_STATE},
    {"avx512f", 7, 0, EBX, 16, AVX512_STATE},
    {"avx512dq", 7, 0, EBX, 17, AVX512_STATE},
    {"avx512ifma", 7, 0, EBX, 21, AVX512_STATE},
    {"avx512cd", 7, 0, EBX, 28, AVX512_STATE},
    {"avx512bw", 7, 0, EBX, 30, AVX512_STATE},
    {"avx512vl", 7, 0, EBX, 31, AVX512_STATE},
    {"avx512vbmi", 7, 0, ECX, 1, AVX512_STATE},
    {"avx512vbmi2", 7, 0, ECX, 6, AVX512_STATE},
    {"avx512vnni", 7, 0, ECX, 11, AVX512_STATE},
    {"avx512bitalg", 7, 0, ECX, 12, AVX512_STATE},
    {"avx512vpopcntdq", 7, 0, ECX, 14, AVX512_STATE},
    {"avx512vp2intersect", 7, 0, EDX, 8, AVX512_STATE},
    {"avx512fp16", 7, 0, EDX, 23, AVX512_STATE},
    {"avx512bf16", 7, 1, EAX, 5, AVX512_STATE},
};

static pthread_once_t found_once = PTHREAD_ONCE_INIT;
static char found[1024];

// Registers of a leaf that the CPU has. Of 7 and 1 it says the last subleaf in those of 7 and 0.
static bool read_leaf(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
  if (subleaf > 0) {
    uint32_t first[4];
    if (!read_leaf(leaf, 0, first) || first[EAX] < subleaf) return false;
  }
  return __get_cpuid_count(
      leaf, subleaf, &registers[EAX], &registers[EBX], &registers[ECX], &registers[EDX]);
}

// XCR0, or 0 if the operating system does not use XSAVE.
static uint64_t saved_state(void) {
  uint32_t registers[4], low, high;
  if (!read_leaf(1, 0, registers) || !(registers[ECX] & bit_OSXSAVE)) return 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

static bool has(const feature *one, uint64_t state) {
  uint32_t registers[4];
  return (state & one->state) == one->state &&
         read_leaf(one->leaf, one->subleaf, registers) &&
         (registers[one->where] >> one->bit & 1);
}

static void find(void) {
  uint64_t state = saved_state();
  size_t length = 0;
  for (size_t index = 0; index < sizeof features / sizeof *features; index++) {
    if (!has(&features[index], state)) continue;
    int written = snprintf(found + length, sizeof found - length, "%s+%s", length ? "," : "",
                           features[index].name);
    length += (size_t)written;
  }
}

const char *iwh_wamr_aot_cpu_features(void) {
  pthread_once(&found_once, find);
  return found;
}

bool iwh_cpu_has_avx(void) { return (saved_state() & AVX_STATE) == AVX_STATE; }
