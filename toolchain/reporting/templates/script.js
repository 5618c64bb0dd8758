"use strict";
// Tables sort by a click on a column's name; without this script they are as they were written.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.tHead.querySelectorAll("th").forEach((head, column) => {
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        const difference = Number(x) - Number(y);
        return Number.isNaN(difference) ? x.localeCompare(y) : difference;
      };
      const rows = [...body.rows].sort((a, b) => (down ? -compare(a, b) : compare(a, b)));
      table.tHead.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...rows);
    };
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}
// A link to photographs opens the list that they are in, where the browser does not by itself.
const open = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const list = target && target.closest("details");
  if (list && !list.open) { list.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", open);
open();
