// What all parts of the page use: the API, and small helpers.

// The path of Airflow's own address, which is empty unless Airflow is behind a reverse proxy.
export const AIRFLOW = location.pathname.replace(/\/cpu-wall\/$/, "");
export const number = new Intl.NumberFormat("en");
export const byId = (id) => document.getElementById(id);

export async function fetchJson(path) {
  const response = await fetch(`api/${path}`, { headers: { accept: "application/json" } });
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    const login = response.status === 401 || response.status === 403 ? "Log in to Airflow, then reload this page." : "";
    throw new Error(login || body.detail || `${response.status} ${response.statusText}`);
  }
  return response.json();
}

export function element(name, attributes = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null) created.setAttribute(key, value);
  }
  created.append(...children);
  return created;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function duration(seconds) {
  if (seconds === null) return "–";
  const rounded = Math.round(seconds);
  const [h, min, s] = [Math.floor(rounded / 3600), Math.floor(rounded / 60) % 60, rounded % 60];
  return h ? `${h} h ${min} min` : min ? `${min} min ${s} s` : `${s} s`;
}

export function link(href, text) {
  return element("a", { href, target: "_top" }, text);
}
