# WAMR's build options for the compiler, each with its reason: preprocessor definitions for its
# sources. What describes structures or the wasm dialect must be as in aot_runtime.

set(WAMR_BUILD_PLATFORM linux)
set(WAMR_BUILD_TARGET X86_64)
set(WAMR_BUILD_WAMR_COMPILER 1)
set(WAMR_BUILD_SIMD 1)

add_definitions(
  -DBUILD_TARGET_X86_64
  # The loader validates in the classic interpreter's way, the only one the compiler can read.
  -DWASM_ENABLE_INTERP=1
  -DWASM_ENABLE_FAST_INTERP=0
  -DWASM_ENABLE_WAMR_COMPILER=1

  # The wasm dialect.
  -DWASM_ENABLE_BULK_MEMORY=1
  -DWASM_ENABLE_BULK_MEMORY_OPT=1
  -DWASM_ENABLE_REF_TYPES=1
  -DWASM_ENABLE_CALL_INDIRECT_OVERLONG=1
  -DWASM_ENABLE_TAIL_CALL=1
  -DWASM_ENABLE_EXTENDED_CONST_EXPR=1
  -DWASM_ENABLE_SHARED_MEMORY=1
  -DWASM_ENABLE_SIMD=1
  -DIWH_RELAXED_SIMD=1
  -DWASM_ENABLE_MEMORY64=1
  -DWASM_ENABLE_GC=0
  # WAMR would shorten a memory that its program cannot grow. It is not the program's here.
  -DWASM_ENABLE_SHRUNK_MEMORY=0

  # Nothing is run here.
  -DWASM_DISABLE_HW_BOUND_CHECK=1
  -DWASM_DISABLE_WAKEUP_BLOCKING_OP=1
  # What WAMR prints is dropped: its messages reach us by other ways.
  -DBH_VPRINTF=iwh_aotc_discard_print)
