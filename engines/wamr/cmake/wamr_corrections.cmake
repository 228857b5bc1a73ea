# Corrects defects of WAMR 2.4.3 in the copy of its sources, which the official wasm tests and damaged
# images found, and fits its AOT runtime to ours.

function (correct file wrong right)
  set(path "${WAMR_ROOT_DIR}/${file}")
  file(READ "${path}" source)
  string(FIND "${source}" "${wrong}" position)
  if (position EQUAL -1)
    message(FATAL_ERROR "${file} is not WAMR 2.4.3's: it does not hold: ${wrong}")
  endif ()
  string(REPLACE "${wrong}" "${right}" source "${source}")
  file(WRITE "${path}" "${source}")
endfunction ()

# A refused constant expression ends the process: only results of additions and the like carry an
# expression, all others a null pointer.
correct(core/iwasm/interpreter/wasm_loader.c
  "if (is_expr_binary_op(ctx->stack[j].expr->init_expr_type)) {"
  "if (ctx->stack[j].expr && is_expr_binary_op(ctx->stack[j].expr->init_expr_type)) {")

# SIMDe's operations, and ours in place of the wrong ones.
correct(core/iwasm/interpreter/wasm_interp_fast.c
  "#include \"simde/wasm/simd128.h\""
  "#include \"${CMAKE_CURRENT_SOURCE_DIR}/interpreter/src/simd_corrections.h\"")

# A waiting thread that was notified stays in the list until it runs, and was counted by the next
# notification too, which then woke nobody.
set(notify_file core/iwasm/common/wasm_shared_memory.c)
correct(${notify_file} "for (i = 0; i < notify_count; i++) {" "for (i = 0; node && i < notify_count;) {")
correct(${notify_file}
  "        node->status = S_NOTIFIED;
"
  "        if (node->status == S_NOTIFIED) {
            node = next;
            continue;
        }
        i++;
        node->status = S_NOTIFIED;
")
correct(${notify_file} "    return notify_count;
" "    return i;
")

# An unknown atomic instruction had its alignment looked up before the start of a table.
correct(core/iwasm/interpreter/wasm_loader.c
  "mem_access_aligns[(opcode - WASM_OP_ATOMIC_I32_LOAD) % 7]"
  "mem_access_aligns[(uint8)(opcode - WASM_OP_ATOMIC_I32_LOAD) % 7]")

# --- The AOT runtime ---

# What compiled code may call is ours: it traps, grows memories and waits by src/guest.c and
# src/wait.c.
set(relocation_file core/iwasm/aot/arch/aot_reloc_x86_64.c)
correct(${relocation_file} "#include \"aot_reloc.h\""
  "#include \"aot_reloc.h\"
#include \"${CMAKE_CURRENT_SOURCE_DIR}/aot_runtime/src/guest_symbols.h\"")
correct(${relocation_file} "    REG_COMMON_SYMBOLS
" "    IWH_GUEST_SYMBOLS
")

set(loader_file core/iwasm/aot/aot_loader.c)
# Code is never writable and executable at a time: it becomes executable once it is relocated.
correct(${loader_file} "loader_mmap((uint32)total_size, true," "loader_mmap((uint32)total_size, false,")
correct(${loader_file}
  "    if (os_mprotect(sections, code_size,
                    MMAP_PROT_READ | MMAP_PROT_WRITE | MMAP_PROT_EXEC)
        != 0) {
        os_munmap(sections, (uint32)total_size);
        return false;
    }
" "")
correct(${loader_file}
  "        os_mprotect(mmap_addr, total_size, map_prot);
    }

    map_prot = MMAP_PROT_READ;"
  "        if (os_mprotect(mmap_addr, total_size, map_prot) != 0) {
            set_error_buf(error_buf, error_buf_size, \"code cannot be made executable\");
            goto fail;
        }
    }

    map_prot = MMAP_PROT_READ;")
# The thread manager is not what waits and their interruption need.
correct(${loader_file}
  "#if WASM_ENABLE_THREAD_MGR == 0
    if (feature_flags & WASM_FEATURE_MULTI_THREAD) {"
  "#if 0
    if (feature_flags & WASM_FEATURE_MULTI_THREAD) {")
# An imported memory is the first of all memories; there is no list of imported ones.
correct(${loader_file}
  "    if (module->import_memory_count > 0)
        return !!(module->import_memories[0].mem_type.flags & MEMORY64_FLAG);
    else if (module->memory_count > 0)"
  "    if (module->memory_count > 0)")
# A damaged count had up to 4 GiB allocated and cleared before the bytes were found to be missing.
correct(${loader_file}
  "if (size >= UINT32_MAX || !(mem = wasm_runtime_malloc((uint32)size))) {"
  "if (size >= (512u << 20) || !(mem = wasm_runtime_malloc((uint32)size))) {")
