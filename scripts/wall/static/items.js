// An items run: many programs, solved many to a pod. The page shows figures, however many items and pods there are.

import { shown } from "./address.js";
import { AIRFLOW, byId, duration, fetchJson, link, number, setText, tenths } from "./page.js";

const WIDTH = 240;
const HEIGHT = 100;
const OVER = ["success", "failed"];
let madeFor = ""; // the items run, and the time of its plan
let marks = []; // [pods, items, time] at some moments, oldest first; a poll gets only those that are new

// Asks for the run's progress and shows it. Returns whether nothing changes any more.
export async function refreshItems(name) {
  const known = madeFor.startsWith(`${name}/`) ? marks.length : 0;
  const run = await fetchJson(`items/${encodeURIComponent(name)}${known ? `?marks=${known}` : ""}`);
  if (shown.items !== name) return false;
  const plan = `${name}/${run.progress?.planned ?? ""}`;
  if (plan !== madeFor) {
    const isWhole = !run.progress || run.progress.first_mark === 0;
    [madeFor, marks] = [isWhole ? plan : "", []];
    if (!isWhole) return refreshItems(name); // the run has expired and was planned again
  }
  marks.push(...(run.progress?.marks ?? []));
  showRun(run);
  return OVER.includes(run.state) || (run.state === null && run.progress?.ended != null);
}

function showRun({ run_id: runId, state, note, progress, pods, report }) {
  setText(byId("items-note"), note);
  showLink(runId, state);
  showProgress(progress, report);
  byId("items-figure").hidden = !progress;
  if (progress) showStrip(progress);
  setText(byId("pods-running"), pods ? number.format(pods.running) : "–");
  setText(byId("pods-failed"), pods ? number.format(pods.failed) : "–");
  byId("failed-pods").hidden = !pods?.failed;
  if (pods?.failed) {
    const more = pods.failed_more ? ` and ${number.format(pods.failed_more)} more` : "";
    setText(byId("failed-pods-list"), `${pods.failed_pods.join(", ")}${more}`);
  }
  byId("items-report").hidden = !report;
  if (report) showReport(report);
}

function showLink(runId, state) {
  const text = `DAG run of items: ${state}`;
  if (byId("dag-run").textContent === (runId ? text : "")) return;
  byId("dag-run").replaceChildren(...(runId ? [link(`${AIRFLOW}/dags/items/runs/${encodeURIComponent(runId)}`, text)] : []));
}

// Without progress, what the report says is shown as far as it goes.
function showProgress(progress, report) {
  const [total, done] = [progress?.total ?? report?.total, progress?.done ?? report?.done];
  setText(byId("items-done"), count(done));
  setText(byId("items-total"), total === undefined ? "" : `of ${number.format(total)}, ${percent(done, total)}`);
  byId("items-answer").classList.toggle("known", total !== undefined && done === total);
  byId("items-progress").max = total ?? 1;
  byId("items-progress").value = done ?? 0;
  setText(byId("items-rate"), progress && progress.ended === null ? tenths.format(progress.items_rate) : "–");
  setText(byId("pods-rate"), progress && progress.ended === null ? tenths.format(progress.pods_rate) : "–");
  setText(byId("items-rate-since-plan"), rate(progress?.items_rate_since_plan ?? report?.items_per_second));
  setText(byId("pods-rate-since-plan"), rate(progress?.pods_rate_since_plan ?? report?.pods_per_second));
  const [committed, all] = [progress?.committed, progress?.pods ?? report?.pods];
  setText(byId("pods-done"), committed === undefined ? "–" : `${number.format(committed)} of ${number.format(all)}`);
  setText(byId("items-failed"), count(progress?.failed ?? report?.failed));
  setText(byId("items-elapsed"), duration(progress ? (progress.ended ?? progress.now) - progress.planned : report?.seconds ?? null));
  setText(byId("items-left"), duration(progress ? progress.seconds_left : null));
}

function count(value) {
  return value === undefined ? "–" : number.format(value);
}

function rate(value) {
  return value === undefined ? "–" : tenths.format(value);
}

// Rounded down: 100 % is said only when all are done.
function percent(done, total) {
  return `${tenths.format(Math.floor((done / total) * 1000) / 10)} %`;
}

function showStrip({ planned, now, ended, total, done }) {
  const seconds = Math.max((ended ?? now) - planned, 0.001);
  const x = (time) => ((Math.min(Math.max(time - planned, 0), seconds) / seconds) * WIDTH).toFixed(1);
  const y = (items) => (HEIGHT - (items / total) * HEIGHT).toFixed(1);
  const line = marks.map(([, items, time]) => `L${x(time)} ${y(items)}`).join("");
  byId("items-strip").firstElementChild.setAttribute("d", `M0 ${HEIGHT}${line}H${WIDTH}V${HEIGHT}Z`);
  byId("items-strip").setAttribute("aria-label", `Items done over ${duration(seconds)}: ${number.format(done)} of ${number.format(total)}`);
  setText(byId("items-strip-end"), duration(seconds));
}

function showReport(report) {
  const { total, done, lost, doubled, failed } = report;
  const text = `${total} items: ${done} done, ${lost} lost, ${doubled} doubled, ${failed} failed`;
  setText(byId("report-count"), text);
  byId("copy-report").dataset.copy = text;
  setText(byId("report-rates"), `${duration(report.seconds)}: ${tenths.format(report.items_per_second)} items/s, ${tenths.format(report.pods_per_second)} pods/s, ${number.format(report.pods)} pods`);
}
