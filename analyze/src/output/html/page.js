"use strict";
// Tables sort by the column whose head is pressed; pressed again, the other way round.
for (const button of document.querySelectorAll("th > button.sort")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const table = head.closest("table");
    const body = table.tBodies[0];
    const at = head.cellIndex;
    const numbers = !head.classList.contains("words");
    const first = numbers ? "descending" : "ascending";
    const second = numbers ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[at].dataset.v ?? row.cells[at].textContent;
    // What has no value stays last.
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (numbers ? Number(x) - Number(y) : x.localeCompare(y));
    };
    body.append(...[...body.rows].sort(compare));
  });
}
// Escape puts a definition away.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.activeElement?.closest(".term")) document.activeElement.blur();
});
