// C declarations of the part of JavaScriptCore's API that the plugin uses, for cffi's ABI mode.
//
// Names and signatures are those of WebKitGTK's jsc/jsc.h (https://webkitgtk.org/reference/), of
// GObject and of libc. All of them are there in every release of the libraries that library.py
// names, but the ones marked optional.
// plugins/generate_bindings.py turns this file into _bindings.py.

typedef struct OpaqueJSContext *JSContextRef;
typedef struct _JSCContext JSCContext;
typedef struct _JSCException JSCException;
typedef struct _JSCValue JSCValue;
typedef size_t GType;

// Version and options

unsigned int jsc_get_major_version(void);
unsigned int jsc_get_minor_version(void);
unsigned int jsc_get_micro_version(void);
int jsc_options_get_boolean(const char *option, int *value);
int jsc_options_get_uint(const char *option, unsigned int *value);

// Contexts

JSCContext *jsc_context_new(void);
JSCValue *jsc_context_evaluate(JSCContext *, const char *code, ssize_t byte_length);
void jsc_context_set_value(JSCContext *, const char *name, JSCValue *);
JSCException *jsc_context_get_exception(JSCContext *);
char *jsc_exception_to_string(JSCException *);

// Values

GType jsc_value_get_type(void);
JSCValue *jsc_value_new_functionv(
    JSCContext *, const char *name, void *callback, void *user_data, void *destroy_notify,
    GType return_type, unsigned int parameter_count, GType *parameter_types);
JSCValue *jsc_value_function_callv(
    JSCValue *, unsigned int parameter_count, JSCValue **parameters);
JSCValue *jsc_value_object_get_property(JSCValue *, const char *name);
double jsc_value_to_double(JSCValue *);
char *jsc_value_to_string(JSCValue *);
void *jsc_value_typed_array_get_data(JSCValue *, size_t *length);

// GObject

void g_object_unref(void *object);
void g_free(void *memory);

// Optional: not part of the headers, or only in newer releases

void JSSynchronousGarbageCollectForDebugging(JSContextRef);
JSContextRef _Z22jscContextGetJSContextP11_JSCContext(JSCContext *);
bool JSConfigureSignalForGC(int signal);

// libc; what is opaque there is at most as large as here

typedef struct { uint64_t opaque[8]; } sem_t;
int sem_init(sem_t *semaphore, int is_shared, unsigned int value);
int sem_post(sem_t *semaphore);
int sem_wait(sem_t *semaphore);

typedef struct { uint64_t opaque[8]; } pthread_barrier_t;
int pthread_barrier_init(pthread_barrier_t *barrier, const void *attributes, unsigned int count);
int pthread_barrier_wait(pthread_barrier_t *barrier);

typedef struct {
    const char *file_name; void *base; const char *symbol_name; void *symbol;
} Dl_info;
int dladdr(const void *address, Dl_info *info);
void *dlopen(const char *file_name, int flags);
int dlclose(void *handle);
