// The strip over time: how many CPUs were in each state, from the store of the program until now.

import { byId, duration, number, setText, svgPath } from "./page.js";
import { BY_INTEREST, STATES } from "./tiles.js";

const COLUMNS = 240;
const HEIGHT = 100;
const STEPS = 60; // a strip that only grows is drawn anew when it has grown by one of so many parts
let drawn = { text: "", end: 0 };

// Draws the strip, unless it would look the same. A CPU's times of load and stop say all of its past, so that no past need be kept.
export function showStrip(wall, cpus) {
  const end = wall.ended ?? wall.now;
  const seconds = Math.max(end - wall.stored, 0.001);
  const text = JSON.stringify([wall.start, wall.ended, wall.part1, wall.part2, cpus.map((cpu) => [cpu.state, cpu.loaded, cpu.stopped])]);
  setText(byId("strip-end"), duration(seconds));
  if (text === drawn.text && end - drawn.end < seconds / STEPS) return;
  drawn = { text, end };
  const columnOf = (time) => Math.min(Math.max(Math.floor(((time - wall.stored) / seconds) * COLUMNS), 0), COLUMNS);
  const counts = countByColumn(cpus, columnOf);
  let top = new Array(COLUMNS).fill(0);
  const paths = [];
  for (const state of BY_INTEREST) {
    const bottom = top;
    top = bottom.map((below, column) => below + counts[state][column]);
    if (top.some((above, column) => above > bottom[column])) paths.push(area(state, bottom, top, cpus.length));
  }
  for (const [part, answer] of [["Part 1", wall.part1], ["Part 2", wall.part2]]) {
    const stopped = answer?.cpu === null ? wall.ended : cpus.find((cpu) => cpu.cpu === answer?.cpu)?.stopped;
    if (stopped) paths.push(svgPath("answer-mark", `M${columnOf(stopped)} 0V${HEIGHT}`, `${part}: ${answer.text}, after ${duration(stopped - wall.stored)}`));
  }
  byId("strip").replaceChildren(...paths);
  const now = BY_INTEREST.map((state) => [state, counts[state][COLUMNS - 1]]).filter(([, count]) => count);
  byId("strip").setAttribute("aria-label", `CPUs by state over ${duration(seconds)}; now ${now.map(([state, count]) => `${number.format(count)} ${STATES[state].label}`).join(", ")}`);
}

// For each state and column, how many CPUs were in that state at the column's end.
function countByColumn(cpus, columnOf) {
  const changes = Object.fromEntries(BY_INTEREST.map((state) => [state, new Array(COLUMNS + 1).fill(0)]));
  const enter = (state, column, previous) => {
    changes[state][column] += 1;
    if (previous) changes[previous][column] -= 1;
  };
  for (const cpu of cpus) {
    enter("waiting", 0);
    if (cpu.loaded !== null) enter("running", columnOf(cpu.loaded), "waiting");
    if (cpu.state === "waiting" || cpu.state === "running") continue;
    // Redis records the time of a stop a moment after the state; until then, the stop is now.
    const stopped = cpu.stopped === null ? COLUMNS - 1 : columnOf(cpu.stopped);
    enter(cpu.state, Math.min(stopped, COLUMNS - 1), cpu.loaded === null ? "waiting" : "running");
  }
  for (const row of Object.values(changes)) row.forEach((change, column) => (row[column] = (row[column - 1] ?? 0) + change));
  return changes;
}

// The area between two steps of lines; the strip is COLUMNS wide and HEIGHT high, for all CPUs.
function area(state, bottom, top, all) {
  const y = (count) => (HEIGHT - (count / all) * HEIGHT).toFixed(2);
  const steps = (values) => values.map((count, column) => [column, y(count)]).filter(([column, at]) => !column || at !== y(values[column - 1]));
  const forth = steps(top).map(([column, at]) => `${column ? `H${column}` : "M0 0"}V${at}`).join("");
  const back = steps(bottom).reverse().map(([column, at]) => `V${at}H${column}`).join("");
  return svgPath(state, `${forth}H${COLUMNS}${back}Z`, STATES[state].label);
}
