// What the page shows, kept in its address: a reload or a copied link shows the same.

import { AIRFLOW } from "./page.js";

const DEFAULTS = { start: "", items: "", cpu: "", tab: "cpus", sort: "number", tiles: "large", lines: "program", hide: "", find: "" };
const params = new URLSearchParams(location.search);

// start: the start run; items: the items run, which is shown instead of a start run; cpu: the number of the CPU whose dialog is open, or ""; hide: states, separated by commas.
export const shown = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, params.get(name) ?? value]));

// Changes what the page shows, and its address.
export function show(changes) {
  Object.assign(shown, changes);
  const query = queryOf(shown);
  history.replaceState(null, "", query);
  // In a frame, the address that people see is the one of Airflow's page.
  if (parent !== window && parent.location.pathname === FRAMED) {
    parent.history.replaceState(parent.history.state, "", `${FRAMED}${query}`);
  }
}

// The address of the wall in Airflow's frame, which people may send to each other.
const FRAMED = `${AIRFLOW}/plugin/cpu-wall${location.pathname}`;

// A link to one CPU of this start run, for people.
export function linkToCpu(cpu) {
  return `${location.origin}${FRAMED}${queryOf({ start: shown.start, cpu })}`;
}

// The query of the page that shows this; what is not given is as at first.
export function queryOf(wanted) {
  const different = Object.entries(wanted).filter(([name, value]) => String(value) !== DEFAULTS[name]);
  return `?${new URLSearchParams(different)}`;
}
