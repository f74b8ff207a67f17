//! What an execution may use: the settings' defaults, what was asked for over them, and no more than the settings'
//! ceilings. Pure.

use std::fmt::Display;

use shared_contracts::executions::{Limits, RequestedLimits};
use shared_contracts::limits::{
    CPU_CORES_CEILING, DISK_MB_CEILING, MEMORY_MB_CEILING, OPEN_FILES_MAX, OUTPUT_MB_MAX, PROCESSES_CEILING,
    WALL_SECONDS_CEILING,
};
use shared_contracts::problem::Fault;

use super::store::Settings;
use crate::platform::failure::{Failure, Outcome};

/// Refused where more is asked for than a ceiling allows. A default above a ceiling is not asked for: it is lowered.
pub fn admit(settings: &Settings, requested: &RequestedLimits) -> Outcome<Limits> {
    let ceilings = ceilings(settings);
    let mut faults = Vec::new();
    above(&mut faults, "memory_mb", requested.memory_mb, ceilings.memory_mb);
    above(&mut faults, "cpu_cores", requested.cpu_cores, ceilings.cpu_cores);
    above(&mut faults, "wall_seconds", requested.wall_seconds, ceilings.wall_seconds);
    above(&mut faults, "processes", requested.processes, ceilings.processes);
    above(&mut faults, "disk_mb", requested.disk_mb, ceilings.disk_mb);
    if !faults.is_empty() {
        let detail = "More is asked for than an execution may use here; mend it and send again";
        return Err(Failure::faults(detail, faults));
    }
    let limits = defaults(settings).with(requested);
    Ok(Limits {
        memory_mb: limits.memory_mb.min(ceilings.memory_mb),
        cpu_cores: limits.cpu_cores.min(ceilings.cpu_cores),
        wall_seconds: limits.wall_seconds.min(ceilings.wall_seconds),
        processes: limits.processes.min(ceilings.processes),
        disk_mb: limits.disk_mb.min(ceilings.disk_mb),
        open_files: limits.open_files.min(ceilings.open_files),
        output_mb: limits.output_mb.min(ceilings.output_mb),
    })
}

fn defaults(settings: &Settings) -> Limits {
    let built_in = Limits::default();
    Limits {
        memory_mb: settings.number("sandbox.default_memory_mb").unwrap_or(built_in.memory_mb),
        cpu_cores: settings.number("sandbox.default_cpu_cores").unwrap_or(built_in.cpu_cores),
        wall_seconds: settings.number("sandbox.default_timeout_seconds").unwrap_or(built_in.wall_seconds),
        ..built_in
    }
}

/// The most that one execution may ask for. Open files and output cost a machine little: no setting names theirs.
pub fn ceilings(settings: &Settings) -> Limits {
    Limits {
        memory_mb: settings.number("sandbox.memory_mb_max").unwrap_or(MEMORY_MB_CEILING),
        cpu_cores: settings.number("sandbox.cpu_cores_max").unwrap_or(CPU_CORES_CEILING),
        wall_seconds: settings.number("sandbox.wall_seconds_max").unwrap_or(WALL_SECONDS_CEILING),
        processes: settings.number("sandbox.processes_max").unwrap_or(PROCESSES_CEILING),
        disk_mb: settings.number("sandbox.disk_mb_max").unwrap_or(DISK_MB_CEILING),
        open_files: OPEN_FILES_MAX,
        output_mb: OUTPUT_MB_MAX,
    }
}

fn above<T: PartialOrd + Display>(faults: &mut Vec<Fault>, field: &str, requested: Option<T>, ceiling: T) {
    if requested.is_some_and(|requested| requested > ceiling) {
        let message = format!("is above this plane's ceiling of {ceiling} (setting `sandbox.{field}_max`)");
        faults.push(Fault { field: format!("limits.{field}"), message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, &str)]) -> Settings {
        let values: serde_json::Map<_, _> =
            values.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        serde_json::from_value(values.into()).unwrap()
    }

    fn faults(settings: &Settings, requested: &RequestedLimits) -> Vec<String> {
        match admit(settings, requested) {
            Err(Failure::Problem(problem)) => problem.faults.into_iter().map(|fault| fault.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_ceiling_is_kept_and_named() {
        let at = RequestedLimits {
            memory_mb: Some(MEMORY_MB_CEILING),
            cpu_cores: Some(CPU_CORES_CEILING),
            wall_seconds: Some(WALL_SECONDS_CEILING),
            processes: Some(PROCESSES_CEILING),
            disk_mb: Some(DISK_MB_CEILING),
            ..RequestedLimits::default()
        };
        let admitted = admit(&settings(&[]), &at).unwrap();
        assert_eq!((admitted.memory_mb, admitted.cpu_cores), (MEMORY_MB_CEILING, CPU_CORES_CEILING));
        let above = RequestedLimits {
            memory_mb: Some(MEMORY_MB_CEILING + 1),
            cpu_cores: Some(CPU_CORES_CEILING + 0.1),
            wall_seconds: Some(WALL_SECONDS_CEILING + 1),
            processes: Some(PROCESSES_CEILING + 1),
            disk_mb: Some(DISK_MB_CEILING + 1),
            ..RequestedLimits::default()
        };
        let fields = ["memory_mb", "cpu_cores", "wall_seconds", "processes", "disk_mb"];
        assert_eq!(faults(&settings(&[]), &above), fields.map(|field| format!("limits.{field}")));
    }

    #[test]
    fn the_settings_move_the_ceilings_and_a_default_stays_below_them() {
        let lowered = settings(&[("sandbox.memory_mb_max", "512"), ("sandbox.cpu_cores_max", "0.5")]);
        let admitted = admit(&lowered, &RequestedLimits::default()).unwrap();
        assert_eq!((admitted.memory_mb, admitted.cpu_cores), (512, 0.5));
        let more = RequestedLimits { memory_mb: Some(513), ..RequestedLimits::default() };
        assert_eq!(faults(&lowered, &more), ["limits.memory_mb"]);
        let raised = settings(&[("sandbox.memory_mb_max", "65536")]);
        let much = RequestedLimits { memory_mb: Some(65_536), ..RequestedLimits::default() };
        assert_eq!(admit(&raised, &much).unwrap().memory_mb, 65_536);
    }
}
