// Ends one running call from another thread, and no other.
//
// A real-time signal is sent to the thread that runs the call. In guest code, the handler ends the
// call (src/signals.c); nothing is skipped but guest code, so no lock stays held and nothing leaks.
// Elsewhere, in a function that the code called or before its first instruction, nothing happens
// but the end of a wait, and a timer of the kernel sends the signal again until the call is over.

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define REPETITION_NS 1000000

void iwh_interruption_begin(iwh_wamr_aot_instance *instance) {
  atomic_store_explicit(
      &instance->running_thread_id, iwh_thread_id(), memory_order_relaxed);
  atomic_store_explicit(&instance->state, IWH_RUNNING, memory_order_release);
}

// Whether the call was cancelled. No interruption comes after this.
bool iwh_interruption_end(iwh_wamr_aot_instance *instance) {
  unsigned state = atomic_exchange(&instance->state, IWH_IDLE);
  if (state != IWH_CANCELLED) return false;
  pthread_mutex_lock(&instance->interruption_lock);
  if (instance->has_timer) timer_delete(instance->timer);
  instance->has_timer = false;
  pthread_mutex_unlock(&instance->interruption_lock);
  return true;
}

bool iwh_interruption_is_due(const iwh_call *call) {
  return atomic_load(&call->instance->state) == IWH_CANCELLED;
}

static bool repeat_signal(iwh_wamr_aot_instance *instance, int thread_id) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID};
  event.sigev_signo = iwh_signals_interruption();
  event.sigev_notify_thread_id = thread_id;
  if (timer_create(CLOCK_MONOTONIC, &event, &instance->timer) != 0) return false;
  const struct itimerspec times = {.it_interval.tv_nsec = REPETITION_NS,
                                   .it_value.tv_nsec = REPETITION_NS};
  instance->has_timer = timer_settime(instance->timer, 0, &times, NULL) == 0;
  if (!instance->has_timer) timer_delete(instance->timer);
  return instance->has_timer;
}

// Harmless where the thread is gone or another has its number: the handler looks for a call.
static void send_signal(int thread_id) {
  syscall(SYS_tgkill, getpid(), thread_id, iwh_signals_interruption());
}

// Where the kernel has no more timers. The call may be over, and the next one running.
static void send_until_ended(iwh_wamr_aot_instance *instance, int thread_id) {
  const struct timespec pause = {.tv_nsec = REPETITION_NS};
  while (atomic_load(&instance->state) == IWH_CANCELLED) {
    send_signal(thread_id);
    nanosleep(&pause, NULL);
  }
}

bool iwh_wamr_aot_interrupt(iwh_wamr_aot_instance *instance) {
  if (!iwh_signals_can_interrupt()) return false;
  pthread_mutex_lock(&instance->interruption_lock);
  unsigned running = IWH_RUNNING;
  bool cancelled = atomic_compare_exchange_strong(&instance->state, &running, IWH_CANCELLED);
  bool repeated = true;
  int thread_id = atomic_load_explicit(&instance->running_thread_id, memory_order_relaxed);
  if (cancelled) {
    send_signal(thread_id);
    repeated = repeat_signal(instance, thread_id);
  }
  pthread_mutex_unlock(&instance->interruption_lock);
  if (!repeated) send_until_ended(instance, thread_id);
  return true;
}
