// Sets the colours before the first paint: dark or light as Airflow's own pages, which may show this one in a frame.
(() => {
  const systemPrefersDark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("theme"); // where Airflow keeps its setting
    const dark = chosen === "dark" || (chosen !== "light" && systemPrefersDark.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  apply();
  systemPrefersDark.addEventListener("change", apply);
  addEventListener("storage", apply);
})();
