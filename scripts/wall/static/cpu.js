// The dialog of one CPU: its registers, its program, its registers over time, its DAG runs and pods.

import { AIRFLOW, byId, copyButton, element, link, number, setText, svgPath } from "./page.js";
import { STATES, fullName, noticeOf } from "./tiles.js";

export function showCpu(start, { tile, program, history: registersByCycle, runs }) {
  setText(byId("cpu-name"), fullName(tile));
  setText(byId("cpu-notice"), noticeOf(tile.cpu));
  const { label, meaning } = STATES[tile.state];
  showFacts([["State", `${label}. ${meaning}`], ["Accumulator", tile.acc], ["Program counter", tile.pc], ["Cycles", number.format(tile.cycle)]]);
  showProgram(start, tile, program);
  showHistory(registersByCycle);
  const text = JSON.stringify(runs);
  if (byId("runs").dataset.shown === text) return;
  byId("runs").dataset.shown = text;
  byId("runs").replaceChildren(...runs.map((run) => element("tr", {},
    element("td", {}, link(`${AIRFLOW}/dags/cpu/runs/${encodeURIComponent(run.run_id)}`, run.run_id.split(".").slice(2).join("."))),
    element("td", {}, run.state),
    element("td", {}, String(run.tries)),
    element("td", {}, run.began && run.ended ? (run.ended - run.began).toFixed(1) : ""),
    element("td", {}, ...run.pods.flatMap((pod) => [pod, copyButton("the pod's name", pod)])))));
}

function showFacts(facts) {
  const text = JSON.stringify(facts);
  if (byId("registers").dataset.shown === text) return; // the copy button would lose the focus
  byId("registers").dataset.shown = text;
  byId("registers").replaceChildren(...facts.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value, ...(name === "Accumulator" ? [" ", copyButton("the accumulator", value)] : [])))));
}

function showProgram(start, tile, program) {
  const list = byId("program");
  if (list.dataset.cpu !== `${start}/${tile.cpu}`) {
    list.dataset.cpu = `${start}/${tile.cpu}`;
    list.replaceChildren(...program.map((instruction) => element("li", {},
      element("span", { class: "number" }, String(instruction.line)), element("span", {}, instruction.text))));
  }
  program.forEach(({ visited, swapped }, address) => {
    const item = list.children[address];
    const current = String(address) === tile.pc;
    const classes = [visited && "visited", swapped && "swapped", current && "current"].filter(Boolean).join(" ");
    if (item.className !== classes) item.className = classes;
    if (current && list.dataset.pc !== tile.pc) item.scrollIntoView({ block: "nearest" });
    if (current) item.setAttribute("aria-current", "true");
    else item.removeAttribute("aria-current");
  });
  list.dataset.pc = tile.pc;
}

function showHistory(points) {
  const [first, last] = [points[0], points.at(-1)];
  const chart = byId("chart");
  chart.replaceChildren(stepLine("acc", points), stepLine("pc", points));
  const cycles = last ? `cycles ${first.cycle} to ${last.cycle}` : "no cycle yet";
  chart.setAttribute("aria-label", last ? `Registers over ${cycles}, ${points.length} points: at the end accumulator ${last.acc}, program counter ${last.pc}` : cycles);
  setText(byId("history-range"), last ? `${cycles}: acc ${range(points, "acc")}, pc ${range(points, "pc")}` : cycles);
}

// An SVG path that steps from one value of a register to the next; the chart is 400 by 200, with a margin.
function stepLine(register, points) {
  const values = points.map((point) => Number(point[register]));
  const [low, high] = [Math.min(...values, 0), Math.max(...values, 1)];
  const first = points[0]?.cycle ?? 0;
  const cycles = Math.max((points.at(-1)?.cycle ?? 1) - first, 1);
  const steps = values.map((value, index) => {
    const x = (((points[index].cycle - first) / cycles) * 396 + 2).toFixed(1);
    const y = (196 - ((value - low) / (high - low)) * 192).toFixed(1);
    return index ? `H${x}V${y}` : `M${x} ${y}`;
  });
  return svgPath(register, steps.join(""));
}

function range(points, register) {
  const values = points.map((point) => BigInt(point[register])).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return `${values[0]} to ${values.at(-1)}`;
}
