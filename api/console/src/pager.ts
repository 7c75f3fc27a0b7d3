// Buttons to the pages before and behind.

import { button, element } from "./dom";
import { text } from "./text";

export class Pager {
  readonly view = element("nav", { class: "pager" });
  /** Where the page that is shown begins. */
  offset = 0;
  private drawn = "";

  /** `size`: how many a page shows; `turned` is called when another is wanted. */
  constructor(
    private readonly size: number,
    private readonly turned: () => void,
  ) {}

  /** Drawn anew only if something changed, for the keyboard may be at one of its buttons. If the page that is shown is
   *  no more, for what was on it is gone, the last one that there is takes its place. */
  draw(total: number): void {
    if (this.offset > 0 && this.offset >= total) {
      this.offset = Math.max(0, Math.ceil(total / this.size) - 1) * this.size;
      if (total > 0) this.turned();
    }
    const state = `${String(this.offset)} ${String(total)}`;
    if (state === this.drawn) return;
    this.drawn = state;
    const at = document.activeElement;
    const held = this.view.contains(at) ? at : null;
    const buttons = [
      ...(this.offset > 0 ? [this.button(text("previous"), Math.max(0, this.offset - this.size))] : []),
      ...(this.offset + this.size < total ? [this.button(text("next"), this.offset + this.size)] : []),
    ];
    this.view.replaceChildren(...buttons);
    if (held === null) return;
    const same = buttons.find((one) => one.textContent === held.textContent) ?? buttons[0];
    same?.focus({ preventScroll: true });
  }

  private button(label: string, to: number): HTMLButtonElement {
    return button(label, () => {
      this.offset = to;
      this.turned();
    });
  }
}
