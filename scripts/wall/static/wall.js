// The CPU wall: asks the API once a second, and changes only those parts of the page that are different.

import { showCpu } from "./cpu.js";
import { AIRFLOW, byId, duration, element, fetchJson, link, number, setText } from "./page.js";
import { focusTile, showTiles } from "./tiles.js";

const SECOND = 1000; // milliseconds
const RATE_SECONDS = 10;

const params = new URLSearchParams(location.search);
let start = params.get("start"); // the start run that is shown
let openCpu = params.get("cpu") === null ? null : Number(params.get("cpu"));
let runId = params.get("run"); // a DAG run whose start run is not known yet
let samples = []; // [time, cycles of all CPUs, Map of CPU number → cycles] of the last seconds
let latest = null; // the last answer of the API

// ------------------------------------------------------------------ the choice of a start run

async function loadStarts() {
  const starts = await fetchJson("starts");
  const options = starts.map((one) => {
    const when = new Date(one.triggered * SECOND).toLocaleString();
    return element("option", { value: one.start }, `${one.start} (${when})`);
  });
  if (start && !starts.some((one) => one.start === start)) options.push(element("option", { value: start }, start));
  byId("start").replaceChildren(...options);
  if (runId !== null) selectByRunId(starts);
  if (runId === null) start ??= starts[0]?.start ?? null;
  byId("start").value = start ?? "";
  byId("no-start-runs").hidden = start !== null || runId !== null;
  byId("not-stored").hidden = runId === null;
  byId("open-picture").hidden = start === null;
  const selected = starts.find((one) => one.start === start);
  const links = selected ? [link(`${AIRFLOW}/dags/cpu_start/runs/${encodeURIComponent(selected.run_id)}`, "DAG run of cpu_start")] : [];
  byId("dag-run").replaceChildren(...links);
}

// Selects the start run, and perhaps the CPU, of the DAG run that the page was opened for.
function selectByRunId(starts) {
  const cycle = runId.match(/^([a-z0-9-]+)\.cpu-(\d+)\./);
  start = cycle ? cycle[1] : starts.find((one) => one.run_id === runId)?.start ?? null;
  openCpu = cycle ? Number(cycle[2]) : openCpu;
  if (start !== null) runId = null;
}

// Keeps the page's address up to date, so that people can copy or reload it.
function updateAddress() {
  const query = new URLSearchParams(start ? { start } : {});
  if (openCpu !== null) query.set("cpu", openCpu);
  history.replaceState(null, "", `?${query}`);
  // In a frame, the address that people see is the one of Airflow's page.
  const framed = `${AIRFLOW}/plugin/cpu-wall${location.pathname}`;
  if (parent !== window && parent.location.pathname === framed) {
    parent.history.replaceState(parent.history.state, "", `${framed}?${query}`);
  }
}

// ------------------------------------------------------------------ all CPUs

function showWall(wall) {
  latest = wall;
  samples.push([wall.now, wall.cycles, new Map(wall.cpus.map((cpu) => [cpu.cpu, cpu.cycle]))]);
  samples = samples.filter(([time]) => wall.now - time <= RATE_SECONDS);
  const [oldest, cyclesThen, cyclesOfCpuThen] = samples[0];
  const seconds = wall.now - oldest;

  setText(byId("part1"), answer(wall.part1, wall, "1"));
  setText(byId("part2"), answer(wall.part2, wall, "2"));
  setText(byId("stopped"), `${number.format(wall.stopped)} of ${number.format(wall.cpus.length)}`);
  byId("progress").max = wall.cpus.length;
  byId("progress").value = wall.stopped;
  setText(byId("cycles"), number.format(wall.cycles));
  setText(byId("rate"), seconds ? ((wall.cycles - cyclesThen) / seconds).toFixed(1) : "–");
  setText(byId("pods"), number.format(wall.pods));
  setText(byId("elapsed"), duration((wall.ended ?? wall.now) - wall.stored));
  setText(byId("expected"), wall.cancelled ? "cancelled" : duration(wall.expected));

  showTiles(wall.cpus, (cpu) => (seconds ? (cpu.cycle - (cyclesOfCpuThen.get(cpu.cpu) ?? 0)) / seconds : null));
}

function answer(known, wall, part) {
  if (known) return known.cpu ? `${known.text} (CPU ${known.cpu})` : known.text;
  if (wall.cancelled) return "cancelled";
  return wall.cpus.some((cpu) => (part === "1") === (cpu.cpu === 0)) ? "not known yet" : "not asked for";
}

// ------------------------------------------------------------------ one CPU

function openDialog(cpu) {
  openCpu = cpu;
  updateAddress();
  if (!byId("cpu").open) byId("cpu").showModal();
  return refresh();
}

// ------------------------------------------------------------------ once a second

async function refresh() {
  try {
    if (start === null) await loadStarts();
    if (start !== null) {
      const [shownStart, shownCpu] = [start, openCpu];
      const path = `starts/${encodeURIComponent(shownStart)}`;
      const [wall, cpu] = await Promise.all([fetchJson(path), shownCpu === null ? null : fetchJson(`${path}/cpus/${shownCpu}`)]);
      // People may have chosen another start run or CPU in the meantime.
      if (start === shownStart) showWall(wall);
      if (cpu && openCpu === shownCpu) showCpu(start, cpu);
    }
    setText(byId("error"), "");
  } catch (error) {
    setText(byId("error"), error instanceof TypeError ? "Airflow does not answer; trying again." : error.message);
  }
}

async function refreshForever() {
  if (!document.hidden) await refresh();
  setTimeout(refreshForever, latest?.ended ? 5 * SECOND : SECOND);
}

// ------------------------------------------------------------------ what people do

byId("start").addEventListener("change", async () => {
  start = byId("start").value;
  openCpu = null;
  samples = [];
  updateAddress();
  await loadStarts();
  await refresh();
});
byId("start").addEventListener("focus", () => loadStarts().catch(() => {}));
byId("tiles").addEventListener("click", (event) => {
  const button = event.target.closest(".tile");
  if (button) openDialog(Number(button.dataset.cpu));
});
document.querySelectorAll(".close").forEach((button) => button.addEventListener("click", () => button.closest("dialog").close()));
byId("open-picture").addEventListener("click", () => {
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
  const closed = openCpu;
  openCpu = null;
  updateAddress();
  focusTile(closed);
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());

try {
  await loadStarts();
} catch (error) {
  setText(byId("error"), error.message);
}
if (openCpu !== null) byId("cpu").showModal();
await refreshForever();
