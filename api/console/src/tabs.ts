// A strip of tabs: the one that is chosen is built, and stopped when it is left. Arrows go from one to the next.

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

let strips = 0;

export class Tabs {
  readonly view = element("div", { class: "tabs" });
  private readonly buttons: readonly HTMLButtonElement[];
  private readonly place = element("div", { role: "tabpanel" });
  private shown: Panel | null = null;

  constructor(private readonly tabs: readonly Tab[]) {
    const strip = String(++strips);
    this.place.id = `panel-${strip}`;
    this.buttons = tabs.map((one, at) => {
      const made = element(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${strip}-${one.id}`,
          "data-tab": one.id,
          "aria-controls": this.place.id,
        },
        one.label,
      );
      made.addEventListener("click", () => {
        this.show(at);
      });
      made.addEventListener("keydown", (event) => {
        this.key(event, at);
      });
      return made;
    });
    this.view.append(element("div", { class: "strip", role: "tablist" }, ...this.buttons), this.place);
    if (tabs.length > 0) this.show(0);
  }

  stop(): void {
    this.shown?.stop();
    this.shown = null;
  }

  private show(at: number): void {
    const tab = this.tabs[at];
    if (tab === undefined) return;
    this.stop();
    this.shown = tab.build();
    this.place.replaceChildren(this.shown.view);
    this.buttons.forEach((made, other) => {
      made.setAttribute("aria-selected", String(other === at));
      made.tabIndex = other === at ? 0 : -1;
      if (other === at) this.place.setAttribute("aria-labelledby", made.id);
    });
  }

  private key(event: KeyboardEvent, at: number): void {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return; // the browser's own, as Alt+← is back
    const last = this.buttons.length - 1;
    const goals: Record<string, number> = {
      ArrowLeft: at === 0 ? last : at - 1,
      ArrowRight: at === last ? 0 : at + 1,
      Home: 0,
      End: last,
    };
    const goal = goals[event.key];
    if (goal === undefined) return;
    event.preventDefault();
    this.show(goal);
    this.buttons[goal]?.focus();
  }
}
