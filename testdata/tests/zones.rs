//! nginx's shared zones from outside: named by the configuration, and filled as nginx says itself.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use record::breakdown::zones::Zones;
use record::target::{Memory, Target};
use shared::trace::breakdown::Zone;
use testdata::{LIMIT, Nginx, NginxConfig, may_record, skip};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Name, module and size of the zones in `nginx/shared_zones.conf`.
const OWN: [(&str, &str, u64); 5] = [
    ("SSL", "ngx_http_ssl_module", 1 << 20),
    ("connections", "ngx_http_limit_conn_module", 96 << 10),
    ("documents", "ngx_http_proxy_module", 512 << 10),
    ("requests", "ngx_http_limit_req_module", 64 << 10),
    ("uneven", "ngx_http_limit_conn_module", 100_001),
];
/// Those in `nginx/zones.conf.in`.
const DICTS: [(&str, &str, u64); 3] = [
    ("empty", "ngx_http_lua_module", 200 << 10),
    ("filled", "ngx_http_lua_module", 4 << 20),
    ("sparse", "ngx_http_lua_module", 2 << 20),
];

const PAGE: u64 = 4096;

/// A process whose memory counts what is read of it.
struct Counted {
    target: Target,
    read: Cell<u64>,
}

impl Memory for Counted {
    fn read(&self, addr: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read.set(self.read.get() + bytes.len() as u64);
        self.target.read(addr, bytes)
    }
}

impl Counted {
    fn open(pid: u32) -> Result<Counted> {
        Ok(Counted { target: Target::open(Pid::from_raw(pid as i32))?, read: Cell::new(0) })
    }

    /// The zones by name; each in a mapping that is as long as it.
    fn look(&self, zones: &mut Zones) -> Result<BTreeMap<String, Zone>> {
        let found = zones.look(self, &self.target.mappings()?);
        for one in &found {
            assert_eq!(one.range.end - one.range.start, one.zone.size.next_multiple_of(PAGE), "{one:?}");
        }
        let number = found.len();
        let by_name: BTreeMap<_, _> = found.into_iter().map(|one| (one.zone.name.clone(), one.zone)).collect();
        assert_eq!(by_name.len(), number, "a name twice");
        Ok(by_name)
    }
}

fn labels(zones: &BTreeMap<String, Zone>) -> BTreeSet<(&str, &str, u64)> {
    zones.values().map(|zone| (zone.name.as_str(), zone.module.as_str(), zone.size)).collect()
}

/// Pages that are not free, and those of them that slots do not account for.
fn used_pages(zone: &Zone) -> (u64, u64) {
    let used = zone.pages - zone.free_pages;
    (used, used - zone.slots.iter().map(|slot| (slot.total * slot.size).div_ceil(PAGE)).sum::<u64>())
}

fn ask(nginx: &Nginx, path: &str) -> Result<String> {
    let (status, body) = nginx.get(path)?;
    assert_eq!(status, 200, "{path}");
    Ok(String::from_utf8(body)?.trim().to_string())
}

#[test]
fn zones_are_named_and_filled_as_nginx_says() -> Result<()> {
    if let Err(reason) = Nginx::available().and_then(|()| may_record()) {
        skip("zones_are_named_and_filled_as_nginx_says", &reason);
        return Ok(());
    }
    let nginx = Nginx::start_as(NginxConfig::Zones, 2)?;
    let expected = OWN.into_iter().chain(DICTS).collect();
    let workers = nginx.workers();
    assert_eq!(workers.len(), 2);

    let (worker, mut zones) = (Counted::open(workers[0])?, Zones::default());
    let before = worker.look(&mut zones)?;
    assert_eq!(labels(&before), expected);
    for zone in before.values() {
        assert_eq!(
            zone.slots.iter().map(|slot| slot.size).collect::<Vec<_>>(),
            [8, 16, 32, 64, 128, 256, 512, 1024, 2048]
        );
        // The pages' list and the pool's head are in the zone as well.
        let pages = zone.size / PAGE;
        assert!((pages - 2 - pages / 100..pages).contains(&zone.pages), "{zone:?}");
        assert_eq!(used_pages(zone).1, 0, "{zone:?}");
    }

    // With its key and the dictionary's own 68 bytes, a value of 900 bytes takes a slot of 1024, one of 3000 a page, and
    // one of 10,000 three.
    for fill in ["dict=filled&mark=a&count=301&size=900", "dict=filled&mark=b&count=50&size=3000"] {
        assert_eq!(ask(&nginx, &format!("/fill?{fill}"))?, "filled");
    }
    assert_eq!(ask(&nginx, "/fill?dict=sparse&mark=c&count=10&size=10000")?, "filled");
    worker.read.set(0);
    let after = worker.look(&mut zones)?;
    assert_eq!(labels(&after), expected);
    assert_eq!(worker.read.get(), after.len() as u64 * PAGE, "names are looked for once");

    let kib = |zone: &Zone| zone.slots[7];
    let (filled, sparse) = (&after["filled"], &after["sparse"]);
    assert_eq!((kib(&before["filled"]).used, kib(filled).used, kib(filled).total), (0, 301, 304));
    assert_eq!((used_pages(filled).1, used_pages(sparse).1), (50, 30));
    assert_eq!(used_pages(filled).0, used_pages(&before["filled"]).0 + 76 + 50);
    assert_eq!(used_pages(sparse).0, used_pages(&before["sparse"]).0 + 30);
    assert_eq!(after["empty"], before["empty"]);
    for (name, ..) in DICTS {
        let zone = &after[name];
        let own = format!("{} {}", zone.size, zone.free_pages * PAGE);
        assert_eq!(ask(&nginx, &format!("/space?dict={name}"))?, own, "{name}");
    }

    // All processes share them.
    for pid in [nginx.master_pid(), workers[1]] {
        assert_eq!(Counted::open(pid)?.look(&mut Zones::default())?, after, "{pid}");
    }
    assert_eq!(worker.target.threads()?.len(), 1 + Nginx::POOL_THREADS);
    Ok(())
}

#[test]
fn zones_of_an_nginx_without_lua_are_named() -> Result<()> {
    if let Err(reason) = Nginx::available_plain().and_then(|()| may_record()) {
        skip("zones_of_an_nginx_without_lua_are_named", &reason);
        return Ok(());
    }
    let nginx = Nginx::start_as(NginxConfig::Plain, 1)?;
    assert_eq!(ask(&nginx, "/hello")?, "hello");
    for pid in [nginx.master_pid(), nginx.worker_pid()?] {
        let zones = Counted::open(pid)?.look(&mut Zones::default())?;
        assert_eq!(labels(&zones), OWN.into_iter().collect(), "{pid}");
        assert!(zones.values().all(|zone| zone.free_pages > 0 && used_pages(zone).1 == 0), "{zones:?}");
        // One for the address that has asked, in the tree of each zone that counts.
        assert!(zones["requests"].slots.iter().any(|slot| slot.used > 0), "{:?}", zones["requests"]);
    }
    Ok(())
}

#[test]
fn a_zone_is_not_taken_for_one_that_was_in_its_place() -> Result<()> {
    if let Err(reason) = Nginx::available().and_then(|()| may_record()) {
        skip("a_zone_is_not_taken_for_one_that_was_in_its_place", &reason);
        return Ok(());
    }
    let nginx = Nginx::start_as(NginxConfig::Zones, 1)?;
    let (master, mut kept) = (Counted::open(nginx.master_pid())?, Zones::default());
    let mut name = String::from("empty");
    // Each new zone has its place beside the one before, and so where the one before that was.
    for turn in 0..6 {
        let next = format!("name{turn}");
        nginx.change_config(&format!("lua_shared_dict {name} 200k"), &format!("lua_shared_dict {next} 200k"))?;
        name = next;
        let old = nginx.worker_pid()?;
        nginx.reload()?;
        let started = Instant::now();
        let worker = loop {
            match nginx.workers()[..] {
                [worker] if worker != old => break worker,
                _ if started.elapsed() > LIMIT => return Err("no new worker".into()),
                _ => sleep(Duration::from_millis(10)),
            }
        };
        let expected = OWN
            .into_iter()
            .chain(DICTS)
            .map(|label| if label.0 == "empty" { (name.as_str(), label.1, label.2) } else { label });
        let expected: BTreeSet<(&str, &str, u64)> = expected.collect();
        let fresh = Counted::open(worker)?.look(&mut Zones::default())?;
        assert_eq!(labels(&fresh), expected, "turn {turn}");
        assert_eq!(labels(&master.look(&mut kept)?), expected, "turn {turn}");
        assert_eq!(labels(&master.look(&mut Zones::default())?), expected, "turn {turn}");
    }
    Ok(())
}
