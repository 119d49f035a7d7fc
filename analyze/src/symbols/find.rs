//! Which files may be a module's, or hold its debug information.

use std::path::{Component, Path, PathBuf};

use shared::trace::stacks::Module;

use super::elf::Elf;

/// Where distributions put files with debug information.
const DEBUG: &str = "/usr/lib/debug";

/// The files that may be a module's, in the order they are looked at. `folders` are laid out like a root folder, by build
/// id, or hold files that are named by it.
pub(super) fn of_module(module: &Module, folders: &[PathBuf]) -> Vec<PathBuf> {
    let own = Path::new(&module.name);
    let mut paths = Vec::new();
    for folder in folders {
        paths.extend(by_build_id(folder, &module.build_id));
        if is_build_id(&module.build_id) {
            paths.push(folder.join(format!("{}.debug", module.build_id)));
            paths.push(folder.join(&module.build_id));
        }
        paths.extend(by_build_id(&inside(folder, Path::new(DEBUG)), &module.build_id));
        if own.is_absolute() {
            paths.push(inside(&inside(folder, Path::new(DEBUG)), &named_debug(own)));
            paths.push(inside(folder, own));
        }
    }
    // A name without a folder is not of this machine: it comes from an anonymized trace.
    paths.extend(own.is_absolute().then(|| own.to_owned()));
    paths.extend(by_build_id(Path::new(DEBUG), &module.build_id));
    paths
}

/// The files that a file's `.gnu_debuglink` may mean, of those only the ones with the right checksum.
pub(super) fn linked(elf: &Elf, path: &Path, folders: &[PathBuf]) -> Vec<PathBuf> {
    let Some((name, crc)) = &elf.link else { return Vec::new() };
    // It is a name, not a path.
    let (Some(name), Some(folder)) = (Path::new(name).file_name(), path.parent()) else { return Vec::new() };
    let roots = folders.iter().map(|root| inside(root, Path::new(DEBUG))).chain([PathBuf::from(DEBUG)]);
    let places = [folder.to_owned(), folder.join(".debug")].into_iter().chain(roots.map(|root| inside(&root, folder)));
    let files = places.map(|place| place.join(name)).filter(|file| file != path);
    files.filter(|file| super::elf::checksum(file) == Some(*crc)).collect()
}

/// The file with what several files' debug information has in common, as `dwz` makes it: the one that
/// `.gnu_debugaltlink` names, if its build id is the right one.
pub(super) fn shared_debug(elf: &Elf, path: &Path, folders: &[PathBuf]) -> Option<PathBuf> {
    let (name, build_id) = elf.shared.as_ref()?;
    let name = Path::new(name);
    let mut paths: Vec<PathBuf> = folders.iter().flat_map(|folder| by_build_id(folder, build_id)).collect();
    if name.is_absolute() {
        paths.extend(folders.iter().map(|folder| inside(folder, name)));
    }
    // A relative name counts from the file's own folder.
    paths.extend(path.parent().map(|folder| folder.join(name)));
    paths.extend(by_build_id(Path::new(DEBUG), build_id));
    paths.into_iter().find(|path| matches!(Elf::open(path), Ok(Some(found)) if found.build_id == *build_id))
}

/// `FOLDER/.build-id/ab/cdef.debug`, and the same without an ending.
fn by_build_id(folder: &Path, build_id: &str) -> Vec<PathBuf> {
    if !is_build_id(build_id) {
        return Vec::new();
    }
    let (first, rest) = build_id.split_at(2);
    let folder = folder.join(".build-id").join(first);
    vec![folder.join(format!("{rest}.debug")), folder.join(rest)]
}

/// A trace may have any text where a build id is to be.
fn is_build_id(text: &str) -> bool {
    text.len() > 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A path from the root of a folder, never out of it.
fn inside(folder: &Path, path: &Path) -> PathBuf {
    let names = path.components().filter(|component| matches!(component, Component::Normal(_)));
    folder.iter().map(Path::new).chain(names.map(|name| Path::new(name.as_os_str()))).collect()
}

/// `/usr/sbin/nginx.debug`
fn named_debug(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".debug");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_this_machine() {
        let module = Module { name: "/usr/sbin/nginx".into(), build_id: "abcdef".into() };
        let paths = of_module(&module, &["sym".into()]);
        let expected = [
            "sym/.build-id/ab/cdef.debug",
            "sym/.build-id/ab/cdef",
            "sym/abcdef.debug",
            "sym/abcdef",
            "sym/usr/lib/debug/.build-id/ab/cdef.debug",
            "sym/usr/lib/debug/.build-id/ab/cdef",
            "sym/usr/lib/debug/usr/sbin/nginx.debug",
            "sym/usr/sbin/nginx",
            "/usr/sbin/nginx",
            "/usr/lib/debug/.build-id/ab/cdef.debug",
            "/usr/lib/debug/.build-id/ab/cdef",
        ];
        assert_eq!(paths, expected.map(PathBuf::from));
    }

    #[test]
    fn a_trace_cannot_lead_out_of_a_folder() {
        let module = Module { name: "/../../etc/shadow".into(), build_id: "../../etc/shadow".into() };
        let paths = of_module(&module, &["sym".into()]);
        let expected = ["sym/usr/lib/debug/etc/shadow.debug", "sym/etc/shadow", "/../../etc/shadow"];
        assert_eq!(paths, expected.map(PathBuf::from));
        let anonymous = Module { name: "nginx".into(), build_id: String::new() };
        assert_eq!(of_module(&anonymous, &["sym".into()]), [] as [PathBuf; 0]);
    }
}
