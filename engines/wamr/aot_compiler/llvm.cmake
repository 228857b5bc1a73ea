# Finds LLVM: sets LLVM_CONFIG, LLVM_VERSION, LLVM_INCLUDE_DIR and LLVM_LIBRARIES (static ones).
#
# LLVM 22 is the reference. With 19 to 21 the compiler builds, but is not to be asked for wider
# vectors (iwh_aotc_can_widen): what merges them was tested with 22 alone.

set(LLVM_DIR_HINT "" CACHE PATH "Folder of an LLVM installation, such as /usr/lib/llvm-22")
set(llvm_hints ${LLVM_DIR_HINT})
if (NOT LLVM_DIR_HINT)
  foreach (version 22 21 20 19)
    list(APPEND llvm_hints "/usr/lib/llvm-${version}")
  endforeach ()
endif ()

set(LLVM_CONFIG "")
foreach (hint IN LISTS llvm_hints)
  # Without the static library the headers' package is not there, only the tools.
  if (EXISTS "${hint}/bin/llvm-config" AND EXISTS "${hint}/lib/libLLVMX86CodeGen.a"
      AND EXISTS "${hint}/include/llvm-c/Core.h")
    set(LLVM_CONFIG "${hint}/bin/llvm-config")
    break()
  endif ()
endforeach ()
find_library(ZLIB_STATIC libz.a)
find_library(ZSTD_STATIC libzstd.a)
if (NOT LLVM_CONFIG OR NOT ZLIB_STATIC OR NOT ZSTD_STATIC)
  message(FATAL_ERROR
    "LLVM's static libraries are missing: apt-get install llvm-22-dev zlib1g-dev libzstd-dev "
    "(looked for LLVM in: ${llvm_hints}; zlib: ${ZLIB_STATIC}; zstd: ${ZSTD_STATIC})")
endif ()

function (ask_llvm_config result)
  execute_process(
    COMMAND "${LLVM_CONFIG}" --link-static ${ARGN}
    OUTPUT_VARIABLE answer OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(${result} "${answer}" PARENT_SCOPE)
endfunction ()

ask_llvm_config(LLVM_VERSION --version)
ask_llvm_config(LLVM_INCLUDE_DIR --includedir)
ask_llvm_config(llvm_library_files --libfiles x86codegen passes)
string(REPLACE " " ";" LLVM_LIBRARIES "${llvm_library_files}")
list(APPEND LLVM_LIBRARIES "${ZLIB_STATIC}" "${ZSTD_STATIC}")
string(REGEX MATCH "^[0-9]+" LLVM_MAJOR "${LLVM_VERSION}")
if (LLVM_MAJOR LESS 19 OR LLVM_MAJOR GREATER 22)
  message(FATAL_ERROR
    "LLVM ${LLVM_VERSION} in ${LLVM_CONFIG}: the compiler knows 19 to 22; "
    "apt-get install llvm-22-dev zlib1g-dev libzstd-dev")
endif ()
message(STATUS "LLVM ${LLVM_VERSION}: ${LLVM_CONFIG}")
