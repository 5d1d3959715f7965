// The tiles: one for each CPU, with the swap, the registers, the cycles and the state.

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
let tiles = new Map(); // CPU number → the elements of its tile, and the CPU as last shown

// Shows the CPUs; `rate` returns the cycles per second of a CPU, or null if it is not known yet.
export function showTiles(cpus, rate) {
  const areSame = tiles.size === cpus.length && cpus.every((cpu) => tiles.get(cpu.cpu)?.button.title === fullName(cpu));
  if (!areSame) createTiles(cpus);
  for (const cpu of cpus) updateTile(tiles.get(cpu.cpu), cpu, rate(cpu));
  for (const [state, { label }] of Object.entries(STATES)) {
    const count = cpus.filter((cpu) => cpu.state === state).length;
    setText(byId(`count-${state}`), `${label}: ${number.format(count)}`);
  }
  filterTiles();
}

export function focusTile(cpu) {
  tiles.get(cpu)?.button.focus();
}

function createTiles(cpus) {
  tiles = new Map();
  const items = cpus.map((cpu) => {
    const name = element("b", {}, `CPU ${cpu.cpu}`);
    const swap = element("span", {}, cpu.cpu ? shortSwap(cpu.swap) : "as written");
    const firstLine = element("span", { class: "first" }, name, swap);
    const registers = element("span", { class: "registers" });
    const cycles = element("span", { class: "quiet" });
    const state = element("span");
    const lastLine = element("span", { class: "last" }, cycles, state);
    const button = element("button", { class: "tile", "data-cpu": cpu.cpu, title: fullName(cpu) }, firstLine, registers, lastLine);
    const item = element("li", {}, button);
    tiles.set(cpu.cpu, { item, button, registers, cycles, state });
    return item;
  });
  byId("tiles").replaceChildren(...items);
}

export function fullName(cpu) {
  return cpu.cpu ? `CPU ${cpu.cpu}: line ${cpu.line}, ${cpu.swap}` : "CPU 0: the program as written";
}

// "jmp -4 → nop -4" in a tile's width: "jmp→nop -4".
function shortSwap(swap) {
  const [before, argument, , after] = swap.split(" ");
  return `${before}→${after} ${argument}`;
}

function updateTile(tile, cpu, rate) {
  tile.cpu = cpu;
  setText(tile.registers, `acc ${cpu.acc}  pc ${cpu.pc}`);
  const perSecond = cpu.state === "running" && rate !== null ? `, ${rate.toFixed(1)}/s` : "";
  setText(tile.cycles, `${number.format(cpu.cycle)} ${cpu.cycle === 1 ? "cycle" : "cycles"}${perSecond}`);
  setText(tile.state, STATES[cpu.state].label);
  const classes = `tile ${cpu.state}`;
  if (tile.button.className === classes) return;
  tile.button.className = classes;
  tile.state.title = STATES[cpu.state].meaning;
}

function filterTiles() {
  const states = new Set([...byId("states").querySelectorAll("input:checked")].map((box) => box.value));
  const wanted = byId("find").value.trim().toLowerCase();
  let shown = 0;
  for (const { item, button, cpu } of tiles.values()) {
    const matches = states.has(cpu.state) && (!wanted || button.title.toLowerCase().includes(wanted));
    if (item.hidden === matches) item.hidden = !matches;
    shown += matches;
  }
  setText(byId("shown"), shown === tiles.size ? "" : `${number.format(shown)} of ${number.format(tiles.size)} shown`);
}

// Adds each state to the filter and to the legend.
function createStates() {
  for (const [state, { label, meaning }] of Object.entries(STATES)) {
    byId("states").append(element("label", { title: meaning }, element("input", { type: "checkbox", value: state, checked: "" }), " ",
      element("span", { id: `count-${state}` }, label)));
    byId("meanings").append(element("div", {}, element("dt", { class: state }, label), element("dd", {}, meaning)));
  }
}

function moveFocusByArrowKeys(event) {
  const buttons = [...byId("tiles").querySelectorAll("li:not([hidden]) .tile")];
  const index = buttons.indexOf(document.activeElement);
  const perRow = buttons.filter((button) => button.offsetTop === buttons[0].offsetTop).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: perRow, ArrowUp: -perRow }[event.key];
  if (index < 0 || step === undefined) return;
  event.preventDefault();
  buttons[Math.min(Math.max(index + step, 0), buttons.length - 1)].focus();
}

createStates();
byId("filter").addEventListener("input", filterTiles);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("tiles").addEventListener("keydown", moveFocusByArrowKeys);
