// SPDX-License-Identifier: Apache-2.0
//! The frame around a case: arguments, the runtime, clocks, what /proc says, results. Used by both programs; it is no
//! part of what is measured.
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// A case: runs `size` of its work on `workers` worker threads and prints its results.
pub type Case = fn(workers: usize, size: usize);

/// Reads `CASE --workers N --size N` and runs that case. Exit status 2: wrong usage, 3: there is no such case.
pub fn main(cases: &[(&str, Case)]) -> ! {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("", String::as_str);
    let workers = number(&arguments, "--workers", 2);
    let size = number(&arguments, "--size", 1000);
    let case = match cases.iter().find(|(case, _)| *case == name) {
        Some((_, case)) => case,
        None => give_up(3, &format!("there is no case '{name}' here")),
    };
    std::panic::set_hook(Box::new(|_| {})); // the crashes are the measurement; a word on each would be, too
    case(workers, size);
    // Tens of thousands of tasks may be left. Nobody wants to wait until they are freed one after the other.
    std::process::exit(0);
}

fn number(arguments: &[String], option: &str, default: usize) -> usize {
    let mut values = arguments.iter().skip_while(|argument| *argument != option).skip(1);
    match values.next().map(|value| value.parse()) {
        None => default,
        Some(Ok(value)) if value > 0 => value,
        Some(_) => give_up(2, &format!("{option} takes a number above 0")),
    }
}

/// Ends the program with a word on stderr. From a task this is the way to report a measurement that went wrong: a panic
/// would be silent.
pub fn give_up(status: i32, why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(status);
}

/// Runs `driver` as a task, on a worker: the thread that calls `block_on` is none, and would be one thread too many.
pub fn on_workers<T: Send + 'static>(workers: usize, driver: impl Future<Output = T> + Send + 'static) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(workers).enable_time().build().expect("a runtime");
    let result = runtime.block_on(async { tokio::spawn(driver).await });
    runtime.shutdown_background();
    result.unwrap_or_else(|_| give_up(1, "the driver panicked"))
}

// --- results ---------------------------------------------------------------------------------------------------------

pub fn print(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.6} {unit}");
}

/// Nanoseconds each.
pub fn print_each(name: &str, took: Duration, count: usize, unit: &str) {
    print(name, took.as_nanos() as f64 / count as f64, unit);
}

/// How many a second.
pub fn print_rate(name: &str, took: Duration, count: usize, unit: &str) {
    print(name, count as f64 / took.as_secs_f64(), unit);
}

/// The value below which `share` of the samples are; sorts them.
pub fn percentile(samples: &mut [u64], share: f64) -> u64 {
    samples.sort_unstable();
    samples[((samples.len() - 1) as f64 * share) as usize]
}

/// p50 and p99 in microseconds of samples in nanoseconds.
pub fn print_latency(name: &str, samples: &mut [u64]) {
    print(name, percentile(samples, 0.50) as f64 / 1e3, "us");
    print(&format!("{name}_p99"), percentile(samples, 0.99) as f64 / 1e3, "us");
}

// --- who waits for the last of many ------------------------------------------------------------------------------------

/// Counts down to a moment. Leaked: it costs those who count no reference count.
pub struct Countdown {
    left: AtomicUsize,
    last: Mutex<Option<oneshot::Sender<Instant>>>,
}

impl Countdown {
    pub fn new(count: usize) -> (&'static Countdown, oneshot::Receiver<Instant>) {
        let (last, done) = oneshot::channel();
        let countdown = Countdown { left: AtomicUsize::new(count), last: Mutex::new(Some(last)) };
        (Box::leak(Box::new(countdown)), done)
    }

    pub fn one(&self) {
        if self.left.fetch_sub(1, AcqRel) == 1 {
            let last = self.last.lock().unwrap().take();
            let _ = last.unwrap().send(Instant::now());
        }
    }
}

// --- numbers that look random ------------------------------------------------------------------------------------------

/// xorshift64*: the same sequence for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) * limit >> 32
    }
}

// --- what the system says ----------------------------------------------------------------------------------------------

/// CPU time of the process.
pub fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Resident memory in bytes.
pub fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// How often the threads gave the CPU up by themselves, all but the calling one.
pub fn wake_ups() -> u64 {
    let me = unsafe { libc::syscall(libc::SYS_gettid) }.to_string();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap());
    tasks.filter(|task| task.file_name().to_str() != Some(&me)).map(|task| switches(&task.path())).sum()
}

fn switches(task: &std::path::Path) -> u64 {
    let text = std::fs::read_to_string(task.join("status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.map_or(0, |count| count.trim().parse().unwrap())
}
