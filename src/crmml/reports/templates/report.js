"use strict";
document.querySelectorAll("table").forEach((table) => {
  const body = table.tBodies[0];
  table.querySelectorAll("button[data-sort]").forEach((button) => {
    button.addEventListener("click", () => {
      const column = Number(button.dataset.sort);
      const head = button.parentElement;
      const down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value;
      const rows = Array.from(body.rows).sort((a, b) => {
        const x = Number(key(a)), y = Number(key(b));
        const order = key(a) !== "" && key(b) !== "" && !isNaN(x) && !isNaN(y)
          ? x - y : key(a).localeCompare(key(b));
        return down ? -order : order;
      });
      rows.forEach((row) => body.appendChild(row));
    });
  });
  const filter = table.closest("figure").querySelector("input[data-filter]");
  if (filter) {
    filter.addEventListener("input", () => {
      const asked = filter.value.trim().toLowerCase();
      Array.from(body.rows).forEach((row) => {
        row.hidden = asked !== "" && !row.textContent.toLowerCase().includes(asked);
      });
    });
  }
});
