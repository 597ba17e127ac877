// The list of runs: search, filters, order and pages. Texts are set as text, never as HTML.
"use strict";
(() => {
  if (!document.getElementById("rows")) return;
  const PAGE = 50;
  const { keys, runs } = window.dsmlRuns;
  const find = (id) => document.getElementById(id);
  const filters = ["status", "experiment", "pipeline"].filter(find);
  const has = (field) => runs.some((run) => run[field]);
  const columns = [
    { name: "Run", of: (run) => run.id },
    { name: "Status", of: (run) => run.status },
    { name: "Pipeline", of: (run) => run.pipeline, hidden: !find("pipeline") },
    { name: "Experiment", of: (run) => run.experiment },
    { name: "Partition", of: (run) => run.partition, hidden: !has("partition") },
    { name: "Started", of: (run) => run.started },
    { name: "Took", of: (run) => run.seconds, number: true },
    { name: "Who", of: (run) => run.user, hidden: !has("user") },
    { name: "Commit", of: (run) => run.commit, hidden: !has("commit") },
    ...keys.map((key, index) => ({ name: key, of: (run) => run.metrics[index], number: true, metric: true })),
  ].filter((column) => !column.hidden);
  const chosen = new Set();
  let order = { column: columns.find((column) => column.name === "Started"), down: true };
  let page = 0;

  // What is looked at is in the address, so that it is still there when one comes back.
  const read = () => {
    const words = new URLSearchParams(location.hash.slice(1));
    find("search").value = words.get("q") || "";
    for (const name of filters) find(name).value = words.get(name) || "";
    const sorted = columns.find((column) => column.name === words.get("sort"));
    if (sorted) order = { column: sorted, down: words.get("down") === "1" };
    page = Number(words.get("page") || 1) - 1;
  };
  const remember = () => {
    const words = new URLSearchParams();
    if (find("search").value) words.set("q", find("search").value);
    for (const name of filters) if (find(name).value) words.set(name, find(name).value);
    if (order.column.name !== "Started" || !order.down) {
      words.set("sort", order.column.name);
      if (order.down) words.set("down", "1");
    }
    if (page) words.set("page", page + 1);
    location.replace(`#${words}`);
  };

  const make = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const address = (run, file = "index.html") => `runs/${encodeURIComponent(run.id)}/${file}`;
  const signs = { passed: "✓", failed: "✕", killed: "✕", cancelled: "■", running: "●" };
  const shown = (value) => {
    if (value === null || value === undefined) return "";
    return typeof value === "number" ? String(Number(value.toPrecision(6))) : value;
  };

  const matching = () => {
    const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    return runs.filter((run) => {
      if (filters.some((name) => find(name).value && run[name] !== find(name).value)) return false;
      const text = [run.id, run.status, run.pipeline, run.experiment, run.partition, run.user,
        run.by, run.commit, run.started, ...run.bad].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
  };
  const isMissing = (value) => value === null || value === undefined || value === "";
  const sorted = (found) => {
    const { column, down } = order;
    return [...found].sort((one, other) => {
      const [a, b] = [column.of(one), column.of(other)];
      if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
      const less = a < b ? -1 : a > b ? 1 : 0;
      return down ? -less : less;
    });
  };

  // The values of a metric over time, the oldest run on the left.
  const spark = (column, found) => {
    const inTime = [...found].sort((a, b) => (a.started < b.started ? -1 : 1));
    const values = inTime.map(column.of).filter((value) => typeof value === "number");
    if (values.length < 2) return null;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const y = (value) => (high > low ? 24 - ((value - low) / (high - low)) * 20 : 14);
    const x = (index) => 3 + (index / (values.length - 1)) * 104;
    const draw = (tag, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      return made;
    };
    const told = `${column.name} over ${values.length} runs: ${shown(low)} to ${shown(high)}, at last ${shown(values.at(-1))}`;
    const picture = draw("svg", { viewBox: "0 0 112 28", class: "spark", role: "img" });
    const title = draw("title", {});
    title.textContent = told;
    const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`);
    const last = values.length - 1;
    picture.append(title, draw("polyline", { points: points.join(" ") }),
      draw("circle", { cx: x(last), cy: y(values[last]), r: 2.6 }));
    return picture;
  };

  const headings = (found) => {
    const row = find("headings");
    row.replaceChildren();
    const box = make("th", undefined, { scope: "col" });
    box.append(make("span", "Compare", { class: "hidden" }));
    row.append(box);
    for (const column of columns) {
      const cell = make("th", undefined, { scope: "col" });
      if (column.number) cell.className = "number";
      const isSorted = column === order.column;
      if (isSorted) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      const picture = column.metric && spark(column, found);
      if (picture) cell.append(picture);
      const button = make("button", undefined, { type: "button" });
      const split = column.metric ? column.name.lastIndexOf(".") : -1;
      if (split > 0) button.append(make("small", column.name.slice(0, split)), " ");
      button.append(column.name.slice(split + 1));
      if (isSorted) button.append(make("span", order.down ? " ↓" : " ↑", { "aria-hidden": "true" }));
      button.addEventListener("click", () => {
        const down = isSorted ? !order.down : column.number || column.name === "Started";
        order = { column, down };
        page = 0;
        update();
        [...find("headings").querySelectorAll("button")][columns.indexOf(column)].focus();
      });
      cell.append(button);
      row.append(cell);
    }
  };

  const cell = (column, run) => {
    const made = make(column.name === "Run" ? "th" : "td");
    if (column.number) made.className = "number";
    if (column.name === "Run") {
      made.scope = "row";
      const link = make("a", undefined, { href: address(run) });
      link.append(make("code", run.short));
      made.append(link);
      for (const [step, attempt] of run.reports) {
        const file = `${encodeURIComponent(step)}/${attempt}/report.html`;
        made.append(" ", make("a", "report", { href: address(run, file), "aria-label": `Report ${step} of run ${run.short}` }));
      }
    } else if (column.name === "Status") {
      const badge = make("span", undefined, { class: `badge ${run.status}` });
      badge.append(make("span", signs[run.status] || "○", { "aria-hidden": "true" }), ` ${run.status}`);
      made.append(badge);
      if (run.bad.length) made.title = run.bad.join(", ");
    } else if (column.name === "Started") {
      made.append(make("time", run.started.slice(0, 16).replace("T", " "), { datetime: run.started }));
    } else if (column.name === "Took") {
      made.textContent = run.took;
    } else if (column.name === "Commit" && run.commit) {
      made.append(make("code", run.commit));
      if (run.dirty) made.append(make("span", " + changes", { class: "quiet" }));
    } else {
      made.textContent = shown(column.of(run));
    }
    return made;
  };

  const row = (run) => {
    const made = make("tr");
    const box = make("input", undefined, { type: "checkbox", "aria-label": `Compare run ${run.short}` });
    box.checked = chosen.has(run.id);
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(run.id);
      else chosen.delete(run.id);
      choose();
    });
    const first = make("td");
    first.append(box);
    made.append(first, ...columns.map((column) => cell(column, run)));
    return made;
  };

  const choose = () => {
    find("compare").textContent = chosen.size ? `Compare ${chosen.size} runs` : "Compare";
    find("compare").href = `compare.html#${[...chosen].map(encodeURIComponent).join(",")}`;
  };

  const update = () => {
    const found = sorted(matching());
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    headings(found);
    find("rows").replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(row));
    find("count").textContent = found.length === runs.length
      ? `${runs.length} runs` : `${found.length} of ${runs.length} runs`;
    find("page").textContent = `Page ${page + 1} of ${pages}`;
    find("newer").disabled = page === 0;
    find("older").disabled = page === pages - 1;
    document.querySelector("nav.pages").hidden = pages === 1;
    remember();
  };

  const turn = (by) => {
    page += by;
    update();
    find("main").scrollIntoView();
  };
  find("search").addEventListener("input", () => { page = 0; update(); });
  for (const name of filters) find(name).addEventListener("change", () => { page = 0; update(); });
  find("filter").addEventListener("submit", (event) => event.preventDefault());
  find("newer").addEventListener("click", () => turn(-1));
  find("older").addEventListener("click", () => turn(1));
  read();
  update();
  choose();
})();
