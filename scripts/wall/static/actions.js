// What people may do on the wall, if Airflow lets them: cancel the start run, and kill the pod of a CPU.

import { shown } from "./address.js";
import { AIRFLOW, byId, fetchJson, link, messageOf } from "./page.js";
import { cpuOf, offerShots, setNotice } from "./tiles.js";

const NOTICE_MILLISECONDS = 60_000;
let rights = null; // what the user may do, once it is known
const shots = new Map(); // CPU number → the cycle whose pod was killed, while its outcome is awaited

// Called after each poll.
export async function refreshActions(wall) {
  rights ??= await fetchJson("rights");
  offerShots(rights.shoot);
  const isOver = wall.ended !== null || wall.cancelled;
  byId("open-cancel").hidden = !rights.cancel || isOver;
  if (wall.cancelled) byId("cancel").close();
  byId("shoot").hidden = !rights.shoot || cpuOf(Number(shown.cpu))?.state !== "running";
  await Promise.all([...shots].map(([cpu, cycle]) => followShot(wall.start, cpu, cycle)));
}

// ------------------------------------------------------------------ cancel

// Airflow's own API triggers the DAG: it checks the user's rights and writes to its audit log.
async function cancelStartRun() {
  const start = shown.start;
  byId("confirm-cancel").disabled = true;
  try {
    const body = { conf: { start }, logical_date: null };
    const run = await fetchJson("dags/cpu_cancel/dagRuns", { base: `${AIRFLOW}/api/v2/`, body });
    const href = `${AIRFLOW}/dags/cpu_cancel/runs/${encodeURIComponent(run.dag_run_id)}`;
    byId("cancelled").replaceChildren("Cancelling: each CPU stops at its next cycle. See the ", link(href, "DAG run of cpu_cancel"), ".");
    byId("cancel").close();
  } catch (error) {
    byId("cancel-error").textContent = messageOf(error);
  }
  byId("confirm-cancel").disabled = false;
}

// ------------------------------------------------------------------ shoot a pod

async function shoot(cpu) {
  const start = shown.start;
  setNotice(cpu, "Waiting for its pod …");
  try {
    const { cycle } = await fetchJson(`starts/${encodeURIComponent(start)}/cpus/${cpu}/shoot`, { body: {} });
    setNotice(cpu, `Pod killed in cycle ${cycle}.`);
    shots.set(cpu, cycle);
  } catch (error) {
    endNotice(cpu, messageOf(error));
  }
}

async function followShot(start, cpu, cycle) {
  const { runs, history } = await fetchJson(`starts/${encodeURIComponent(start)}/cpus/${cpu}`);
  const run = runs.find((one) => one.run_id === `${start}.cpu-${cpu}.cycle-${cycle}`);
  if (!run || shots.get(cpu) !== cycle) return;
  if (run.state === "success") {
    shots.delete(cpu);
    endNotice(cpu, outcome(cycle, run, history));
  } else if (run.state === "failed") {
    shots.delete(cpu);
    endNotice(cpu, `Pod killed in cycle ${cycle}; its DAG run failed after ${run.tries} tries.`);
  } else if (run.tries > 1) {
    setNotice(cpu, `Pod killed in cycle ${cycle}; try ${run.tries} runs it again.`);
  }
}

function outcome(cycle, { tries }, history) {
  if (tries < 2) return `Too late: the pod had done cycle ${cycle} already.`;
  if (cycle === 0) return `Pod killed while it loaded the CPU; try ${tries} loaded it.`;
  const after = history.find((one) => one.cycle >= cycle)?.cycle;
  return `Pod killed in cycle ${cycle}; try ${tries} did it, and it counts once: ${cycle - 1} → ${after}.`;
}

// Shows a last notice, and removes it after a while.
function endNotice(cpu, text) {
  setNotice(cpu, text);
  setTimeout(() => setNotice(cpu, "", text), NOTICE_MILLISECONDS);
}

// ------------------------------------------------------------------ what people do

byId("open-cancel").addEventListener("click", () => {
  byId("cancel-start").textContent = shown.start;
  byId("cancel-error").textContent = "";
  byId("cancel").showModal();
});
byId("confirm-cancel").addEventListener("click", cancelStartRun);
byId("shoot").addEventListener("click", () => shoot(Number(shown.cpu)));
byId("tiles").addEventListener("click", (event) => {
  const button = event.target.closest(".shoot");
  if (button) shoot(Number(button.dataset.shoot));
});
byId("start").addEventListener("change", () => {
  shots.clear();
  byId("cancelled").replaceChildren();
});
