# WAMR's build options, each with its reason. They reach the sources as preprocessor definitions.

set(WAMR_BUILD_PLATFORM linux)
set(WAMR_BUILD_TARGET X86_64)

# What runs the code: images that are machine code already, and nothing else.
set(WAMR_BUILD_AOT 1)
set(WAMR_BUILD_INTERP 0)
set(WAMR_BUILD_JIT 0)
set(WAMR_BUILD_FAST_JIT 0)
# WAMR's ways into the code. Ours is src/entry.S.
set(WAMR_BUILD_QUICK_AOT_ENTRY 0)
# Float operations as functions, for targets without them.
set(WAMR_BUILD_AOT_INTRINSICS 0)

# The wasm dialect. The names of features that an image was compiled with are checked against it.
set(WAMR_BUILD_BULK_MEMORY 1)
set(WAMR_BUILD_REF_TYPES 1)
set(WAMR_BUILD_TAIL_CALL 1)
set(WAMR_BUILD_EXTENDED_CONST_EXPR 1)
set(WAMR_BUILD_SHARED_MEMORY 1)
set(WAMR_BUILD_MEMORY64 1)
set(WAMR_BUILD_SIMD 1)
set(WAMR_BUILD_LIB_SIMDE 0)

# No functions for programs to import: no libc, no WASI, no threads of WAMR's own.
set(WAMR_BUILD_LIBC_BUILTIN 0)
set(WAMR_BUILD_LIBC_WASI 0)
set(WAMR_BUILD_LIB_PTHREAD 0)
set(WAMR_BUILD_LIB_WASI_THREADS 0)
set(WAMR_BUILD_MULTI_MODULE 0)
# WAMR's thread manager would end calls and waits; src/interruption.c and src/wait.c do.
set(WAMR_BUILD_THREAD_MGR 0)

# WAMR would shorten a memory that its program cannot grow. It is not the program's here.
set(WAMR_BUILD_SHRUNK_MEMORY 0)
set(WAMR_BH_VPRINTF iwh_wamr_aot_discard_print)

# No signal handler for SIGUSR1, which would wake blocking calls of WASI.
set(WAMR_DISABLE_WAKEUP_BLOCKING_OP 1)
# Code finds the memory's base in its instance, not in the GS register of the host's thread.
set(WAMR_DISABLE_WRITE_GS_BASE 1)
# The guard pages and the handler for their faults are ours (src/region.c, src/signals.c). WAMR's
# handler does not live with others: each thread that WAMR meets installs it anew and takes what it
# finds for the next handler, which then is itself; a foreign fault never gets past it.
set(WAMR_DISABLE_HW_BOUND_CHECK 1)
