// The CPU wall: asks the API once a second what has changed, and changes only that on the page.

import { refreshActions } from "./actions.js";
import { linkToCpu, show, shown } from "./address.js";
import { showCpu } from "./cpu.js";
import { refreshItems } from "./items.js";
import { AIRFLOW, byId, duration, element, fetchJson, link, messageOf, number, setText, tenths } from "./page.js";
import { refreshProgram } from "./program.js";
import { showStrip } from "./strip.js";
import { allCpus, focusTile, showTiles } from "./tiles.js";

const SECOND = 1000; // milliseconds
const RATE_SECONDS = 10;
const ARTICLE_HZ = 0.1;
const ITEMS = "items:"; // before the name of an items run in the list of runs

let runId = new URLSearchParams(location.search).get("run"); // a DAG run whose start run is not known yet
let samples = []; // [time, cycles of all CPUs] of the last seconds
let latest = null; // the last answer of the API
let isOver = false; // whether nothing changes any more
let polls = 0;

// ------------------------------------------------------------------ the choice of a run

async function loadRuns() {
  // Who may not see the runs of DAG items sees start runs only.
  const [starts, itemsRuns] = await Promise.all([fetchJson("starts"), fetchJson("items").catch(() => [])]);
  if (runId !== null) selectByRunId(starts, itemsRuns);
  if (runId === null && !shown.start && !shown.items) {
    shown.start = starts[0]?.start ?? "";
    if (!shown.start) shown.items = itemsRuns[0]?.items ?? "";
  }
  const groups = [
    createGroup("Start runs", "", shown.items ? "" : shown.start, starts.map((one) => [one.start, one.triggered])),
    createGroup("Items runs", ITEMS, shown.items, itemsRuns.map((one) => [one.items, one.triggered])),
  ];
  byId("start").replaceChildren(...groups.filter((group) => group.childElementCount));
  byId("start").value = shown.items ? ITEMS + shown.items : shown.start;
  showKind();
  const selected = !shown.items && starts.find((one) => one.start === shown.start);
  if (!shown.items) byId("dag-run").replaceChildren(...(selected ? [link(`${AIRFLOW}/dags/cpu_start/runs/${encodeURIComponent(selected.run_id)}`, "DAG run of cpu_start")] : []));
}

// An option for each of these runs, and for the one that is shown if it is none of them.
function createGroup(label, prefix, current, runs) {
  const options = runs.map(([name, triggered]) => element("option", { value: prefix + name }, `${name} (${new Date(triggered * SECOND).toLocaleString()})`));
  if (current && !runs.some(([name]) => name === current)) options.push(element("option", { value: prefix + current }, current));
  return element("optgroup", { label }, ...options);
}

// Shows what belongs to the kind of run: CPUs or items.
function showKind() {
  const [start, items] = [shown.items ? "" : shown.start, shown.items];
  byId("copy-start").dataset.copy = start || items;
  byId("copy-start").hidden = !start && !items;
  byId("items-run").hidden = !items;
  byId("start-run").hidden = Boolean(items);
  for (const one of document.querySelectorAll(".of-cpus")) one.hidden = Boolean(items);
  for (const one of document.querySelectorAll(".of-start")) one.hidden = !start;
  if (items) byId("open-cancel").hidden = true;
  byId("no-start-runs").hidden = Boolean(start || items) || runId !== null;
  byId("not-stored").hidden = runId === null;
}

// Selects the run, and perhaps the CPU, of the DAG run that the page was opened for.
function selectByRunId(starts, itemsRuns) {
  const cycle = runId.match(/^([a-z0-9-]+)\.cpu-(\d+)\./);
  shown.start = cycle ? cycle[1] : starts.find((one) => one.run_id === runId)?.start ?? "";
  if (cycle) shown.cpu = cycle[2];
  if (!shown.start) shown.items = itemsRuns.find((one) => one.run_id === runId)?.items ?? "";
  if (shown.start || shown.items) runId = null;
}

// ------------------------------------------------------------------ all CPUs

function showWall(wall) {
  samples = samples.filter(([time]) => wall.now - time <= RATE_SECONDS);
  samples.push([wall.now, wall.cycles]);
  const [oldest, cyclesThen] = samples[0];
  const [seconds, lifetime] = [wall.now - oldest, (wall.ended ?? wall.now) - wall.stored];
  latest = wall;
  showTiles(wall.start, wall.cpus, wall.complete);
  const cpus = allCpus();
  showAnswer("1", wall.part1, wall, cpus);
  showAnswer("2", wall.part2, wall, cpus);
  setText(byId("stopped"), `${number.format(wall.stopped)} of ${number.format(wall.count)}`);
  byId("progress").max = wall.count;
  byId("progress").value = wall.stopped;
  setText(byId("cycles"), number.format(wall.cycles));
  setText(byId("hz"), seconds ? `${tenths.format(Math.max(wall.cycles - cyclesThen, 0) / seconds)} Hz` : "–");
  setText(byId("hz-since-start"), lifetime ? timesTheArticle(wall.cycles / lifetime) : "–");
  setText(byId("pods"), number.format(wall.pods));
  setText(byId("pods-created"), number.format(wall.pods_created));
  setText(byId("elapsed"), duration(lifetime));
  setText(byId("expected"), wall.cancelled ? "cancelled" : duration(wall.expected));
  showStrip(wall, cpus);
}

function timesTheArticle(hz) {
  const times = hz / ARTICLE_HZ;
  return `${tenths.format(hz)} Hz, ${(times < 10 ? tenths : number).format(times < 10 ? times : Math.round(times))} × the article's`;
}

function showAnswer(part, known, wall, cpus) {
  setText(byId(`part${part}`), known?.text ?? missingAnswer(part, wall, cpus));
  setText(byId(`part${part}-of`), known?.cpu ? `found by CPU ${known.cpu}` : "");
  byId(`answer${part}`).classList.toggle("known", Boolean(known));
  byId(`copy-part${part}`).hidden = !known;
  byId(`copy-part${part}`).dataset.copy = known?.text ?? "";
}

function missingAnswer(part, wall, cpus) {
  if (wall.cancelled) return "cancelled";
  return cpus.some((cpu) => (part === "1") === (cpu.cpu === 0)) ? "not known yet" : "not asked for";
}

// ------------------------------------------------------------------ one CPU

function openDialog(cpu) {
  show({ cpu });
  byId("copy-link").dataset.copy = linkToCpu(cpu);
  if (!byId("cpu").open) byId("cpu").showModal();
  return refresh();
}

// ------------------------------------------------------------------ tabs

function showTab() {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const selected = tab.dataset.tab === shown.tab;
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !selected;
  }
}

function selectTab(tab) {
  show({ tab: tab.dataset.tab });
  showTab();
  tab.focus();
  return refresh();
}

// ------------------------------------------------------------------ once a second

async function refresh() {
  try {
    if (!shown.start && !shown.items) await loadRuns();
    if (shown.items) isOver = await refreshItems(shown.items);
    else if (shown.start) await refreshStart(shown.start, shown.cpu);
    setText(byId("error"), "");
  } catch (error) {
    setText(byId("error"), messageOf(error));
  }
}

async function refreshStart(start, shownCpu) {
  const path = `starts/${encodeURIComponent(start)}`;
  const since = latest?.start === start ? `?since=${latest.version}` : "";
  const [wall, cpu] = await Promise.all([fetchJson(path + since), shownCpu === "" ? null : fetchJson(`${path}/cpus/${shownCpu}`)]);
  // People may have chosen another start run or CPU in the meantime.
  if (shown.start !== start) return;
  isOver = wall.ended !== null;
  showWall(wall);
  if (cpu && shown.cpu === shownCpu) showCpu(start, cpu);
  await refreshActions(wall);
  if (shown.tab === "program") await refreshProgram();
}

async function refreshForever() {
  if (!document.hidden) {
    await refresh();
    polls += 1;
    document.documentElement.dataset.polls = polls; // for tests and for the curious
  }
  setTimeout(refreshForever, isOver ? 5 * SECOND : SECOND);
}

// ------------------------------------------------------------------ what people do

byId("start").addEventListener("change", async () => {
  const chosen = byId("start").value;
  const items = chosen.startsWith(ITEMS) ? chosen.slice(ITEMS.length) : "";
  show({ start: items ? "" : chosen, items, cpu: "" });
  samples = [];
  latest = null;
  await loadRuns();
  await refresh();
});
byId("start").addEventListener("focus", () => loadRuns().catch(() => {}));
byId("tiles").addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (!tile || event.ctrlKey || event.metaKey || event.shiftKey) return; // opens another tab or window
  event.preventDefault();
  openDialog(tile.dataset.cpu);
});
document.querySelectorAll(".close").forEach((button) => button.addEventListener("click", () => button.closest("dialog").close()));
byId("tabs").addEventListener("click", (event) => {
  const tab = event.target.closest("[role=tab]");
  if (tab) selectTab(tab);
});
byId("tabs").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
  selectTab(document.querySelector("[role=tab][aria-selected=false]"));
});
byId("open-picture").addEventListener("click", () => {
  const start = shown.start;
  for (const [id, attribute, kind] of [["picture-image", "src", "svg"], ["svg", "href", "svg"], ["png", "href", "png"]]) {
    byId(id).setAttribute(attribute, `api/starts/${encodeURIComponent(start)}/picture.${kind}`);
  }
  byId("svg").download = `${start}.svg`;
  byId("png").download = `${start}.png`;
  byId("picture-image").alt = `The CPUs of start run ${start} over time`;
  byId("picture").showModal();
});
// Airflow shows this page in a frame that may not navigate its window, so Airflow's own router does.
document.addEventListener("click", (event) => {
  const anchor = event.target.closest('a[target="_top"]');
  if (!anchor || parent === window || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  parent.history.pushState(null, "", anchor.href);
  parent.dispatchEvent(new PopStateEvent("popstate", { state: null }));
});
byId("cpu").addEventListener("close", () => {
  const closed = Number(shown.cpu);
  show({ cpu: "" });
  focusTile(closed);
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());

showTab();
try {
  await loadRuns();
} catch (error) {
  setText(byId("error"), messageOf(error));
}
if (shown.cpu !== "") openDialog(shown.cpu);
await refreshForever();
