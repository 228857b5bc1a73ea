#include "stack_usage.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// What a frame takes at most to be aligned for vectors, which LLVM does not tell.
#define ALIGNMENT_BYTE_LENGTH 64

bool iwh_aotc_stack_usage_open(iwh_aotc_stack_usage *self) {
  self->descriptor = memfd_create("iwh_aotc_stack_usage", MFD_CLOEXEC);
  self->open = self->descriptor >= 0;
  snprintf(self->path, sizeof self->path, "/proc/self/fd/%d", self->descriptor);
  return self->open;
}

void iwh_aotc_stack_usage_close(iwh_aotc_stack_usage *self) {
  if (self->open) close(self->descriptor);
  self->open = false;
}

// Lines are like "WASM Module:aot_func_internal#9.specialized.1\t72\tstatic". Only the functions of
// this name have a frame to speak of: the ones that check the stack for them go on by a jump.
static bool read_line(const char *line, uint32_t *sizes, uint32_t function_count) {
  static const char prefix[] = ":aot_func_internal#";
  const char *name = strstr(line, prefix);
  if (!name) return true;
  uint32_t index, byte_length;
  const char *tab = strchr(name, '\t');
  if (!tab || sscanf(name + sizeof prefix - 1, "%u", &index) != 1 || index >= function_count ||
      sscanf(tab, "\t%u", &byte_length) != 1 || !strstr(tab, "\tstatic")) {
    return false;
  }
  byte_length += ALIGNMENT_BYTE_LENGTH;
  if (sizes[index] == UINT32_MAX || sizes[index] < byte_length) sizes[index] = byte_length;
  return true;
}

bool iwh_aotc_stack_usage_read(
    const iwh_aotc_stack_usage *self, uint32_t *sizes, uint32_t function_count) {
  FILE *file = fopen(self->path, "re");
  if (!file) return false;
  bool done = true;
  char line[160];
  while (done && fgets(line, sizeof line, file)) done = read_line(line, sizes, function_count);
  done = done && !ferror(file);
  fclose(file);
  return done;
}
