// The tiles: one for each CPU, with the swap, the registers, the cycles and the state.

import { queryOf, show, shown } from "./address.js";
import { byId, element, number, setText } from "./page.js";

export const STATES = {
  waiting: { label: "waiting", meaning: "Not loaded yet: it has no registers." },
  running: { label: "▶ running", meaning: "It has a next cycle." },
  loop: { label: "↻ loop", meaning: "Stopped: an instruction is about to run a second time." },
  end: { label: "✔ end", meaning: "Stopped: its program counter is just past the last instruction. It has run to the end." },
  fault: { label: "✖ fault", meaning: "Stopped: its program counter is anywhere else outside of the program." },
  stopped: { label: "■ stopped", meaning: "Told to stop: another CPU has the answer, or the start run is cancelled." },
  invalid: { label: "– invalid", meaning: "Its instruction is neither jmp nor nop, so that it has nothing to swap and runs no cycle." },
  gone: { label: "? gone", meaning: "Stopped, but Redis no longer has its registers: they have expired or were lost." },
};
export const BY_INTEREST = ["end", "running", "waiting", "fault", "loop", "stopped", "invalid", "gone"];

const tiles = new Map(); // CPU number → its elements, the CPU as last shown, and a notice if there is one
let madeFor = ""; // the start run of the tiles
let shotsOffered = false; // whether the user may kill pods
let moved = []; // the tiles whose CPUs have executed since the last poll
let lit = new Set(); // the tiles that are lit

// Shows CPUs that have changed. `complete`: these are all CPUs of the start run.
export function showTiles(start, cpus, complete) {
  const isNew = complete && (start !== madeFor || cpus.length !== tiles.size);
  if (isNew) createTiles(start, cpus);
  moved = [];
  const changed = cpus.filter((cpu) => updateTile(tiles.get(cpu.cpu), cpu));
  if (isNew) sortTiles();
  else if (shown.sort === "state") changed.forEach((cpu) => moveTile(tiles.get(cpu.cpu)));
  if (!isNew) lightUp();
  if (isNew || changed.length) countStates();
  if (isNew) filterTiles();
  else showHowMany();
}

export function allCpus() {
  return [...tiles.values()].map((tile) => tile.cpu);
}

export function cpuOf(cpu) {
  return tiles.get(cpu)?.cpu;
}

export function focusTile(cpu) {
  tiles.get(cpu)?.link.focus();
}

// Puts a button on the tile of each running CPU that kills its pod.
export function offerShots(offered) {
  if (shotsOffered === offered) return;
  shotsOffered = offered;
  for (const tile of tiles.values()) offerShot(tile);
}

function offerShot(tile) {
  const offered = shotsOffered && tile.cpu.state === "running";
  if (offered && !tile.shoot) {
    const what = `Kill the pod of CPU ${tile.cpu.cpu}`;
    tile.shoot = element("button", { type: "button", class: "shoot", "data-shoot": tile.cpu.cpu, title: what, "aria-label": what }, "kill");
    tile.item.append(tile.shoot);
  } else if (!offered && tile.shoot) {
    tile.shoot.remove();
    tile.shoot = null;
  }
}

// Shows a line below a CPU's tile. An empty text removes it, or only a certain text.
export function setNotice(cpu, text, only = null) {
  const tile = tiles.get(cpu);
  if (!tile || (only !== null && tile.notice?.textContent !== only)) return;
  tile.notice ??= element("p", { class: "notice", role: "status" });
  setText(tile.notice, text);
  if (text) tile.item.append(tile.notice);
  else tile.notice.remove();
}

export function noticeOf(cpu) {
  return tiles.get(cpu)?.notice?.textContent ?? "";
}

export function fullName(cpu) {
  return cpu.cpu ? `CPU ${cpu.cpu}: line ${cpu.line}, ${cpu.swap}` : "CPU 0: the program as written";
}

function createTiles(start, cpus) {
  madeFor = start;
  tiles.clear();
  lit.clear();
  for (const cpu of cpus) {
    const name = element("b", {}, element("i", {}, "CPU "), String(cpu.cpu));
    const swap = element("span", {}, cpu.cpu ? shortSwap(cpu.swap) : "as written");
    const firstLine = element("span", { class: "first" }, name, swap);
    const registers = element("span", { class: "registers" });
    const cycles = element("span", { class: "quiet" });
    const state = element("span");
    const lastLine = element("span", { class: "last" }, cycles, state);
    const href = queryOf({ start, cpu: cpu.cpu });
    const link = element("a", { class: "tile", href, "data-cpu": cpu.cpu, title: fullName(cpu) }, firstLine, registers, lastLine);
    tiles.set(cpu.cpu, { item: element("li", {}, link), link, registers, cycles, state, cpu: null });
  }
}

// "jmp -4 → nop -4" in a tile's width: "jmp→nop -4".
function shortSwap(swap) {
  const [before, argument, , after] = swap.split(" ");
  return `${before}→${after} ${argument}`;
}

// Returns whether the CPU's state has changed.
function updateTile(tile, cpu) {
  const before = tile.cpu;
  tile.cpu = cpu;
  setText(tile.registers, `acc ${cpu.acc}  pc ${cpu.pc}`);
  setText(tile.cycles, `${number.format(cpu.cycle)} ${cpu.cycle === 1 ? "cycle" : "cycles"}`);
  if (before && cpu.cycle > before.cycle) moved.push(tile);
  if (before?.state === cpu.state) return false;
  setText(tile.state, STATES[cpu.state].label);
  tile.link.className = `tile ${cpu.state}`;
  tile.state.title = STATES[cpu.state].meaning;
  if (before) tile.item.hidden = !isWanted(tile);
  offerShot(tile);
  return true;
}

// Lights up the tiles of the CPUs that have just executed, until the next poll: then the browser paints tiles anyway.
// A timer would cost it another frame, and an animation sixty per second. A tile is not lit twice in a row, so that one
// whose CPU executes all the time can be seen to.
function lightUp() {
  const before = lit;
  lit = new Set(moved.filter((tile) => !before.has(tile)));
  for (const { link } of before) link.classList.remove("lit");
  for (const { link } of lit) link.classList.add("lit");
}

// ------------------------------------------------------------------ order

function compare(one, other) {
  const byState = shown.sort === "state" ? BY_INTEREST.indexOf(one.cpu.state) - BY_INTEREST.indexOf(other.cpu.state) : 0;
  return byState || one.cpu.cpu - other.cpu.cpu;
}

function sortTiles() {
  byId("tiles").replaceChildren(...[...tiles.values()].sort(compare).map((tile) => tile.item));
}

function moveTile(tile) {
  const focused = document.activeElement === tile.link;
  let next = null;
  for (const other of tiles.values()) {
    if (other !== tile && compare(other, tile) > 0 && (!next || compare(other, next) < 0)) next = other;
  }
  byId("tiles").insertBefore(tile.item, next?.item ?? null);
  if (focused) tile.link.focus();
}

// ------------------------------------------------------------------ filter

function isWanted({ cpu, link }) {
  const text = shown.find.trim().toLowerCase();
  return !shown.hide.split(",").includes(cpu.state) && (!text || link.title.toLowerCase().includes(text));
}

function filterTiles() {
  for (const tile of tiles.values()) {
    const hidden = !isWanted(tile);
    if (tile.item.hidden !== hidden) tile.item.hidden = hidden;
  }
  showHowMany();
}

function showHowMany() {
  if (!shown.hide && !shown.find.trim()) return setText(byId("shown"), "");
  const count = [...tiles.values()].filter((tile) => !tile.item.hidden).length;
  setText(byId("shown"), `${number.format(count)} of ${number.format(tiles.size)} shown`);
}

function countStates() {
  const counts = {};
  for (const { cpu } of tiles.values()) counts[cpu.state] = (counts[cpu.state] ?? 0) + 1;
  for (const [state, { label }] of Object.entries(STATES)) {
    setText(byId(`count-${state}`), `${label}: ${number.format(counts[state] ?? 0)}`);
  }
}

// ------------------------------------------------------------------ what people do

// Adds each state to the filter and to the legend.
function createStates() {
  const hidden = shown.hide.split(",");
  for (const [state, { label, meaning }] of Object.entries(STATES)) {
    const box = element("input", { type: "checkbox", value: state, checked: hidden.includes(state) ? null : "" });
    byId("states").append(element("label", { title: meaning }, box, " ", element("span", { id: `count-${state}` }, label)));
    byId("meanings").append(element("div", {}, element("dt", { class: state }, label), element("dd", {}, meaning)));
  }
}

function readControls() {
  const hide = [...byId("states").querySelectorAll("input:not(:checked)")].map((box) => box.value).join();
  show({ hide, find: byId("find").value, sort: byId("sort").value, tiles: byId("size").value });
}

function moveFocusByArrowKeys(event) {
  const links = [...byId("tiles").querySelectorAll("li:not([hidden]) .tile")];
  const index = links.indexOf(document.activeElement);
  const firstBelow = links.findIndex((link) => link.offsetTop !== links[0].offsetTop);
  const perRow = firstBelow < 0 ? links.length : firstBelow;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: perRow, ArrowUp: -perRow }[event.key];
  if (index < 0 || step === undefined) return;
  event.preventDefault();
  links[Math.min(Math.max(index + step, 0), links.length - 1)].focus();
}

function applyControls(event) {
  readControls();
  byId("tiles").dataset.size = shown.tiles;
  if (event.target.id === "sort") sortTiles();
  filterTiles();
}

createStates();
byId("find").value = shown.find;
byId("sort").value = shown.sort;
byId("size").value = shown.tiles;
byId("tiles").dataset.size = shown.tiles;
byId("find").addEventListener("input", applyControls);
byId("filter").addEventListener("change", applyControls);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("tiles").addEventListener("keydown", moveFocusByArrowKeys);
