// What all parts of the page use: the API, and small helpers.

// The path of Airflow's own address, which is empty unless Airflow is behind a reverse proxy.
export const AIRFLOW = location.pathname.replace(/\/cpu-wall\/$/, "");
export const number = new Intl.NumberFormat("en");
export const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
export const byId = (id) => document.getElementById(id);

// Sends a request to Airflow or, by default, to the wall's own API. A body is sent as JSON by POST.
export async function fetchJson(path, { base = "api/", body } = {}) {
  const headers = { accept: "application/json", ...(body && { "content-type": "application/json" }) };
  const response = await fetch(base + path, { headers, ...(body && { method: "POST", body: JSON.stringify(body) }) });
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    const detail = typeof answer.detail === "string" ? answer.detail : "";
    const login = response.status === 401 || (response.status === 403 && !body) ? "Log in to Airflow, then reload this page." : "";
    throw new Error(login || detail || `${response.status} ${response.statusText}`);
  }
  return response.json();
}

export function messageOf(error) {
  return error instanceof TypeError ? "Airflow does not answer; trying again." : error.message;
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
  const [only, ...others] = node.childNodes;
  if (others.length || only?.nodeType !== Node.TEXT_NODE) node.textContent = text;
  else if (only.data !== text) only.data = text; // a new text node would cost the browser a new layout object
}

// An SVG path as an element: of that class, and perhaps with a title, which browsers show on hovering.
export function svgPath(className, d, title = "") {
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("class", className);
  path.setAttribute("d", d);
  if (title) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", "title");
    node.textContent = title;
    path.append(node);
  }
  return path;
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

// A button that copies a text; `what` names the text for people.
export function copyButton(what, text) {
  return element("button", { type: "button", class: "copy", "data-copy": text, title: `Copy ${what}`, "aria-label": `Copy ${what}` }, "copy");
}

// Copies the text of any copy button, and says so on the button for a moment.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button || button.dataset.copied) return;
  const before = button.textContent;
  const copied = await copy(button);
  button.dataset.copied = copied;
  button.textContent = copied ? "copied" : "failed";
  setTimeout(() => {
    button.textContent = before;
    delete button.dataset.copied;
  }, 1000);
});

async function copy(button) {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers have no clipboard for pages over plain HTTP; the older way is from a selected field.
    const field = element("textarea", { readonly: "", class: "offscreen" });
    field.value = text;
    button.after(field); // not elsewhere: an open dialog makes the rest of the page inert
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    button.focus();
    return copied;
  }
}
