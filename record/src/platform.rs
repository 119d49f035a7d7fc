//! All that depends on the architecture and the kernel's version is named here: a port starts with this file.
//!
//! | what | where |
//! |---|---|
//! | registers of a call and of a system call | [`crate::hits`] |
//! | which instructions the kernel emulates, system call numbers | [`crate::site`] |
//! | the ELF machine | [`crate::image`] |
//! | instruction and stack pointer of a stopped thread | [`crate::freeze`] |

use anyhow::{Result, bail};

/// `CAP_PERFMON` came with this one; uprobes by PMU, pidfds and the rest are older.
const OLDEST: (u32, u32) = (5, 8);

/// Refuses machines that ljscope does not know, before anything is done.
pub fn check() -> Result<()> {
    let uname = rustix::system::uname();
    let (machine, release) = (uname.machine().to_string_lossy(), uname.release().to_string_lossy());
    check_machine(&machine)?;
    check_release(&release)
}

fn check_machine(machine: &str) -> Result<()> {
    if machine != "x86_64" || cfg!(not(target_arch = "x86_64")) {
        bail!("this machine is {machine}; ljscope records on x86_64 only");
    }
    Ok(())
}

fn check_release(release: &str) -> Result<()> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST {
        bail!("this is Linux {release}; ljscope needs {}.{} or newer", OLDEST.0, OLDEST.1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_and_other_machines_are_refused() {
        for fine in ["5.8.0", "5.10.0-32-amd64", "6.18.44-fc", "10.0"] {
            assert!(check_release(fine).is_ok(), "{fine}");
        }
        for old in ["5.7.19", "4.19.0-27-amd64", "3.10.0-1160.el7.x86_64", ""] {
            assert!(check_release(old).unwrap_err().to_string().contains("5.8"), "{old}");
        }
        assert!(check_machine("aarch64").unwrap_err().to_string().contains("aarch64"));
    }
}
