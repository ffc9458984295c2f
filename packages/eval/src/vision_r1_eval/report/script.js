"use strict";

const root = document.documentElement;
window.addEventListener("error", (event) => { root.dataset.error = event.message; });

// Opened from a file, a page may be denied storage; then the theme lasts as long as the page.
function remembered(theme) {
  try {
    if (theme) localStorage.setItem("theme", theme);
    return localStorage.getItem("theme");
  } catch {
    return theme;
  }
}

function setUpTheme() {
  const theme = remembered();
  if (theme) root.dataset.theme = theme;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.dataset.theme = (root.dataset.theme || dark) === "dark" ? "light" : "dark";
    remembered(root.dataset.theme);
  });
}

function setUpGallery() {
  const buttons = [...document.querySelectorAll("[data-filter]")];
  const show = (kind) => {
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.filter === kind);
    for (const scene of document.querySelectorAll(".scene"))
      scene.hidden = kind !== "all" && scene.dataset.change !== kind;
  };
  for (const button of buttons) button.addEventListener("click", () => show(button.dataset.filter));
  // A link can open the page on one kind of scene: report.html#worse.
  const asked = location.hash.slice(1);
  if (buttons.some((button) => button.dataset.filter === asked)) show(asked);
  for (const button of document.querySelectorAll(".enlarge"))
    button.addEventListener("click", () => {
      const large = button.closest(".scene").classList.toggle("large");
      button.textContent = large ? "Shrink" : "Enlarge";
      button.setAttribute("aria-pressed", large);
    });
}

function setUpChart(chart, tip) {
  const plot = JSON.parse(chart.dataset.plot);
  const cursor = chart.querySelector(".cursor");
  const nearest = (points, x) =>
    points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));
  const lines = plot.lines.filter((line) => line.points.length);
  const hide = () => { tip.hidden = true; cursor.style.visibility = "hidden"; };

  const show = (event) => {
    const frame = chart.getBoundingClientRect();
    const scale = frame.width / plot.viewWidth;
    const share = ((event.clientX - frame.left) / scale - plot.left) / (plot.right - plot.left);
    if (!lines.length || share < -0.03 || share > 1.03) return hide();
    const pointed = plot.low + share * (plot.high - plot.low);
    const x = nearest(lines.map((line) => nearest(line.points, pointed)), pointed)[0];
    const place = plot.left + ((x - plot.low) / (plot.high - plot.low)) * (plot.right - plot.left);
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
    cursor.style.visibility = "visible";
    const head = document.createElement("b");
    head.textContent = `${plot.xLabel} ${x.toLocaleString("en")}`;
    tip.replaceChildren(head, ...lines.map((line) => row(line.name, nearest(line.points, x)[1])));
    tip.hidden = false;
    const left = frame.left + place * scale;
    const flip = left + tip.offsetWidth + 24 > innerWidth;
    tip.style.left = `${Math.max(4, flip ? left - tip.offsetWidth - 12 : left + 12)}px`;
    tip.style.top = `${Math.max(4, event.clientY - tip.offsetHeight - 12)}px`;
  };
  chart.addEventListener("pointermove", show);
  chart.addEventListener("pointerdown", show);
  chart.addEventListener("pointerleave", hide);
}

function row(name, value) {
  const line = document.createElement("div");
  for (const part of [name, value.toPrecision(3)]) {
    const cell = document.createElement("span");
    cell.textContent = part;
    line.append(cell);
  }
  return line;
}

setUpTheme();
setUpGallery();
const tip = document.getElementById("tip");
for (const chart of document.querySelectorAll("[data-plot]")) setUpChart(chart, tip);
root.dataset.ready = "true";
