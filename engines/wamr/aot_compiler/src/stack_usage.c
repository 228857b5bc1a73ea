#include "stack_usage.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

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
