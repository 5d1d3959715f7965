// The tab with the program: how many CPUs have executed each line, and how many are at it now.

import { show, shown } from "./address.js";
import { byId, element, fetchJson, number, setText } from "./page.js";
import { allCpus } from "./tiles.js";

const HOTTEST = 5;
const FRESH_MILLISECONDS = 3000;
let rows = []; // of each line: its elements, in the order of the program
let madeFor = "";
let lines = [];
let fetched = 0; // when

export async function refreshProgram() {
  const start = shown.start;
  if (madeFor === start && performance.now() - fetched < FRESH_MILLISECONDS) return;
  const found = await fetchJson(`starts/${encodeURIComponent(start)}/program`);
  if (start !== shown.start) return;
  lines = found;
  fetched = performance.now();
  if (madeFor !== start) createRows(start);
  const all = Math.max(allCpus().length, 1);
  const here = countCpusByLine();
  lines.forEach((line, address) => {
    const row = rows[address];
    setText(row.cpus, `${number.format(line.cpus)} ${line.cpus === 1 ? "CPU" : "CPUs"}`);
    row.item.style.setProperty("--heat", (line.cpus / all).toFixed(3));
    setText(row.here, here[address] ? `▶ ${number.format(here[address])} here now` : "");
  });
  const hottest = [...lines].sort((a, b) => b.cpus - a.cpus || a.line - b.line).slice(0, HOTTEST).filter((line) => line.cpus);
  setText(byId("hottest"), hottest.length
    ? `Hottest: ${hottest.map((line) => `line ${line.line}, ${line.text}: ${number.format(line.cpus)} of ${number.format(all)} CPUs`).join(" · ")}`
    : "No line has been executed yet.");
  sortRows();
}

function createRows(start) {
  madeFor = start;
  rows = lines.map((line) => {
    const [cpus, here] = [element("span", { class: "cpus" }), element("span", { class: "here" })];
    return { item: element("li", {}, element("span", { class: "number" }, String(line.line)), element("code", {}, line.text), cpus, here), cpus, here };
  });
  byId("lines").replaceChildren(...rows.map((row) => row.item));
  byId("copy-program").dataset.copy = lines.map((line) => line.text).join("\n");
}

function sortRows() {
  const order = lines.map((_, address) => address);
  if (shown.lines === "hottest") order.sort((a, b) => lines[b].cpus - lines[a].cpus || a - b);
  const wanted = order.map((address) => rows[address].item);
  if (wanted.some((item, index) => byId("lines").children[index] !== item)) byId("lines").replaceChildren(...wanted);
}

// How many CPUs with a next cycle have each address in their program counter.
function countCpusByLine() {
  const here = {};
  for (const cpu of allCpus()) {
    if (cpu.state === "running") here[cpu.pc] = (here[cpu.pc] ?? 0) + 1;
  }
  return here;
}

byId("line-order").value = shown.lines;
byId("line-order").addEventListener("change", () => {
  show({ lines: byId("line-order").value });
  sortRows();
});
