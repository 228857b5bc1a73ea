//! Ends one running call from another thread, and no other.
//!
//! A real-time signal is sent to the thread that runs the call. If it arrives while the thread is
//! in the program's compiled code, and that thread's own call is cancelled, the handler lets the
//! thread go on in `stop`, which leaves the call as a trap does: no frame but compiled code is
//! skipped, so no lock stays held and nothing leaks. If it arrives elsewhere, in a library call or
//! before the first instruction, nothing happens, and a helper thread sends it again until the call
//! has ended. Library calls that may take long look themselves when they are done (`safepoints`).
//!
//! Wasmer's own `experimental-host-interrupt` does the like with SIGUSR1, but its handler aborts
//! the process on a SIGUSR1 that Wasmer did not send (JavaScriptCore's collector sends such), and
//! it walks the stack from an arbitrary instruction.
//!
//! The signal's number is the highest real-time one that nobody has a handler for.

use std::cell::Cell;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use wasmer::sys::vm::raise_user_trap;

use crate::failure::{Failure, Kind};

const FIRST_DELAY: Duration = Duration::from_millis(1);
const LONGEST_DELAY: Duration = Duration::from_millis(50);

/// What an interrupted call ends with. Without a size, so that boxing it allocates nothing.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

thread_local! {
    /// The call that this thread runs. Has no destructor, so that the handler may always look.
    static CURRENT: Cell<*const Control> = const { Cell::new(ptr::null()) };
    static SIGNAL_UNBLOCKED: Cell<bool> = const { Cell::new(false) };
}

static SIGNAL: OnceLock<Option<libc::c_int>> = OnceLock::new();

/// What an instance is executing.
#[derive(Debug)]
pub struct Control {
    code: Range<usize>,
    /// Set for the running call only, under the lock of `running`.
    cancelled: AtomicBool,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    thread: Option<libc::pthread_t>,
    /// Distinguishes this call from those before it.
    call_count: u64,
}

/// Marks this thread as running a call, until dropped.
pub struct Call<'a>(&'a Control);

impl Control {
    /// For an instance whose program has its functions at these addresses.
    pub fn new(code: Range<usize>) -> Self {
        Self {
            code,
            cancelled: AtomicBool::new(false),
            running: Mutex::default(),
        }
    }

    /// Begins a call on this thread.
    pub fn begin(&self) -> Call<'_> {
        unblock_signal();
        CURRENT.set(self);
        let mut running = self.lock();
        running.call_count += 1;
        // SAFETY: always valid.
        running.thread = Some(unsafe { libc::pthread_self() });
        Call(self)
    }

    /// Ends the running call, if there is one.
    pub fn interrupt(self: &Arc<Self>) -> Result<(), Failure> {
        let signal = usable_signal()?;
        let running = self.lock();
        if running.thread.is_none() || self.cancelled.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let call_count = running.call_count;
        send(&running, signal);
        drop(running);
        let control = Arc::clone(self);
        let repeat = move || control.send_until_ended(signal, call_count);
        thread::Builder::new()
            .name("iree-wasm-hal-wasmer-interrupt".to_owned())
            .spawn(repeat)
            .map(drop)
            .map_err(|error| Failure::new(Kind::Engine, format!("cannot start a thread: {error}")))
    }

    fn send_until_ended(&self, signal: libc::c_int, call_count: u64) {
        let mut delay = FIRST_DELAY;
        loop {
            thread::sleep(delay);
            let running = self.lock();
            if running.thread.is_none() || running.call_count != call_count {
                return;
            }
            send(&running, signal);
            delay = (2 * delay).min(LONGEST_DELAY);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut running = self.0.lock();
        running.thread = None;
        self.0.cancelled.store(false, Ordering::SeqCst);
        drop(running);
        CURRENT.set(ptr::null());
    }
}

/// The lock is held: the thread is inside the call, so its identifier is valid.
fn send(running: &Running, signal: libc::c_int) {
    if let Some(thread) = running.thread {
        // SAFETY: see above.
        unsafe { libc::pthread_kill(thread, signal) };
    }
}

/// Whether calls can be interrupted on this platform.
pub fn is_supported() -> bool {
    SIGNAL.get().is_some_and(Option::is_some)
}

/// Installs the handler, once per process.
pub fn install() {
    SIGNAL.get_or_init(|| {
        if !cfg!(target_os = "linux") || registers::PROGRAM_COUNTER.is_none() {
            return None;
        }
        (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev().find(|&signal| {
            // SAFETY: plain queries and settings of a signal that nobody handles.
            unsafe {
                let free = disposition(signal).is_some_and(|it| it.sa_sigaction == libc::SIG_DFL);
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
                action.sa_sigaction = handler_address();
                libc::sigemptyset(&raw mut action.sa_mask);
                free && libc::sigaction(signal, &raw const action, ptr::null_mut()) == 0
            }
        })
    });
}

fn usable_signal() -> Result<libc::c_int, Failure> {
    let Some(signal) = SIGNAL.get().copied().flatten() else {
        let message = "calls cannot be interrupted on this platform";
        return Err(Failure::new(Kind::Engine, message));
    };
    // SAFETY: a plain query.
    let ours =
        unsafe { disposition(signal) }.is_some_and(|it| it.sa_sigaction == handler_address());
    if !ours {
        let message = format!("another library took over signal {signal}: calls run to their end");
        return Err(Failure::new(Kind::Engine, message));
    }
    Ok(signal)
}

unsafe fn disposition(signal: libc::c_int) -> Option<libc::sigaction> {
    let mut action = MaybeUninit::zeroed();
    // SAFETY: the kernel fills the structure.
    unsafe {
        let failed = libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        (failed == 0).then(|| action.assume_init())
    }
}

fn handler_address() -> libc::sighandler_t {
    on_signal as *const () as libc::sighandler_t
}

/// Threads that Python or a host starts may block all signals.
fn unblock_signal() {
    if SIGNAL_UNBLOCKED.get() {
        return;
    }
    if let Some(signal) = SIGNAL.get().copied().flatten() {
        // SAFETY: the set is initialised by sigemptyset.
        unsafe {
            let mut set = MaybeUninit::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
        }
    }
    SIGNAL_UNBLOCKED.set(true);
}

/// Async-signal-safe: it reads a thread-local that the call has touched, an atomic, and registers.
unsafe extern "C" fn on_signal(
    _signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: a control outlives its call; the kernel gives a valid context.
    unsafe {
        let Some(control) = CURRENT.get().as_ref() else {
            return;
        };
        let Some(program_counter) = registers::PROGRAM_COUNTER else {
            return;
        };
        let context = &mut *context.cast::<libc::ucontext_t>();
        let in_code = control.code.contains(&program_counter(context));
        if in_code && control.cancelled.load(Ordering::SeqCst) {
            registers::go_on_in(context, stop);
        }
    }
}

/// Ends the call that this thread runs if it was cancelled; for the end of a library call.
///
/// Compiled code must have called here with no destructor in between.
pub fn safepoint() {
    // SAFETY: a control outlives its call.
    let control = unsafe { CURRENT.get().as_ref() };
    if control.is_some_and(|control| control.cancelled.load(Ordering::SeqCst)) {
        stop();
    }
}

/// Runs on the wasm stack in place of the compiled code that was interrupted.
extern "C" fn stop() -> ! {
    // SAFETY: only compiled code and Wasmer's entry to it are on this stack.
    unsafe { raise_user_trap(Box::new(Interrupted)) }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod registers {
    use libc::{REG_RIP, REG_RSP, greg_t, ucontext_t};

    pub const PROGRAM_COUNTER: Option<fn(&ucontext_t) -> usize> =
        Some(|context| context.uc_mcontext.gregs[REG_RIP as usize] as usize);

    /// Lets the thread continue at the start of a function that never returns.
    pub fn go_on_in(context: &mut ucontext_t, function: extern "C" fn() -> !) {
        let registers = &mut context.uc_mcontext.gregs;
        // At its first instruction a function expects RSP + 8 to be a multiple of 16; the red zone
        // of 128 bytes is left alone.
        let stack_pointer = (registers[REG_RSP as usize] - 128) & !15;
        registers[REG_RSP as usize] = stack_pointer - 8;
        registers[REG_RIP as usize] = function as usize as greg_t;
    }
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod registers {
    use libc::ucontext_t;

    pub const PROGRAM_COUNTER: Option<fn(&ucontext_t) -> usize> =
        Some(|context| context.uc_mcontext.pc as usize);

    /// Lets the thread continue at the start of a function that never returns.
    pub fn go_on_in(context: &mut ucontext_t, function: extern "C" fn() -> !) {
        context.uc_mcontext.sp &= !15;
        context.uc_mcontext.pc = function as usize as u64;
    }
}

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod registers {
    use libc::ucontext_t;

    pub const PROGRAM_COUNTER: Option<fn(&ucontext_t) -> usize> = None;

    /// Never called: there is no program counter to look at.
    pub fn go_on_in(_context: &mut ucontext_t, _function: extern "C" fn() -> !) {}
}
