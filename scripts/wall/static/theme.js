// Dark where Airflow's own pages are, whose frame this one may be in; before the first paint.
(() => {
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("theme");
    const dark = chosen === "dark" || (chosen !== "light" && preferred.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  apply();
  preferred.addEventListener("change", apply);
  addEventListener("storage", apply);
})();
