//! The report page: its pictures and rows are those of the other commands, and its cards are the heaps.

use serde_json::Value;

use crate::json::{bytes, text as word, thousands};
use crate::shown::{between, plain};
use crate::table::Table;
use crate::{SUBJECTS, json_of, printed, run, traces};

/// So many rows have room.
const ROWS: usize = 400;

/// Fails unless a table of the page has the rows of a CSV.
fn assert_has_rows(html: &str, csv: &Table) {
    let head = between(html, "<thead>", "</thead>").expect("a head");
    let columns: Vec<&str> =
        head.split("class=\"sort\">").skip(1).map(|rest| between(rest, "", "<").unwrap()).collect();
    let body = between(html, "<tbody>", "</tbody>").expect("a body");
    let rows: Vec<&str> = body.split("<tr>").skip(1).collect();
    assert_eq!(rows.len(), csv.rows.len().min(ROWS), "rows");
    for (row, cells) in rows.iter().zip(&csv.rows) {
        let shown: Vec<&str> = row.split("<td ").skip(1).collect();
        assert_eq!(shown.len(), columns.len());
        for (cell, column) in shown.iter().zip(&columns) {
            let text = plain(between(cell, ">", "</td>").expect("a cell"));
            match between(cell, "data-v=\"", "\"") {
                Some(raw) => {
                    let same = raw == cells[*column] || raw.parse::<f64>().ok() == cells[*column].parse().ok();
                    assert!(same, "{column}: {raw} is not {}", cells[*column]);
                    let is_whole = raw.parse::<i64>().is_ok() && !column.ends_with("_ns");
                    assert!(
                        !is_whole || text.replace(',', "") == raw || text.contains('.'),
                        "{column}: {text} is not {raw}"
                    );
                }
                None => {
                    let text = text.replace("yes", "true").replace("no", "false");
                    assert!(
                        cells[*column].replace("no", "false") == text,
                        "{column}: {text} is not {}",
                        cells[*column]
                    );
                }
            }
        }
    }
    // What is the same in each row stands above.
    let above = between(html, "In each row: ", "</p>").unwrap_or_default();
    for column in csv.columns.iter().filter(|column| !columns.contains(&column.as_str())) {
        assert!(csv.rows.iter().all(|row| row[column] == csv.rows[0][column]), "{column} is left out");
        assert!(above.contains(&format!("{column} ")), "{column} is not in each row: {above}");
    }
}

/// Each VM's cards, with the figures they sort by.
fn cards(html: &str) -> Vec<String> {
    html.split("<dd data-v=\"").skip(1).map(|card| card.split("</dd>").next().unwrap_or_default().to_owned()).collect()
}

fn expected_cards(json: &Value) -> Vec<String> {
    let vms = json.as_array().map_or(vec![json], |vms| vms.iter().collect());
    let mut cards = Vec::new();
    for vm in vms.into_iter().map(|vm| &vm["ljscope"]) {
        let mut card = |sum: &Value, what: String| {
            cards.push(format!("{sum}\">{}<small>{} bytes, {what}</small>", bytes(sum), thousands(sum)));
        };
        for (name, thing) in [("used", "chunk"), ("free", "chunk"), ("segments", "segment"), ("direct", "block")] {
            let population = &vm["populations"][name];
            let count = population["count"].as_u64().expect("a count");
            card(&population["bytes"], analyze::output::words::count(count, thing));
        }
        card(&vm["overhead_bytes"], "outside of chunks".to_owned());
        card(&vm["gc_total"], "counted by the collector".to_owned());
    }
    cards
}

/// A picture as it stands in a page: without its script, and what needs that.
fn without_script(svg: &str) -> String {
    match (svg.find("<script"), svg.find("<svg id=\"frames\"")) {
        (Some(script), Some(frames)) => svg[..script].replace(" onload=\"init(evt)\"", "") + &svg[frames..],
        _ => svg.to_owned(),
    }
}

#[test]
fn a_page_has_the_pictures_and_rows_of_the_commands() {
    for trace in std::fs::read_dir(traces()).expect("traces") {
        let trace = trace.expect("a trace").file_name().into_string().expect("text");
        if !trace.ends_with(".ljt") {
            continue;
        }
        let html = String::from_utf8(run(["report", &trace]).stdout).expect("text");
        let stats = json_of(&format!("stats {trace}"));
        assert_eq!(cards(&html), expected_cards(&stats), "{trace}");
        let judgement = word(&stats.get(0).unwrap_or(&stats)["ljscope"]["verdict"]["judgement"]).to_owned();
        assert!(html.contains(&format!("<strong>{judgement}</strong>")), "{trace}");
        let mut sections = 0;
        for command in SUBJECTS.map(|subject| subject.command) {
            let Some(section) = between(&html, &format!("<section id=\"{command}\">"), "</section>") else { continue };
            sections += 1;
            let line = format!("{command} {trace}");
            let picture = between(section, "<figure>", "</figure>").expect("a picture");
            let alone = without_script(&printed(&line, "svg"));
            assert!(alone.trim() == picture.trim(), "{line}: the picture is not that of the command");
            println!("{line}");
            assert_has_rows(section, &Table::of_csv(&printed(&line, "csv")));
        }
        assert_eq!(sections, html.matches("<section id=").count() - 2, "all sections but the first and the last");
        assert!(sections >= 4, "{trace}");
    }
}
