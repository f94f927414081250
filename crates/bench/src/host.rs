//! The memory of this process.

use serde::{Deserialize, Serialize};

/// How much of the host's memory this process holds, as Linux counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMemory {
    /// Resident bytes of the process's own, mapped files not counted.
    pub anonymous_bytes: u64,
    /// The most bytes that were ever resident, mapped files counted.
    pub peak_bytes: u64,
}

/// The process's memory now; none on systems that do not tell through `/proc`.
pub fn host_memory() -> Option<HostMemory> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<HostMemory> {
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        let kibibytes: u64 = line
            .trim_start_matches(':')
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse()
            .ok()?;
        kibibytes.checked_mul(1024)
    };
    Some(HostMemory {
        anonymous_bytes: bytes("RssAnon")?,
        peak_bytes: bytes("VmHWM")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let status = "Name:\tx\nVmHWM:\t    4096 kB\nVmRSS:\t    4000 kB\nRssAnon:\t     100 kB\n";
        assert_eq!(
            parse(status),
            Some(HostMemory {
                anonymous_bytes: 102_400,
                peak_bytes: 4_194_304
            })
        );
        assert_eq!(parse("Name:\tx\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        let memory = host_memory().unwrap();
        assert!(memory.anonymous_bytes > 0 && memory.peak_bytes >= memory.anonymous_bytes);
    }
}
