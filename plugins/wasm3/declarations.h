/* wasm3 0.5.0's C API and the structs behind it, as far as this plugin uses them. Upstream:
 * wasm3.h, m3_env.h, m3_function.h, m3_compile.h, m3_core.h, in the configuration that pywasm3's
 * setup.py fixes (DEBUG, d_m3RecordBacktraces, 32-bit slots). calibration.py compares them with a
 * live runtime before they are trusted. */

typedef const char *M3Result;

typedef struct M3Environment M3Environment;
typedef struct M3FuncType M3FuncType;
typedef struct M3CodePage M3CodePage;
typedef struct M3Runtime M3Runtime;
typedef struct M3Module M3Module;
typedef struct M3Function M3Function;

typedef struct {
  const char *module_name;
  const char *field_name;
} M3ImportInfo;

struct M3Function {
  M3Module *module;
  M3ImportInfo import_info;
  const uint8_t *wasm;
  const uint8_t *wasm_end;
  const char *names[3];
  uint16_t name_count;
  M3FuncType *type;
  const void *compiled;
  uint32_t hits;
  uint32_t index;
  uint16_t max_stack_slots;
  uint16_t result_slots;
  uint16_t result_and_argument_slots;
  uint16_t local_count;
  uint16_t local_bytes;
  _Bool owns_wasm_code;
  uint16_t constant_bytes;
  void *constants;
};

typedef struct {
  uint32_t initial_pages;
  uint32_t max_pages;
} M3MemoryInfo;

struct M3Module {
  M3Runtime *runtime;
  M3Environment *environment;
  const uint8_t *wasm_start;
  const uint8_t *wasm_end;
  const char *name;
  uint32_t type_count;
  M3FuncType **types;
  uint32_t imported_function_count;
  uint32_t function_count;
  M3Function *functions;
  int32_t start_function;
  uint32_t data_segment_count;
  void *data_segments;
  uint32_t global_count;
  void *globals;
  uint32_t element_segment_count;
  const uint8_t *element_section;
  const uint8_t *element_section_end;
  M3Function **table0;
  uint32_t table0_size;
  M3MemoryInfo memory_info;
  _Bool memory_imported;
  M3Module *next;
};

/* Lies directly before the bytes of the linear memory. */
typedef struct {
  M3Runtime *runtime;
  void *max_stack;
  size_t length;
} M3MemoryHeader;

typedef struct {
  M3MemoryHeader *header;
  uint32_t page_count;
  uint32_t max_pages;
} M3Memory;

typedef struct {
  void *outer;
  void *pc;
  void *patches;
  int32_t depth;
  uint16_t exit_stack_index;
  int16_t block_stack_index;
  M3FuncType *type;
  uint16_t opcode;
  _Bool is_polymorphic;
} M3CompilationScope;

typedef struct {
  M3Runtime *runtime;
  M3Module *module;
  const uint8_t *wasm;
  const uint8_t *wasm_end;
  const uint8_t *last_opcode_start;
  M3CompilationScope block;
  M3Function *function;
  M3CodePage *page;
  uint32_t emit_count;
  uint32_t opcode_count;
  uint16_t stack_first_dynamic_index;
  uint16_t stack_index;
  uint16_t slot_first_constant_index;
  uint16_t slot_max_constant_index;
  uint16_t slot_first_local_index;
  uint16_t slot_first_dynamic_index;
  uint16_t max_stack_slots;
  uint32_t constants[120];
  uint16_t wasm_stack[2000];
  uint8_t type_stack[2000];
  uint8_t slots[4000];
  uint16_t slot_max_allocated_index_plus_one;
  uint16_t register_stack_index_plus_one[2];
  uint16_t previous_opcode;
} M3Compilation;

typedef struct {
  M3Result result;
  M3Runtime *runtime;
  M3Module *module;
  M3Function *function;
  const char *file;
  uint32_t line;
  const char *message;
} M3ErrorInfo;

typedef struct M3BacktraceFrame {
  uint32_t module_offset;
  M3Function *function;
  struct M3BacktraceFrame *next;
} M3BacktraceFrame;

typedef struct {
  M3BacktraceFrame *frames;
  M3BacktraceFrame *last_frame;
} M3BacktraceInfo;

struct M3Runtime {
  M3Compilation compilation;
  M3Environment *environment;
  M3CodePage *pages_open;
  M3CodePage *pages_full;
  uint32_t code_page_count;
  uint32_t active_code_page_count;
  M3Module *modules;
  void *stack;
  uint32_t stack_size;
  uint32_t stack_slot_count;
  M3Function *last_called;
  void *user_data;
  M3Memory memory;
  uint32_t memory_limit;
  M3ErrorInfo error;
  char error_message[256];
  M3BacktraceInfo backtrace;
};

M3Environment *m3_NewEnvironment(void);
void m3_FreeEnvironment(M3Environment *environment);
M3Runtime *m3_NewRuntime(M3Environment *environment, uint32_t stack_byte_length, void *user_data);
void m3_FreeRuntime(M3Runtime *runtime);
uint8_t *m3_GetMemory(M3Runtime *runtime, uint32_t *byte_length, uint32_t index);
M3Result m3_ParseModule(
    M3Environment *environment, M3Module **module, const uint8_t *wasm, uint32_t byte_length);
void m3_FreeModule(M3Module *module);
M3Result m3_LoadModule(M3Runtime *runtime, M3Module *module);
M3Result m3_CompileModule(M3Module *module);
M3Result m3_Call(M3Function *function, uint32_t argument_count, const void **arguments);
M3BacktraceInfo *m3_GetBacktrace(M3Runtime *runtime);
void m3_ResetErrorInfo(M3Runtime *runtime);
void ClearBacktrace(M3Runtime *runtime);
typedef const void *(*M3RawCall)(M3Runtime *, void *context, uint64_t *stack, void *memory);
M3Result m3_LinkRawFunction(
    M3Module *module, const char *module_name, const char *function_name, const char *signature,
    M3RawCall function);
void *m3_Realloc(void *pointer, size_t new_byte_length, size_t old_byte_length);
