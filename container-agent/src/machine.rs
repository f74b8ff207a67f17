//! What this machine gives one execution unless it is told otherwise: what it has, and never less than an execution
//! asks for by default. Limits are ceilings and reserve nothing, so a small machine still runs ordinary work.

use shared_contracts::limits::{CPU_CORES_DEFAULT, CPU_CORES_MAX, MEMORY_MB_DEFAULT, MEMORY_MB_MAX, MIB};

pub fn memory_mb() -> u32 {
    let info = rustix::system::sysinfo();
    let bytes = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    u32::try_from(bytes / MIB).unwrap_or(MEMORY_MB_MAX).clamp(MEMORY_MB_DEFAULT, MEMORY_MB_MAX)
}

/// Those that this process may use.
pub fn cpu_cores() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores as f64).clamp(CPU_CORES_DEFAULT, CPU_CORES_MAX)
}
