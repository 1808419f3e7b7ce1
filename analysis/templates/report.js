"use strict";
(() => {
  const table = document.querySelector(".results table");
  const tools = document.querySelector(".tools");
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells];
  const state = { column: -1, descending: false };

  // Sorting: a button in each header, and a list of them where headers are not shown.
  const order = document.getElementById("order");
  heads.forEach((head, column) => {
    const name = head.querySelector(".name");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = name.textContent;
    button.addEventListener("click", () => sort(column, state.column === column && !state.descending));
    name.replaceWith(button);
    order.add(new Option(name.textContent + ", up", column + " up"));
    order.add(new Option(name.textContent + ", down", column + " down"));
  });
  order.addEventListener("change", () => {
    const [column, way] = order.value.split(" ");
    sort(Number(column), way === "down");
  });

  function sort(column, descending) {
    Object.assign(state, { column, descending });
    const value = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
    const numbers = [...value.values()].every((text) => text === "" || !Number.isNaN(parseFloat(text)));
    const compare = (a, b) => {
      const [x, y] = [value.get(a), value.get(b)];
      if (x === "" || y === "") return (x === "") - (y === "");  // blanks stay last
      const found = numbers && column > 0 ? parseFloat(x) - parseFloat(y) : x.localeCompare(y, "en", { numeric: true });
      return descending ? -found : found;
    };
    if (column < 0) table.tBodies[0].append(...rows);
    else table.tBodies[0].append(...[...rows].sort(compare));
    heads.forEach((head, at) => {
      if (at === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    order.value = column < 0 ? "-1 up" : column + (descending ? " down" : " up");
  }

  // Filtering: every word must be in the row's label, mode or verdict.
  const words = document.getElementById("filter");
  const verdict = document.getElementById("verdict");
  const count = document.getElementById("count");
  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.dataset.text.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word)) || (verdict.value && row.dataset.valid !== verdict.value);
      shown += !row.hidden;
    }
    count.textContent = shown === rows.length ? "" : shown + " of " + rows.length + " cells";
  }
  words.addEventListener("input", filter);
  verdict.addEventListener("change", filter);
  tools.hidden = false;

  // One tip, for values on figures and for definitions.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "tooltip");
  document.body.append(tip);
  function tell(text, box) {
    tip.textContent = text;
    tip.hidden = false;
    const width = tip.offsetWidth, height = tip.offsetHeight;
    tip.style.left = Math.max(4, Math.min(box.left + box.width / 2 - width / 2, innerWidth - width - 4)) + "px";
    tip.style.top = (box.top > height + 8 ? box.top - height - 6 : box.bottom + 6) + "px";
  }
  const hide = () => { tip.hidden = true; };
  for (const mark of document.querySelectorAll(".marks rect")) {
    const text = mark.firstElementChild.textContent;
    mark.replaceChildren();  // or the browser shows its own tip beside this one
    mark.addEventListener("pointerenter", () => tell(text, mark.getBoundingClientRect()));
    mark.addEventListener("pointerleave", hide);
  }
  for (const link of document.querySelectorAll("a.what")) {
    const show = () => {
      const meaning = document.querySelector(link.getAttribute("href") + " + dd");
      if (meaning) tell(meaning.textContent, link.getBoundingClientRect());
    };
    for (const event of ["pointerenter", "focus"]) link.addEventListener(event, show);
    for (const event of ["pointerleave", "blur", "click"]) link.addEventListener(event, hide);
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", hide, true);

  // A link to a cell opens it.
  function open() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  }
  addEventListener("hashchange", open);
  open();
})();
