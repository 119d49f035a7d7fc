//! What makes a trace fit to be shown to strangers: heaps that lie elsewhere, files without folders.

use std::path::Path;

use anyhow::{Context, Result};
use shared::Addr;
use shared::heap::layout::GRANULARITY;
use shared::trace::breakdown::{Breakdown, SliceKind};
use shared::trace::names::Names;

/// So many steps of the granularity at most: 4 TiB, a thirty-second of the address space.
const STEPS: u64 = (1 << 42) / GRANULARITY;
/// User addresses are below this; heaps above are moved down, others up.
const MIDDLE: Addr = 1 << 46;

/// A distance to move a heap by, drawn at random: a multiple of the segment granularity, never 0, to be added modulo
/// 2^64. The heap stays within the addresses of user space.
pub fn shift(mstate: Addr) -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).context("no random numbers")?;
    let distance = (u64::from_ne_bytes(bytes) % STEPS + 1) * GRANULARITY;
    Ok(if mstate < MIDDLE { distance } else { distance.wrapping_neg() })
}

/// A path's last part.
pub fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A breakdown without the names of zones and folders.
pub fn breakdown(mut breakdown: Breakdown) -> Breakdown {
    let zones: Vec<String> = breakdown.zones.iter().map(|zone| zone.name.clone()).collect();
    let number = |name: &str| zones.iter().position(|zone| zone == name).map(|at| format!("zone {}", at + 1));
    for slice in &mut breakdown.slices {
        slice.name = match slice.kind {
            SliceKind::SharedZone => number(&slice.name).unwrap_or_default(),
            _ => file_name(slice.name.as_ref()),
        };
    }
    for zone in &mut breakdown.zones {
        zone.name = number(&zone.name).unwrap_or_default();
    }
    breakdown
}

/// A chunk's name without folders: `@/usr/share/x.lua` is `@x.lua`.
pub fn chunk(name: &str) -> String {
    // What says whether it is a file's name stays.
    let sign = name.chars().next().filter(|sign| matches!(sign, '@' | '='));
    let last = name.trim_start_matches(['@', '=']).rsplit('/').next().unwrap_or_default();
    sign.into_iter().chain(last.chars()).collect()
}

/// Names of chunks without folders.
pub fn names(names: Names) -> Names {
    Names { chunks: names.chunks.iter().map(|name| chunk(name)).collect(), ..names }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_lose_their_folders() {
        let chunks =
            ["@/usr/share/x.lua", "@x.lua", "=(string)", "=init_by_lua(/etc/nginx.conf:12)", "(text)", "@", "@a/"];
        let names = names(Names { chunks: chunks.map(str::to_owned).to_vec(), ..Names::default() });
        assert_eq!(names.chunks, ["@x.lua", "@x.lua", "=(string)", "=nginx.conf:12)", "(text)", "@", "@"]);
    }

    #[test]
    fn heaps_stay_in_user_space_and_on_the_granularity() {
        for mstate in [0x10, 0x7fff_0000, 0x5555_5555_0010, 0x7fff_ffff_0010] {
            let moved = [(); 100].map(|()| shift(mstate).unwrap());
            assert!(moved.iter().all(|by| *by != 0 && by % GRANULARITY == 0));
            assert!(moved.iter().all(|by| mstate.wrapping_add(*by) < 1 << 47), "{mstate:#x}");
            assert!(moved.iter().any(|by| *by != moved[0]));
        }
    }
}
