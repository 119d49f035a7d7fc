//! Maps as text, in 80 columns: first how far they can be trusted.

use std::io::{self, Write};

use super::words as map_words;
use crate::metrics::map::grid::{Grid, ROW_CELLS, Row};
use crate::metrics::map::{By, Cell, GROUPS, Map, Mapping, Mix, Standing};
use crate::output::text::{brief, paragraph, plain_table, right_but_first};
use crate::output::{Options, Output, words};
use crate::report::{MapReport, Moment, VmMaps};

/// Columns of an address and the space behind it.
const ADDRESS: usize = 16;
/// An eighth to all of a cell is in use.
const SHARES: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const DIRECT: char = '▒';
const OWN: char = 'o';
const BINNED: char = '·';
const DV: char = 'v';
const TOP: char = '-';

/// Writes the verdict in brief, then each VM.
pub(super) fn write(report: &MapReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    brief(report.origin(), options, out)?;
    for vm in &report.vms {
        writeln!(out)?;
        let title = words::name(&vm.title(&report.processes), options.width);
        paragraph(out, options, &options.bold(&title))?;
        paragraph(out, options, &words::name(&words::build(&vm.vm), options.width))?;
        let columns = Columns::of(options);
        let column = words::bytes(vm.grid.cell.saturating_mul(columns.cells));
        paragraph(out, options, &format!("{}; a character is {column}", map_words::scale(&vm.grid)))?;
        paragraph(out, options, &legend(report.by))?;
        for (moment, map) in &vm.maps {
            writeln!(out)?;
            self::map((report.by, vm), moment, map, options, out)?;
        }
        if !vm.without.is_empty() {
            writeln!(out)?;
        }
        for without in &vm.without {
            paragraph(out, options, &map_words::without(without))?;
        }
    }
    Ok(())
}

/// What the characters mean.
fn legend(by: By) -> String {
    let used = match by {
        By::Allocator => format!("{} to {} used, an eighth to all of it", SHARES[0], SHARES[7]),
        By::Kind => {
            let groups = GROUPS.iter().map(|group| format!("{} {}", group.letter, group.name));
            format!("used, by what there is most of: {}", groups.collect::<Vec<_>>().join("; "))
        }
    };
    let direct = if by == By::Allocator { format!("; {DIRECT} direct block") } else { String::new() };
    format!("{used}; {BINNED} free, {DV} dv, {TOP} top; {OWN} the allocator's own{direct}")
}

fn map((by, vm): (By, &VmMaps), moment: &Moment, map: &Map, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    paragraph(out, options, &options.bold(&words::moment(moment)))?;
    if let Some(short_of) = words::short_of(moment) {
        paragraph(out, options, &short_of)?;
    }
    paragraph(out, options, &map_words::sums(map))?;
    if by == By::Kind {
        paragraph(out, options, &map_words::kinds(&map.sum.kinds))?;
    }
    writeln!(out)?;
    let columns = Columns::of(options);
    for row in &vm.grid.rows {
        let picture = columns.picture(by, &vm.grid, row, map);
        let address = map_words::address(row);
        let address = if row.goes_on { options.paint("2", &address) } else { address };
        writeln!(out, "{}", format!("{address}  {picture}").trim_end())?;
    }
    if let Some(rest) = map_words::rest(&vm.grid.rest(map)) {
        paragraph(out, options, &rest)?;
    }
    writeln!(out)?;
    remarkable(vm, map, options, out)
}

/// The segments that stand out: in sum, and the first ones one by one.
fn remarkable(vm: &VmMaps, map: &Map, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    paragraph(out, options, &map_words::remarkable(map))?;
    let remarkable = map.remarkable();
    if remarkable.is_empty() {
        return Ok(());
    }
    let told = map_words::told(vm);
    let mut table = plain_table();
    table.set_header(["segment", "size", "free", "in runs", "largest", "pinned by"]);
    for mapping in remarkable.iter().take(told) {
        let Mapping { base, size, free_runs, largest_free, .. } = **mapping;
        let free = mapping.mix.free();
        table.add_row([
            format!("{base:#014x}"),
            words::bytes(size),
            words::bytes(free),
            words::thousands(free_runs),
            words::bytes(largest_free),
            map_words::pinned_by(mapping),
        ]);
    }
    right_but_first(&mut table);
    writeln!(out, "{}", table.trim_fmt())?;
    if remarkable.len() > told {
        paragraph(out, options, &format!("and {} more", words::thousands((remarkable.len() - told) as u64)))?;
    }
    let kept = |mapping: &&&Mapping| mapping.standing == Standing::WhollyFree && mapping.kept_for_good;
    if remarkable.iter().any(|mapping| kept(&mapping)) {
        paragraph(out, options, "kept: of the shape that builds before 9b5e837a (2024-04-19) never return")?;
    }
    Ok(())
}

/// How cells become characters.
struct Columns {
    /// Cells of a character.
    cells: u64,
}

impl Columns {
    fn of(options: &Options) -> Columns {
        Columns { cells: ROW_CELLS.div_ceil(options.width.saturating_sub(ADDRESS).max(1) as u64) }
    }

    /// A row in characters.
    fn picture(&self, by: By, grid: &Grid, row: &Row, map: &Map) -> String {
        let mut mixes = vec![Mix::default(); row.cells.div_ceil(self.cells) as usize];
        for Cell { base, mix } in grid.cells(row, map) {
            let at = (base - row.base) / grid.cell / self.cells;
            if let Some(column) = mixes.get_mut(at as usize) {
                column.add(mix);
            }
        }
        mixes.iter().map(|mix| character(by, mix)).collect()
    }
}

/// A stretch in a character: the share that is used, of what is mapped of it, or what most of that is; if nothing is used,
/// what there is most of.
fn character(by: By, mix: &Mix) -> char {
    let mapped = mix.mapped();
    if mapped == 0 {
        return ' ';
    }
    let used = mix.used + mix.direct;
    if by == By::Kind && used > 0 {
        // Of equal ones the first.
        let most = GROUPS.iter().rev().max_by_key(|group| group.of(&mix.kinds));
        return most.map_or(OWN, |group| group.letter);
    }
    if mix.direct * 2 > mapped {
        return DIRECT;
    }
    if used > 0 {
        let eighths = (used as f64 / mapped as f64 * 8.0).round() as usize;
        return SHARES[eighths.clamp(1, 8) - 1];
    }
    if mix.own > 0 {
        return OWN;
    }
    let free = [(mix.binned, BINNED), (mix.dv, DV), (mix.top, TOP)];
    free.into_iter().max_by_key(|(bytes, _)| *bytes).map_or(BINNED, |(_, character)| character)
}
