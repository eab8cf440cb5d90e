// Draws one page of photos at a time, whatever their number; pictures are taken up when their card is drawn.
const PER_PAGE = 24;
const photos = JSON.parse(document.getElementById("photos").textContent);
const filters = document.getElementById("filters"), cards = document.getElementById("cards");
const STATES = {done: "done", failed: "failed", damaged: "done, but damaged", "left-out": "left out"};
let shown = photos.map((_, number) => number), page = 0;

const ratio = () => document.documentElement.style.setProperty("--dpr", window.devicePixelRatio || 1);
ratio();
window.addEventListener("resize", ratio);

const element = (name, text, style) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (style) made.className = style;
  return made;
};
const value = (photo, field) => field === "folder" ? photo.folder || "." : photo[field] ?? "";

for (const field of ["state", "camera", "iso", "folder"]) {
  const choice = filters.elements[field];
  const values = [...new Set(photos.map((photo) => value(photo, field)))];
  values.sort((one, other) => field === "iso" ? one - other : String(one).localeCompare(String(other)));
  choice.append(new Option("all", "*"));
  for (const each of values)
    choice.append(new Option(field === "state" ? STATES[each] : each === "" ? "unknown" : each, each));
}

function select() {
  const chosen = filters.elements, text = chosen.text.value.toLowerCase();
  shown = [...photos.keys()].filter((number) => {
    const photo = photos[number];
    return ["state", "camera", "iso", "folder"].every((field) =>
      chosen[field].value === "*" || String(value(photo, field)) === chosen[field].value)
      && (!text || (photo.name + "\n" + photo.input).toLowerCase().includes(text));
  });
  const order = {noise: "before", seconds: "seconds"}[chosen.order.value];
  if (order) shown.sort((one, other) => (photos[other][order] ?? -1) - (photos[one][order] ?? -1));
  page = 0;
  draw();
}

function slider(number) {
  const [before, after, removed, width, height] = JSON.parse(document.getElementById("pictures-" + number).textContent);
  const made = document.createElement("before-after"), jpeg = "data:image/jpeg;base64,";
  made.style.setProperty("--w", width);
  made.style.setProperty("--h", height);
  const left = element("img"), right = element("img"), label = element("b", "after", "right");
  left.src = jpeg + before;
  right.src = jpeg + after;
  left.alt = "before";
  right.alt = "after";
  made.append(left, right, element("b", "before", "left"), label);
  const button = element("button", "show what was removed");
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    right.src = jpeg + (on ? removed : after);
    right.alt = label.textContent = on ? "removed, amplified" : "after";
  });
  const scroll = element("div", undefined, "scroll");
  scroll.append(made);
  return [scroll, button];
}

function card(number) {
  const photo = photos[number], made = element("article", undefined, "card " + photo.state);
  if (photo.pictures) made.append(...slider(number));
  made.append(element("h3", photo.name));
  const shot = photo.iso ? `${photo.camera}, ISO ${photo.iso}` : photo.camera;
  made.append(element("p", shot + (photo.megapixels ? `, ${photo.megapixels.toFixed(1)} megapixels` : ""), "soft"));
  if (photo.error) made.append(element("p", photo.error, "error"));
  if (photo.remedy) made.append(element("p", "What helps: " + photo.remedy + "."));
  if (photo.before !== undefined) {
    const strength = photo.strength === undefined ? "" : `, strength ${Math.round(100 * photo.strength)} %`;
    made.append(element("p", `noise ${photo.before.toFixed(1)} → ${photo.after.toFixed(1)} of 255${strength}`));
    if (photo.notes) made.append(element("p", photo.notes, "soft"));
  }
  if (photo.engine) {
    made.append(element("p", `profile ${photo.profile} (${photo.why}); ${photo.engine}; ${photo.seconds.toFixed(1)} s`, "soft"));
    if (photo.lost) made.append(element("p", "not kept: " + photo.lost, "soft"));
    if (!photo.pictures) made.append(element("p", "no picture in this report", "soft"));
  }
  return made;
}

function draw() {
  const pages = Math.max(1, Math.ceil(shown.length / PER_PAGE));
  cards.replaceChildren(...shown.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(card));
  document.getElementById("count").textContent = `${shown.length} of ${photos.length} photos`;
  document.getElementById("page").textContent = `page ${page + 1} of ${pages}`;
  document.getElementById("pages").hidden = pages === 1;
  document.getElementById("back").disabled = page === 0;
  document.getElementById("on").disabled = page === pages - 1;
}

filters.addEventListener("input", (event) => {
  if (event.target.name !== "zoom") return select();
  document.documentElement.style.setProperty("--zoom", event.target.value);
  document.documentElement.style.setProperty("--rendering", event.target.value > 1 ? "pixelated" : "auto");
});
filters.addEventListener("submit", (event) => event.preventDefault());
for (const [name, step] of [["back", -1], ["on", 1]])
  document.getElementById(name).addEventListener("click", () => {
    page += step;
    draw();
    filters.scrollIntoView();
  });
filters.hidden = false;
draw();
