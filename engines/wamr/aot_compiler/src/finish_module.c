// From translated functions to optimized ones.

#include <llvm-c/Core.h>
#include <stdio.h>
#include <string.h>

#include "part.h"
#include "pipeline/pipeline.h"
#include "traps.h"

static void set_attribute(LLVMValueRef function, const char *key, const char *value) {
  LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(function));
  LLVMAddAttributeAtIndex(
      function, LLVMAttributeFunctionIndex,
      LLVMCreateStringAttribute(
          context, key, (unsigned)strlen(key), value, (unsigned)strlen(value)));
}

// Whether it goes on by a jump to the function proper, aot_func_internal#.
static bool only_checks_stack(LLVMValueRef function) {
  static const char prefix[] = "aot_func#";
  size_t byte_length;
  const char *name = LLVMGetValueName2(function, &byte_length);
  return strncmp(name, prefix, sizeof prefix - 1) == 0;
}

static void set_target(LLVMValueRef function, const iwh_aotc_options *options) {
  char width[16];
  snprintf(width, sizeof width, "%u", options->vector_bit_width);
  set_attribute(function, "target-cpu", "x86-64");
  set_attribute(function, "target-features", options->features);
  if (*options->tune_cpu) set_attribute(function, "tune-cpu", options->tune_cpu);
  set_attribute(function, "prefer-vector-width", width);
  set_attribute(function, "min-legal-vector-width", width);
  // Callers are found by them. Innermost loops, which call nothing, keep the register.
  set_attribute(function, "frame-pointer", only_checks_stack(function) ? "none" : "non-leaf");
}

void iwh_aotc_finish_module(
    LLVMModuleRef module, LLVMTargetMachineRef machine, const iwh_aotc_part *part) {
  for (LLVMValueRef function = LLVMGetFirstFunction(module); function;
       function = LLVMGetNextFunction(function)) {
    if (LLVMIsDeclaration(function)) continue;
    set_target(function, part->options);
    iwh_aotc_bound_effort(function);
  }
  iwh_aotc_prepare_traps(module);
  iwh_aotc_keep_unused_loads(module);
  iwh_aotc_optimize(module, machine, part->options);
}
