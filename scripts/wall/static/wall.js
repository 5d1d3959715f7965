// The wall: asks the API once a second, and changes only what has changed.

const SECOND = 1000;
const MARKS = {
  waiting: "waits", running: "▶ runs", loop: "↻ loop", end: "✔ end", fault: "✖ fault", stopped: "■ stopped", invalid: "– none", gone: "? gone",
};
const $ = (id) => document.getElementById(id);
// Airflow's own path, which is empty unless it is behind a reverse proxy.
const AIRFLOW = location.pathname.replace(/\/cpu-wall\/$/, "");
const number = new Intl.NumberFormat("en");

const params = new URLSearchParams(location.search);
let start = params.get("start");
let near = params.get("cpu") === null ? null : Number(params.get("cpu"));
let run = params.get("run");
let tiles = new Map();   // CPU → its elements and what they show
let earlier = [];        // [now, cycles, Map of CPU → cycle] of the last seconds, for the rates
let wall = null;

async function ask(path) {
  const answer = await fetch(`api/${path}`, { headers: { accept: "application/json" } });
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    const login = answer.status === 401 || answer.status === 403 ? "Log in to Airflow, then reload this page." : "";
    throw new Error(login || told.detail || `${answer.status} ${answer.statusText}`);
  }
  return answer.json();
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function duration(seconds) {
  if (seconds === null) return "–";
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts[0] ? `${parts[0]} h ${parts[1]} min` : parts[1] ? `${parts[1]} min ${parts[2]} s` : `${parts[2]} s`;
}

// ------------------------------------------------------------------ which start run

async function chooseStart() {
  const found = await ask("starts");
  const options = found.map((one) => {
    const when = new Date(one.triggered * SECOND).toLocaleString();
    return element("option", { value: one.start }, `${one.start} (${when})`);
  });
  if (start && !found.some((one) => one.start === start)) options.push(element("option", { value: start }, start));
  $("start").replaceChildren(...options);
  if (run !== null) ofRun(found);
  if (run === null) start ??= found[0]?.start ?? null;
  $("start").value = start ?? "";
  $("empty").hidden = start !== null || run !== null;
  $("pending").hidden = run === null;
  $("draw").hidden = start === null;
  const of = found.find((one) => one.start === start);
  $("source").replaceChildren(...(of ? [link(`${AIRFLOW}/dags/cpu_start/runs/${encodeURIComponent(of.run_id)}`, "its run of cpu_start")] : []));
}

// Which start run, and which CPU of it, the page was opened for by the id of a DAG run.
function ofRun(found) {
  const cycle = run.match(/^([a-z0-9-]+)\.cpu-(\d+)\./);
  start = cycle ? cycle[1] : found.find((one) => one.run_id === run)?.start ?? null;
  near = cycle ? Number(cycle[2]) : near;
  if (start !== null) run = null;
}

function link(href, text) {
  return element("a", { href, target: "_top" }, text);
}

function remember() {
  const now = new URLSearchParams(start ? { start } : {});
  if (near !== null) now.set("cpu", near);
  history.replaceState(null, "", `?${now}`);
  // The address that Airflow's own page has for this one, for people to pass on.
  const framed = `${AIRFLOW}/plugin/cpu-wall${location.pathname}`;
  if (parent !== window && parent.location.pathname === framed) {
    parent.history.replaceState(parent.history.state, "", `${framed}?${now}`);
  }
}

// ------------------------------------------------------------------ all CPUs

function show(seen) {
  wall = seen;
  earlier.push([seen.now, seen.cycles, new Map(seen.cpus.map((one) => [one.cpu, one.cycle]))]);
  earlier = earlier.filter(([when]) => seen.now - when <= 10);
  const [then, cyclesThen, before] = earlier[0];
  const past = seen.now - then;

  write($("part1"), answer(seen.part1, seen, "1"));
  write($("part2"), answer(seen.part2, seen, "2"));
  write($("stopped"), `${number.format(seen.stopped)} of ${number.format(seen.cpus.length)}`);
  $("progress").max = seen.cpus.length;
  $("progress").value = seen.stopped;
  write($("cycles"), number.format(seen.cycles));
  write($("rate"), past ? ((seen.cycles - cyclesThen) / past).toFixed(1) : "–");
  write($("pods"), number.format(seen.pods));
  write($("elapsed"), duration((seen.ended ?? seen.now) - seen.stored));
  write($("expected"), seen.cancelled ? "cancelled" : duration(seen.expected));

  if (tiles.size !== seen.cpus.length || !seen.cpus.every((one) => tiles.has(one.cpu))) build(seen.cpus);
  for (const one of seen.cpus) {
    refresh(tiles.get(one.cpu), one, past ? (one.cycle - (before.get(one.cpu) ?? 0)) / past : null);
  }
  for (const [state, mark] of Object.entries(MARKS)) {
    const count = seen.cpus.filter((one) => one.state === state).length;
    write($(`count-${state}`), `${mark}: ${number.format(count)}`);
  }
  filter();
}

function answer(known, seen, part) {
  if (known) return known.cpu ? `${known.text} (CPU ${known.cpu})` : known.text;
  return seen.cancelled ? "cancelled" : seen.cpus.some((one) => (part === "1") === (one.cpu === 0)) ? "…" : "not asked for";
}

function build(cpus) {
  tiles = new Map();
  const items = cpus.map((one) => {
    const name = element("b");
    const state = element("span");
    const registers = element("span", { class: "registers" });
    const pace = element("span", { class: "quiet" });
    const last = element("span", { class: "last" }, pace, state);
    const button = element("button", { class: "tile", "data-cpu": one.cpu }, name, registers, last);
    name.textContent = one.cpu ? `${one.line}: ${brief(one.swap)}` : "as written";
    const item = element("li", {}, button);
    tiles.set(one.cpu, { item, button, state, registers, pace });
    return item;
  });
  $("tiles").replaceChildren(...items);
}

// "jmp -4 → nop -4" in a tile's width: "jmp→nop -4".
function brief(swap) {
  const [before, argument, , after] = swap.split(" ");
  return `${before}→${after} ${argument}`;
}

function refresh(tile, one, rate) {
  tile.cpu = one;
  write(tile.state, MARKS[one.state]);
  write(tile.registers, `acc ${one.acc}  pc ${one.pc}`);
  write(tile.pace, `${number.format(one.cycle)} ${one.cycle === 1 ? "cycle" : "cycles"}` + (one.state === "running" && rate !== null ? `, ${rate.toFixed(1)}/s` : ""));
  const style = `tile ${one.state}`;
  if (tile.button.className !== style) tile.button.className = style;
  tile.button.title = one.cpu ? `CPU ${one.cpu}, line ${one.line}: ${one.swap}` : "CPU 0 runs the program as written";
}

function filter() {
  const states = new Set([...$("states").querySelectorAll("input:checked")].map((box) => box.value));
  const wanted = $("find").value.trim().toLowerCase();
  let shown = 0;
  for (const { item, button, cpu } of tiles.values()) {
    const fits = states.has(cpu.state) && (!wanted || button.title.toLowerCase().includes(wanted));
    if (item.hidden === fits) item.hidden = !fits;
    shown += fits;
  }
  write($("shown"), shown === tiles.size ? "" : `${number.format(shown)} of ${number.format(tiles.size)} shown`);
}

// ------------------------------------------------------------------ one CPU

function open(cpu) {
  near = cpu;
  remember();
  if (!$("cpu").open) $("cpu").showModal();
  return look();
}

function showNear(seen) {
  const { tile } = seen;
  write($("cpu-name"), tile.cpu ? `CPU ${tile.cpu}: line ${tile.line}, ${tile.swap}` : "CPU 0: the program as written");
  const facts = { State: MARKS[tile.state], Accumulator: tile.acc, "Program counter": tile.pc, Cycles: number.format(tile.cycle) };
  $("registers").replaceChildren(...Object.entries(facts).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))));
  showProgram(seen);
  showHistory(seen.history);
  $("runs").replaceChildren(...seen.runs.map((run) => element("tr", {},
    element("td", {}, link(`${AIRFLOW}/dags/cpu/runs/${encodeURIComponent(run.run_id)}`, run.run_id.split(".").slice(2).join("."))),
    element("td", {}, run.state),
    element("td", {}, run.began && run.ended ? (run.ended - run.began).toFixed(1) : ""),
    element("td", {}, run.pods.join(" ")))));
}

function showProgram({ tile, program }) {
  const list = $("program");
  if (list.dataset.of !== `${start}/${tile.cpu}`) {
    list.dataset.of = `${start}/${tile.cpu}`;
    list.replaceChildren(...program.map((one) => element("li", {},
      element("span", { class: "number" }, String(one.line)), element("span", {}, one.text))));
  }
  program.forEach((one, address) => {
    const item = list.children[address];
    const current = String(address) === tile.pc;
    const names = [one.visited && "visited", one.swapped && "swapped", current && "current"].filter(Boolean).join(" ");
    if (item.className !== names) item.className = names;
    if (current && list.dataset.pc !== tile.pc) item.scrollIntoView({ block: "nearest" });
    item.toggleAttribute("aria-current", current);
  });
  list.dataset.pc = tile.pc;
}

function showHistory(moments) {
  const chart = $("chart");
  const path = (name, values) => {
    const [low, high] = [Math.min(...values, 0), Math.max(...values, 1)];
    const first = moments[0]?.cycle ?? 0;
    const span = Math.max((moments.at(-1)?.cycle ?? 1) - first, 1);
    const points = values.map((value, at) => [((moments[at].cycle - first) / span) * 396 + 2, 196 - ((value - low) / (high - low)) * 192]);
    const steps = points.map(([x, y], at) => (at ? `H${x.toFixed(1)}V${y.toFixed(1)}` : `M${x.toFixed(1)} ${y.toFixed(1)}`)).join("");
    const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
    made.setAttribute("class", name);
    made.setAttribute("d", steps);
    return made;
  };
  chart.replaceChildren(path("acc", moments.map((one) => Number(one.acc))), path("pc", moments.map((one) => Number(one.pc))));
  const last = moments.at(-1);
  const words = last ? `${moments.length} cycles, ${moments[0].cycle} to ${last.cycle}; accumulator ${last.acc}, program counter ${last.pc} after the last` : "no cycle yet";
  chart.setAttribute("aria-label", words);
  const range = (values) => {
    const sorted = values.map(BigInt).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    return `${sorted[0]} to ${sorted.at(-1)}`;
  };
  write($("span"), last ? `cycles ${moments[0].cycle} to ${last.cycle}: acc ${range(moments.map((one) => one.acc))}, pc ${range(moments.map((one) => one.pc))}` : "");
}

// ------------------------------------------------------------------ again and again

async function look() {
  try {
    if (start === null) await chooseStart();
    if (start !== null) {
      const asked = [start, near];
      const [all, one] = await Promise.all([ask(`starts/${encodeURIComponent(start)}`), near === null ? null : ask(`starts/${encodeURIComponent(start)}/cpus/${near}`)]);
      if (start === asked[0]) show(all);
      if (one && near === asked[1]) showNear(one);
    }
    write($("trouble"), "");
  } catch (error) {
    write($("trouble"), error instanceof TypeError ? "Airflow does not answer; trying again." : error.message);
  }
}

async function goOn() {
  if (!document.hidden) await look();
  setTimeout(goOn, wall?.ended ? 5 * SECOND : SECOND);
}

// ------------------------------------------------------------------ what people do

for (const [state, mark] of Object.entries(MARKS)) {
  $("states").append(element("label", {}, element("input", { type: "checkbox", value: state, checked: "" }), " ",
    element("span", { id: `count-${state}` }, mark)));
}
$("filter").addEventListener("input", filter);
$("filter").addEventListener("submit", (event) => event.preventDefault());
$("start").addEventListener("change", async () => {
  start = $("start").value;
  near = null;
  earlier = [];
  remember();
  await chooseStart();
  await look();
});
$("start").addEventListener("focus", () => chooseStart().catch(() => {}));
$("tiles").addEventListener("click", (event) => {
  const button = event.target.closest(".tile");
  if (button) open(Number(button.dataset.cpu));
});
$("tiles").addEventListener("keydown", (event) => {
  const all = [...$("tiles").querySelectorAll("li:not([hidden]) .tile")];
  const at = all.indexOf(document.activeElement);
  const row = all.filter((one) => one.offsetTop === all[0].offsetTop).length;
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row }[event.key];
  if (at < 0 || by === undefined) return;
  event.preventDefault();
  all[Math.min(Math.max(at + by, 0), all.length - 1)].focus();
});
document.querySelectorAll(".close").forEach((button) => button.addEventListener("click", () => button.closest("dialog").close()));
$("draw").addEventListener("click", () => {
  for (const [id, attribute, kind] of [["drawn", "src", "svg"], ["svg", "href", "svg"], ["png", "href", "png"]]) {
    $(id).setAttribute(attribute, `api/starts/${encodeURIComponent(start)}/picture.${kind}`);
  }
  $("svg").download = `${start}.svg`;
  $("png").download = `${start}.png`;
  $("drawn").alt = `CPUs over time of start run ${start}`;
  $("picture").showModal();
});
// Airflow shows this page in a frame that must not lead its window elsewhere; its own router may.
document.addEventListener("click", (event) => {
  const to = event.target.closest('a[target="_top"]');
  if (!to || parent === window || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  parent.history.pushState(null, "", to.href);
  parent.dispatchEvent(new PopStateEvent("popstate", { state: null }));
});
$("cpu").addEventListener("close", () => {
  const button = tiles.get(near)?.button;
  near = null;
  remember();
  button?.focus();
});
document.addEventListener("visibilitychange", () => document.hidden || look());

try {
  await chooseStart();
} catch (error) {
  write($("trouble"), error.message);
}
if (near !== null) $("cpu").showModal();
await goOn();
