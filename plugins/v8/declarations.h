// C declarations of the part of mini-racer's C API that the plugin uses, for cffi's ABI mode.
//
// The wheel carries no headers; names, layouts and signatures are those of py_mini_racer/_dll.py in
// mini-racer 0.14 (upstream: src/v8_py_frontend/exports.h, value.h).
// plugins/generate_bindings.py turns this file into _bindings.py.

// mini-racer packs this struct; without padding before `type` the offsets are the same either way.
typedef struct {
  union {
    void *pointer;
    char *bytes;
    int64_t integer;
    double number;
  } value;
  size_t length;
  uint8_t type;
} value_handle_t;

void mr_init_v8(const char *flags, const char *icu_path);
const char *mr_v8_version(void);
bool mr_v8_is_using_sandbox(void);
size_t mr_context_count(void);  // SIZE_MAX before mr_init_v8

// A context is an isolate and a native thread of its own that runs what is queued, in order.
uint64_t mr_init_context(void *callback);
void mr_free_context(uint64_t context);
size_t mr_value_count(uint64_t context);

value_handle_t *mr_alloc_string_val(uint64_t context, const char *bytes, uint64_t length,
                                    uint8_t type);
void mr_free_value(uint64_t context, value_handle_t *value);
value_handle_t *mr_make_js_callback(uint64_t context, uint64_t callback_id);

// These two queue a task and return; the callback gets the callback id and the result.
uint64_t mr_eval(uint64_t context, value_handle_t *code, uint64_t callback_id);
uint64_t mr_call_function(uint64_t context, value_handle_t *function, value_handle_t *receiver,
                          value_handle_t *arguments, uint64_t callback_id);
void mr_cancel_task(uint64_t context, uint64_t task);

// These queue a task and wait for it.
value_handle_t *mr_array_push(uint64_t context, value_handle_t *receiver, value_handle_t *argument);
value_handle_t *mr_get_identity_hash(uint64_t context, value_handle_t *object);
