// Signal handlers: a fault in guest code is a trap, and one real-time signal interrupts it.
//
// A handler acts only if this thread runs a call, the interrupted instruction is the program's (or
// a copy that it asked for), and a fault's address is the region's. It then lets the thread go on
// in iwh_landing. Everything else goes to the handler that was there before: a real crash stays one.
// Handlers run on the thread's alternate stack, where it has one.

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "guest_symbols.h"
#include "internal.h"

extern const char iwh_landing[] __attribute__((visibility("hidden")));

static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
#define FAULT_SIGNAL_COUNT (sizeof fault_signals / sizeof *fault_signals)

static struct sigaction beneath[FAULT_SIGNAL_COUNT];
static int interruption_signal;

static iwh_place place_of(const ucontext_t *machine) {
  const greg_t *registers = machine->uc_mcontext.gregs;
  return (iwh_place){
      .program_counter = (uintptr_t)registers[REG_RIP],
      .frame_pointer = (uintptr_t)registers[REG_RBP],
      .stack_pointer = (uintptr_t)registers[REG_RSP],
  };
}

static void go_on_in_landing(ucontext_t *machine, iwh_call *call) {
  greg_t *registers = machine->uc_mcontext.gregs;
  registers[REG_RIP] = (greg_t)iwh_landing;
  registers[REG_RDI] = (greg_t)call;
  registers[REG_RSP] = (greg_t)call->entry_stack_pointer;
}

static bool is_memory_fault(int signal_number) {
  return signal_number == SIGSEGV || signal_number == SIGBUS;
}

// NULL if the fault is none of guest code. Code compares before it divides, so that SIGFPE, like
// SIGILL, would be the compiler's mistake; no reason to end the process.
static const char *trap_of(const iwh_call *call, int signal_number, const siginfo_t *information) {
  if (signal_number == SIGFPE) return "integer divide by zero";
  if (signal_number == SIGILL) return "unreachable";
  bool inside = iwh_call_may_touch(call, (uintptr_t)information->si_addr);
  return inside ? "out of bounds memory access" : NULL;
}

static bool handle(int signal_number, const siginfo_t *information, ucontext_t *machine) {
  iwh_call *call = iwh_current_call;
  // Sent by a process or thread, not by the CPU, if it is not positive.
  if (!call || information->si_code <= 0) return false;
  iwh_place place = place_of(machine);
  if (!iwh_call_holds(call, place.program_counter)) {
    const iwh_place *copying_for = call->copying_for;
    if (!copying_for || !is_memory_fault(signal_number)) return false;
    place = *copying_for;
  }
  const char *trap = trap_of(call, signal_number, information);
  if (!trap) return false;
  iwh_trap_record(call, place, trap);
  go_on_in_landing(machine, call);
  return true;
}

static void hand_on(int signal_number, siginfo_t *information, void *context) {
  size_t index = 0;
  while (fault_signals[index] != signal_number) index++;
  const struct sigaction present = beneath[index], *next = &present;
  if (next->sa_flags & SA_RESETHAND) beneath[index] = (struct sigaction){.sa_handler = SIG_DFL};
  if (next->sa_flags & SA_SIGINFO) {
    next->sa_sigaction(signal_number, information, context);
  } else if (next->sa_handler == SIG_DFL || next->sa_handler == SIG_IGN) {
    if (next->sa_handler == SIG_IGN && information->si_code <= 0) return;
    // The instruction faults once more, or the signal is sent once more, and ends the process.
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(signal_number, &standard, NULL);
    if (information->si_code <= 0) raise(signal_number);
  } else {
    next->sa_handler(signal_number);
  }
}

static void on_fault(int signal_number, siginfo_t *information, void *context) {
  if (!handle(signal_number, information, context)) hand_on(signal_number, information, context);
}

static void on_interruption(int signal_number, siginfo_t *information, void *context) {
  (void)signal_number;
  (void)information;
  iwh_call *call = iwh_current_call;
  if (!call || !iwh_interruption_is_due(call)) return;
  ucontext_t *machine = context;
  if (iwh_call_holds(call, place_of(machine).program_counter)) {
    go_on_in_landing(machine, call);
  } else if (call->sleeping_on) {
    unsigned waiting = IWH_WAITING;
    atomic_compare_exchange_strong(call->sleeping_on, &waiting, IWH_WAIT_INTERRUPTED);
  }
}

// The highest real-time signal that nobody handles.
static bool install_interruption(void) {
  struct sigaction action = {.sa_sigaction = on_interruption};
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (int number = SIGRTMAX; number >= SIGRTMIN; number--) {
    struct sigaction present;
    if (sigaction(number, NULL, &present) != 0 || present.sa_handler != SIG_DFL) continue;
    if (sigaction(number, &action, NULL) != 0) continue;
    interruption_signal = number;
    return true;
  }
  return false;
}

bool iwh_signals_install(char *message, uint32_t message_capacity) {
  // SA_NODEFER, because a handler beneath may raise the signal once more to end the process, as
  // faulthandler does.
  struct sigaction action = {.sa_sigaction = on_fault};
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  for (size_t index = 0; index < FAULT_SIGNAL_COUNT; index++) {
    // First what is beneath: a fault of another thread may come at once.
    if (sigaction(fault_signals[index], NULL, &beneath[index]) != 0 ||
        sigaction(fault_signals[index], &action, NULL) != 0) {
      snprintf(message, message_capacity, "cannot handle signal %d: %s", fault_signals[index],
               strerror(errno));
      return false;
    }
  }
  install_interruption();
  return true;
}

int iwh_signals_interruption(void) { return interruption_signal; }

bool iwh_signals_can_interrupt(void) {
  struct sigaction present;
  return interruption_signal && sigaction(interruption_signal, NULL, &present) == 0 &&
         present.sa_sigaction == on_interruption;
}
