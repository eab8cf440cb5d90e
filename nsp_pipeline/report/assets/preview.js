// The pictures stand in the rows below; the sliders borrow them, so that the page holds each only once.
const ratio = () => document.documentElement.style.setProperty("--dpr", window.devicePixelRatio || 1);
ratio();
window.addEventListener("resize", ratio);

for (const photo of document.querySelectorAll("section.photo")) {
  const picture = (row, way) => photo.querySelector(`.row[data-place="${row}"] img[data-way="${way}"]`);
  const chosen = {left: 0, right: 1};
  const show = () => {
    for (const slider of photo.querySelectorAll("before-after")) {
      for (const side of ["left", "right"]) {
        const image = picture(slider.dataset.place, chosen[side]);
        slider.querySelector("img." + side).src = image.src;
        slider.querySelector("img." + side).alt = image.alt;
        slider.querySelector("b." + side).textContent = image.dataset.label;
      }
    }
    for (const button of photo.querySelectorAll("button[data-side]"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.way) === chosen[button.dataset.side]));
    for (const line of photo.querySelectorAll(".made")) line.hidden = Number(line.dataset.way) !== chosen.right;
  };
  photo.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-side]");
    const image = event.target.closest(".row img");
    if (button) chosen[button.dataset.side] = Number(button.dataset.way);
    if (image) chosen.right = Number(image.dataset.way);
    if (button || image) show();
  });
  photo.querySelector(".tools").hidden = false;
  show();
}
for (const button of document.querySelectorAll("button.copy"))
  button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    getSelection().selectAllChildren(code);
    try { await navigator.clipboard.writeText(code.textContent); button.textContent = "copied"; }
    catch { button.textContent = "selected"; }
  });
const zoom = document.querySelector("#zoom");
zoom.addEventListener("change", () => {
  document.documentElement.style.setProperty("--zoom", zoom.value);
  document.documentElement.style.setProperty("--rendering", zoom.value > 1 ? "pixelated" : "auto");
});
