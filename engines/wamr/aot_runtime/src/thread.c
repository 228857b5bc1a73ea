// What the library knows of the threads that call.

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

// What is left below the lowest stack pointer of guest code: for signal handlers on threads without
// an alternate stack (a frame with AVX-512 and AMX state takes 12 KiB) and for what code calls here.
#define RESERVE_BYTE_LENGTH 32768u

_Thread_local iwh_call *iwh_current_call;
uint8_t iwh_clear_vectors;

static _Thread_local uint8_t *stack_limit __attribute__((tls_model("initial-exec")));
static _Thread_local int thread_id __attribute__((tls_model("initial-exec")));

// Threads that a host starts may block all signals. A fault with its signal blocked ends the
// process, and without the other one nothing interrupts.
static void unblock_signals(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGSEGV);
  sigaddset(&signals, SIGBUS);
  sigaddset(&signals, SIGFPE);
  sigaddset(&signals, SIGILL);
  if (iwh_signals_interruption()) sigaddset(&signals, iwh_signals_interruption());
  pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

static uint8_t *find_stack_limit(void) {
  pthread_attr_t attributes;
  void *lowest;
  size_t byte_length, guard_byte_length;
  // For the main thread it counts with the limit of the process, up to which the stack grows.
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return NULL;
  bool known = pthread_attr_getstack(&attributes, &lowest, &byte_length) == 0 &&
               pthread_attr_getguardsize(&attributes, &guard_byte_length) == 0;
  pthread_attr_destroy(&attributes);
  if (!known) return NULL;
  size_t reserve = RESERVE_BYTE_LENGTH;
  if (byte_length < 4 * reserve) reserve = byte_length / 4;
  return (uint8_t *)lowest + guard_byte_length + reserve;
}

uint8_t *iwh_thread_stack_limit(void) {
  if (!stack_limit) {
    unblock_signals();
    stack_limit = find_stack_limit();
  }
  return stack_limit;
}

int iwh_thread_id(void) {
  if (!thread_id) thread_id = (int)syscall(SYS_gettid);
  return thread_id;
}

// The thread that forked is another one in the child.
static void forget_thread_id(void) { thread_id = 0; }

bool iwh_thread_initialize(void) { return pthread_atfork(NULL, NULL, forget_thread_id) == 0; }
