# WAMR's build options, each with its reason. They reach the sources as preprocessor definitions.

set(WAMR_BUILD_PLATFORM linux)
if (CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(WAMR_BUILD_TARGET AARCH64)
else ()
  set(WAMR_BUILD_TARGET X86_64)
endif ()

# What runs the code: the fast interpreter.
set(WAMR_BUILD_INTERP 1)
set(WAMR_BUILD_FAST_INTERP 1)
set(WAMR_BUILD_AOT 0)
set(WAMR_BUILD_JIT 0)
set(WAMR_BUILD_FAST_JIT 0)

# The wasm dialect. The fast interpreter has no memory64, multi-memory or exceptions: WAMR's build
# scripts refuse them beside it.
set(WAMR_BUILD_BULK_MEMORY 1)
set(WAMR_BUILD_REF_TYPES 1)
set(WAMR_BUILD_TAIL_CALL 1)
set(WAMR_BUILD_EXTENDED_CONST_EXPR 1)
set(WAMR_BUILD_SHARED_MEMORY 1)
set(WAMR_BUILD_SIMD 1)
set(WAMR_BUILD_LIB_SIMDE 1)
# SIMDe from the system, where WAMR's script would clone it.
set(FETCHCONTENT_SOURCE_DIR_SIMDE "${SIMDE_DIR}" CACHE PATH "" FORCE)

# No functions for programs to import: no libc, no WASI, no threads of WAMR's own.
set(WAMR_BUILD_LIBC_BUILTIN 0)
set(WAMR_BUILD_LIBC_WASI 0)
set(WAMR_BUILD_LIB_PTHREAD 0)
set(WAMR_BUILD_LIB_WASI_THREADS 0)
set(WAMR_BUILD_MULTI_MODULE 0)

# Loops look at a flag by which another thread ends them, and the size of a memory is read anew at
# each access, so that growth by another thread is seen.
set(WAMR_BUILD_THREAD_MGR 1)

# Tells our allocator which allocation is the linear memory (src/region.c).
set(WAMR_BUILD_ALLOC_WITH_USAGE 1)
# WAMR would shorten a memory that its program cannot grow. It is not the program's here.
set(WAMR_BUILD_SHRUNK_MEMORY 0)

# Names of the functions on the stack of a trap. WAMR also prints them, to a function that drops it.
set(WAMR_BUILD_DUMP_CALL_STACK 1)
set(WAMR_BUILD_CUSTOM_NAME_SECTION 1)
set(WAMR_BH_VPRINTF iwh_wamr_discard_print)

# No signal handler for SIGUSR1, which would wake blocking calls of WASI.
set(WAMR_DISABLE_WAKEUP_BLOCKING_OP 1)
# The interpreter does not use the GS register, which belongs to the host's thread.
set(WAMR_DISABLE_WRITE_GS_BASE 1)

# Bounds of memory are checked by comparing. Guard pages would save the interpreter nothing: Magika
# takes 2.6 s either way with simd128 kernels, and with scalar ones less where it compares. And
# WAMR's SIGSEGV handler does not live with others: each thread that WAMR meets installs it anew and
# takes what it finds for the next handler, which then is itself; a foreign fault never gets past it.
set(WAMR_DISABLE_HW_BOUND_CHECK 1)
