// Runs beside each other. Which ones is in the address: compare.html#<run id>,<run id>.
"use strict";
(() => {
  const { runs } = window.dsmlRuns;
  const byId = new Map(runs.map((run) => [run.id, run]));
  const find = (id) => document.getElementById(id);
  const table = document.querySelector("table.compare");
  const KINDS = ["parameter", "fact", "metric"];
  window.dsmlValues = {};

  const make = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const decode = (text) => {
    try { return decodeURIComponent(text); } catch { return text; }
  };
  const wanted = () => [...new Set(location.hash.slice(1).split(",").filter(Boolean).map(decode))]
    .filter((id) => byId.has(id));
  const go = (ids) => { location.hash = ids.map(encodeURIComponent).join(","); };

  // A page on disk can load scripts and nothing else; each run has its values in one.
  const load = (id) => new Promise((resolve) => {
    if (window.dsmlValues[id]) return resolve();
    const made = make("script", undefined, { src: `runs/${encodeURIComponent(id)}/data.js` });
    made.addEventListener("load", resolve);
    made.addEventListener("error", resolve);
    document.head.append(made);
  });

  // The rows: a parameter, a fact or a metric each, with its value in each of the runs.
  const rowsOf = (ids) => {
    const found = new Map();
    ids.forEach((id, index) => {
      for (const [kind, step, name, value, text] of window.dsmlValues[id] || []) {
        const key = JSON.stringify([kind, step, name]);
        if (!found.has(key)) found.set(key, { kind, step, name, values: Array(ids.length) });
        found.get(key).values[index] = { value, text };
      }
    });
    return [...found.values()];
  };
  const plain = (entry) => (entry === undefined ? undefined : JSON.stringify(entry.value));
  const differs = (row) => [...row.values].some((entry) => plain(entry) !== plain(row.values[0]));
  const delta = (entry, first) => {
    if (typeof entry.value !== "number" || !first || typeof first.value !== "number") return "";
    const by = entry.value - first.value;
    return by ? `${by > 0 ? "+" : "−"}${Number(Math.abs(by).toPrecision(3))}` : "±0";
  };

  const cell = (row, index) => {
    const entry = row.values[index];
    const made = make("td", entry ? entry.text : "–");
    if (row.kind === "metric") {
      made.className = "number";
      const by = index && entry ? delta(entry, row.values[0]) : "";
      if (by) made.append(make("span", by, { class: "delta" }));
    } else if (index && plain(entry) !== plain(row.values[0])) {
      made.className = "marked";
      made.append(make("span", " ≠", { "aria-hidden": "true" }), make("span", " differs from the first run", { class: "hidden" }));
    }
    return made;
  };

  const heading = (id, ids) => {
    const run = byId.get(id);
    const made = make("th", undefined, { scope: "col" });
    const link = make("a", undefined, { href: `runs/${encodeURIComponent(id)}/index.html` });
    link.append(make("code", run.short));
    const remove = make("button", "Remove", { type: "button", "aria-label": `Remove run ${run.short}` });
    remove.addEventListener("click", () => { go(ids.filter((other) => other !== id)); find("run").focus(); });
    made.append(link, make("small", `${run.status}, ${run.experiment}`),
      make("small", run.started.slice(0, 16).replace("T", " ")), remove);
    return made;
  };

  const show = (ids) => {
    const all = rowsOf(ids);
    const only = find("different").checked && ids.length > 1;
    const rows = only ? all.filter(differs) : all;
    for (const body of [...table.tBodies]) body.remove();
    find("headings").replaceChildren();
    if (ids.length) {
      find("headings").append(make("td"), ...ids.map((id) => heading(id, ids)));
    }
    for (const kind of KINDS) {
      const body = make("tbody");
      const ofKind = rows.filter((row) => row.kind === kind);
      const title = make("tr", undefined, { class: "kind" });
      title.append(make("th", `${kind}s`, { colspan: ids.length + 1, scope: "rowgroup" }));
      body.append(title);
      for (const row of ofKind) {
        const line = make("tr");
        const name = make("th", undefined, { scope: "row" });
        name.append(make("small", row.step), row.name);
        line.append(name, ...ids.map((_, index) => cell(row, index)));
        body.append(line);
      }
      if (ofKind.length) table.append(body);
    }
    find("count").textContent = ids.length ? `${ids.length} runs, ${all.filter(differs).length} differences` : "";
    find("caption").textContent = !ids.length ? "Choose runs here, or in the list of runs."
      : rows.length ? "≠ marks what a step was given that is not as in the first run; metrics show how far they are from it."
        : "These runs are the same in all that was given and logged.";
  };

  const update = async () => {
    const ids = wanted();
    const left = runs.filter((run) => !ids.includes(run.id));
    find("run").replaceChildren(...left.map((run) => make("option",
      `${run.short} ${run.status}, ${run.experiment}, ${run.started.slice(0, 16).replace("T", " ")}`, { value: run.id })));
    document.querySelector("#choose button").disabled = !left.length;
    await Promise.all(ids.map(load));
    show(ids);
  };

  find("choose").addEventListener("submit", (event) => {
    event.preventDefault();
    if (find("run").value) go([...wanted(), find("run").value]);
  });
  find("different").addEventListener("change", () => show(wanted()));
  window.addEventListener("hashchange", update);
  update();
})();
