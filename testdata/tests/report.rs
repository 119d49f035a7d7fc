//! The report page in a real browser: it loads without a word of complaint, asks nobody for anything, its controls work
//! by mouse and by keyboard, and it is right on dark screens and on paper.

use std::path::{Path, PathBuf};
use std::process::Command;

use testdata::{analyze, fixture};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const FIXTURES: [&str; 5] = ["gc64", "nogc64", "threads", "nginx", "sampled"];

/// The report of a fixture, in a folder.
fn report(name: &str, folder: &Path) -> Result<(PathBuf, String)> {
    let page = folder.join(format!("{name}.html"));
    let output = analyze(["report".as_ref(), fixture(name).as_os_str(), "-o".as_ref(), page.as_os_str()])?;
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let html = std::fs::read_to_string(&page)?;
    Ok((page, html))
}

/// What the browser makes of a page: what it prints, and what it has to complain about.
fn browse(page: &Path, folder: &Path, how: &[&str]) -> Result<(String, String)> {
    let mut browser = Command::new("timeout");
    browser.args(["--kill-after=5", "90", "chromium", "--headless", "--no-sandbox", "--disable-gpu"]);
    // Nothing of its own may reach for the network either.
    browser.args(["--disable-background-networking", "--disable-sync", "--no-first-run", "--enable-logging=stderr"]);
    browser.args(["--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1100,1400"]);
    browser.arg(format!("--user-data-dir={}", folder.join("browser").display()));
    let output = browser.args(how).arg(format!("file://{}", page.display())).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{how:?}: {said}");
    let complaints: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), complaints.join("\n")))
}

/// The page after a script has worked on it: what that wrote into the body's `data-said`.
fn after(script: &str, html: &str, folder: &Path, how: &[&str]) -> Result<String> {
    let page = folder.join("driven.html");
    let script =
        format!("<script>\nconst said = [];\n{script}\ndocument.body.dataset.said = said.join(\"|\");\n</script>");
    std::fs::write(&page, html.replace("</body>", &format!("{script}</body>")))?;
    let (dom, complaints) = browse(&page, folder, &[how, &["--dump-dom"]].concat())?;
    assert_eq!(complaints, "");
    let (_, rest) = dom.split_once("data-said=\"").ok_or("the script did not run to its end")?;
    Ok(rest.split('"').next().unwrap_or("").to_owned())
}

#[test]
fn it_loads_without_complaint_and_asks_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for name in FIXTURES {
        let (page, html) = report(name, folder.path())?;
        assert!(html.len() < 2_000_000, "{name}: {} bytes", html.len());
        let (dom, complaints) = browse(&page, folder.path(), &["--dump-dom"])?;
        assert_eq!(complaints, "", "{name}");
        assert!(dom.contains("id=\"terms\"") && dom.trim_end().ends_with("</html>"), "{name}");
        // Names of XML are no addresses; nothing else may be one.
        let addresses = html.replace("http://www.w3.org/2000/svg", "");
        for needle in ["http:", "https:", " src=", "@import", "url(", "<link"] {
            assert!(!addresses.contains(needle), "{name}: {needle}");
        }
    }
    // The ear must be able to hear: a page that does complain.
    let wrong = folder.path().join("wrong.html");
    std::fs::write(&wrong, "<!DOCTYPE html><script>nothing.there()</script>")?;
    assert!(browse(&wrong, folder.path(), &["--dump-dom"])?.1.contains("nothing is not defined"));
    Ok(())
}

#[test]
fn tables_sort_and_definitions_show() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_, html) = report("sampled", folder.path())?;
    let script = r##"
        const table = document.querySelector("#stats table");
        table.closest("details").open = true;
        const at = [...table.rows[0].cells].findIndex((head) => head.textContent.startsWith("bytes"));
        const head = table.rows[0].cells[at];
        const values = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[at].dataset.v));
        const sorted = (sign) => values().every((value, i, all) => i === 0 || sign * (all[i - 1] - value) <= 0);
        const before = values();
        const press = () => head.querySelector("button.sort").click();
        said.push(sorted(1) || sorted(-1));
        press(); said.push(head.getAttribute("aria-sort"), sorted(-1));
        press(); said.push(head.getAttribute("aria-sort"), sorted(1));
        said.push(before.length > 10, before.sort().join() === values().sort().join());
        const term = document.querySelector("#figures .term");
        const shown = () => getComputedStyle(term.querySelector(".tip")).display;
        said.push(shown());
        term.querySelector("button").focus();
        said.push(document.activeElement === term.querySelector("button"), shown());
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
        said.push(shown());
        const links = [...document.querySelectorAll("nav a")];
        said.push(links.length > 3 && links.every((link) => document.querySelector(link.getAttribute("href"))));
        const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
        said.push(new Set(ids).size === ids.length);
        const pictures = [...document.querySelectorAll("figure svg")];
        said.push(pictures.length > 2 && pictures.every((svg) => svg.querySelector("title").textContent !== ""));
        said.push(document.documentElement.scrollWidth <= innerWidth);
    "##;
    let said = after(script, &html, folder.path(), &[])?;
    let expected = "false|descending|true|ascending|true|true|true|none|true|block|none|true|true|true|true";
    assert_eq!(said, expected);
    Ok(())
}

#[test]
fn it_is_dark_where_screens_are_and_light_on_paper() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (page, html) = report("sampled", folder.path())?;
    let script = r##"
        const paper = getComputedStyle(document.body).backgroundColor;
        const sheet = document.querySelector("figure svg rect");
        said.push(paper, getComputedStyle(sheet).fill === paper);
    "##;
    assert_eq!(after(script, &html, folder.path(), &[])?, "rgb(255, 255, 255)|true");
    let dark = ["--blink-settings=preferredColorScheme=0"];
    assert_eq!(after(script, &html, folder.path(), &dark)?, "rgb(21, 24, 28)|true");
    let paper = folder.path().join("page.pdf");
    let print = format!("--print-to-pdf={}", paper.display());
    assert_eq!(browse(&page, folder.path(), &[&print, "--no-pdf-header-footer"])?.1, "");
    let text = testdata::run(Command::new("pdftotext").arg(&paper).arg("-"))?;
    assert_eq!(text.code, 0, "{}", text.stderr);
    let text = String::from_utf8(text.stdout)?;
    assert!(text.contains("verified") && text.contains("What it means"), "{text}");
    Ok(())
}
