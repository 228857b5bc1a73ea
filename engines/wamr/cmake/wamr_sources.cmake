# Sets WAMR_ROOT_DIR to a copy of WAMR's sources, which the crate wamrx-sys carries.
#
# cargo downloads the crate if it must and verifies its checksum. The sources are
# copied because WAMR's build scripts write a header beside them, and cargo's folder is not ours.

find_program(CARGO cargo HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin")
if (NOT CARGO)
  message(FATAL_ERROR "cargo is missing: WAMR's sources are a crate; install Rust from rustup.rs")
endif ()

set(metadata_command
  "${CARGO}" metadata --format-version 1
  --manifest-path "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.toml")
# First what is on the machine already, so that a build without a network works.
execute_process(
  COMMAND ${metadata_command} --offline
  OUTPUT_VARIABLE metadata RESULT_VARIABLE status ERROR_QUIET)
if (status)
  execute_process(
    COMMAND ${metadata_command}
    OUTPUT_VARIABLE metadata RESULT_VARIABLE status ERROR_VARIABLE reason)
endif ()
if (status)
  message(FATAL_ERROR "cargo cannot fetch the crate wamrx-sys with WAMR's sources: ${reason}")
endif ()

string(JSON package_count LENGTH "${metadata}" packages)
math(EXPR last_package "${package_count} - 1")
foreach (index RANGE ${last_package})
  string(JSON name GET "${metadata}" packages ${index} name)
  if (name STREQUAL "wamrx-sys")
    string(JSON manifest GET "${metadata}" packages ${index} manifest_path)
    get_filename_component(crate_dir "${manifest}" DIRECTORY)
  endif ()
endforeach ()

# The copy is made anew only when it would differ, so that a second build compiles nothing.
set(WAMR_ROOT_DIR "${CMAKE_CURRENT_BINARY_DIR}/wasm-micro-runtime")
set(origin_file "${CMAKE_CURRENT_BINARY_DIR}/wamr_origin.txt")
set(origin "${crate_dir}")
set(all_corrections
  wamr_corrections wamr_compiler_corrections wamr_codegen_corrections wamr_frontend_corrections)
foreach (corrections IN LISTS all_corrections)
  file(SHA256 "${CMAKE_CURRENT_SOURCE_DIR}/cmake/${corrections}.cmake" corrections_hash)
  string(APPEND origin " ${corrections_hash}")
endforeach ()
set(copied "")
if (EXISTS "${origin_file}")
  file(READ "${origin_file}" copied)
endif ()
if (NOT copied STREQUAL origin)
  file(REMOVE_RECURSE "${WAMR_ROOT_DIR}")
  file(COPY "${crate_dir}/wasm-micro-runtime/" DESTINATION "${WAMR_ROOT_DIR}")
  foreach (corrections IN LISTS all_corrections)
    include(cmake/${corrections}.cmake)
  endforeach ()
  file(WRITE "${origin_file}" "${origin}")
endif ()
