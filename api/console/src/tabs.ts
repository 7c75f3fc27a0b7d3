// A strip of tabs: the one that is chosen is built, and stopped when it is left.

import { element } from "./dom";

export interface Panel {
  readonly view: HTMLElement;
  stop(): void;
}

export interface Tab {
  readonly id: string;
  readonly label: string;
  build(): Panel;
}

export class Tabs {
  readonly view = element("div", { class: "tabs" });
  private readonly strip = element("div", { class: "strip", role: "tablist" });
  private readonly place = element("div", { role: "tabpanel" });
  private shown: Panel | null = null;

  constructor(private readonly tabs: readonly Tab[]) {
    this.view.append(this.strip, this.place);
    const first = tabs[0];
    if (first !== undefined) this.show(first);
  }

  stop(): void {
    this.shown?.stop();
    this.shown = null;
  }

  private show(tab: Tab): void {
    this.stop();
    this.shown = tab.build();
    this.place.replaceChildren(this.shown.view);
    this.strip.replaceChildren(
      ...this.tabs.map((one) => {
        const attributes = {
          type: "button",
          role: "tab",
          "aria-selected": String(one === tab),
          "data-tab": one.id,
        };
        const made = element("button", attributes, one.label);
        made.addEventListener("click", () => {
          this.show(one);
        });
        return made;
      }),
    );
  }
}
