// Two pictures of one place with a border between them that pointer, finger and arrow keys move.
class BeforeAfter extends HTMLElement {
  connectedCallback() {
    if (this.range) return;
    const range = document.createElement("input");
    Object.assign(range, {type: "range", min: 0, max: 100, step: 1, value: 50});
    range.setAttribute("aria-label", "border between before and after");
    range.addEventListener("input", () => this.show(range.value));
    this.append(range);
    this.range = range;
    this.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.setPointerCapture(event.pointerId);
      range.focus({preventScroll: true});
      this.follow(event);
      event.preventDefault();
    });
    this.addEventListener("pointermove", (event) => {
      if (this.hasPointerCapture(event.pointerId)) this.follow(event);
    });
    this.show(50);
  }
  follow(event) {
    const place = this.getBoundingClientRect();
    this.show(Math.min(100, Math.max(0, 100 * (event.clientX - place.left) / place.width)));
  }
  show(share) {
    this.range.value = share;
    this.style.setProperty("--at", share + "%");
  }
}
customElements.define("before-after", BeforeAfter);
