// C declarations of the part of JavaScriptCore's C API that the plugin uses, for cffi's ABI mode.
//
// Names and signatures are those of JavaScriptCore/JavaScript.h and of WebKitGTK's jsc/JSCOptions.h
// and jsc/JSCVersion.h (https://webkitgtk.org/reference/). All of them are there in every release
// of the libraries that library.py names, but the ones marked optional.
// plugins/generate_bindings.py turns this file into _bindings.py.

typedef struct OpaqueJSContextGroup *JSContextGroupRef;
typedef struct OpaqueJSContext *JSContextRef;
typedef struct OpaqueJSString *JSStringRef;
typedef struct OpaqueJSValue *JSValueRef;

// Version and options (WebKitGTK)

unsigned int jsc_get_major_version(void);
unsigned int jsc_get_minor_version(void);
unsigned int jsc_get_micro_version(void);
int jsc_options_get_boolean(const char *option, int *value);
int jsc_options_get_uint(const char *option, unsigned int *value);

// Contexts

JSContextGroupRef JSContextGroupCreate(void);
void JSContextGroupRelease(JSContextGroupRef);
JSContextRef JSGlobalContextCreateInGroup(JSContextGroupRef, void *global_object_class);
void JSGlobalContextRelease(JSContextRef);
JSValueRef JSContextGetGlobalObject(JSContextRef);
void JSGarbageCollect(JSContextRef);

// Values

JSStringRef JSStringCreateWithUTF8CString(const char *);
void JSStringRelease(JSStringRef);
size_t JSStringGetMaximumUTF8CStringSize(JSStringRef);
size_t JSStringGetUTF8CString(JSStringRef, char *buffer, size_t buffer_byte_length);
JSStringRef JSValueToStringCopy(JSContextRef, JSValueRef, JSValueRef *exception);
JSValueRef JSValueMakeUndefined(JSContextRef);
JSValueRef JSEvaluateScript(
    JSContextRef, JSStringRef script, JSValueRef this_object, JSStringRef source_url,
    int starting_line, JSValueRef *exception);
JSValueRef JSObjectGetProperty(JSContextRef, JSValueRef, JSStringRef name, JSValueRef *exception);
JSValueRef JSObjectCallAsFunction(
    JSContextRef, JSValueRef function, JSValueRef this_object, size_t argument_count,
    const JSValueRef *arguments, JSValueRef *exception);
void *JSObjectGetTypedArrayBytesPtr(JSContextRef, JSValueRef, JSValueRef *exception);

// Optional: not part of the headers, or only in newer releases

void JSSynchronousGarbageCollectForDebugging(JSContextRef);
bool JSConfigureSignalForGC(int signal);

// libc

typedef struct {
    const char *file_name; void *base; const char *symbol_name; void *symbol;
} Dl_info;
int dladdr(const void *address, Dl_info *info);
void *dlopen(const char *file_name, int flags);
int dlclose(void *handle);
