
const cards = [...document.querySelectorAll(".card")];
const finder = document.getElementById("finder");
const lightbox = document.getElementById("lightbox");

function filterCards() {
  const asked = new FormData(finder);
  const words = asked.get("find").toLowerCase().split(/\s+/).filter(Boolean);
  const fits = ({ dataset }) =>
    (!asked.get("kind") || dataset.kind === asked.get("kind")) &&
    ["source", "task", "stratum"].every((key) => !asked.get(key) || `=${dataset[key]}` === asked.get(key)) &&
    words.every((word) => dataset.find.includes(word));
  for (const card of cards) card.hidden = !fits(card);
  const count = cards.filter((card) => !card.hidden).length;
  finder.querySelector("output").textContent = `${count} of ${cards.length}`;
  finder.querySelector("[type=reset]").hidden = count === cards.length;
  document.getElementById("none").hidden = count > 0;
}

function switchLabel(chip) {
  const on = chip.getAttribute("aria-pressed") !== "true";
  chip.setAttribute("aria-pressed", on);
  for (const mark of chip.closest(".card").querySelectorAll(".stage [data-label]"))
    if (mark.dataset.label === chip.dataset.label) mark.classList.toggle("off", !on);
}

let enlarged;
function enlarge(card) {
  enlarged = card;
  const copy = card.cloneNode(true);
  for (const fold of copy.querySelectorAll("details")) fold.open = true;
  lightbox.querySelector(".card")?.remove();
  lightbox.append(copy);
  if (!lightbox.open) lightbox.showModal();
}

function turn(by) {
  const shown = cards.filter((card) => !card.hidden);
  enlarge(shown[(shown.indexOf(enlarged) + by + shown.length) % shown.length]);
}

function setUpCards() {
  finder.addEventListener("input", filterCards);
  finder.addEventListener("reset", () => setTimeout(filterCards)); // once the fields are empty
  finder.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("click", ({ target }) => {
    const chip = target.closest(".chip"), open = target.closest(".open");
    if (chip) switchLabel(chip);
    else if (open) enlarge(open.closest(".card"));
    else if (target === lightbox || target.closest(".close")) lightbox.close();
    else if (target.closest(".previous")) turn(-1);
    else if (target.closest(".next")) turn(1);
  });
  lightbox.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });
  filterCards(); // a browser may keep what was chosen before the page was loaded again
}

if (finder) setUpCards();
