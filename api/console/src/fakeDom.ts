// As much of a document as tests without a browser need: elements that keep their listeners and children.

import { vi } from "vitest";

export class FakeElement {
  readonly listeners = new Map<string, (event: unknown) => void>();
  children: unknown[] = [];
  id = "";
  tabIndex = 0;
  value = "";
  textContent = "";

  setAttribute(): void {
    // nothing reads them
  }

  append(...children: unknown[]): void {
    this.children.push(...children);
  }

  replaceChildren(...children: unknown[]): void {
    this.children = children;
  }

  contains(): boolean {
    return false;
  }

  focus(): void {
    // nobody is there to see it
  }

  addEventListener(name: string, listener: (event: unknown) => void): void {
    this.listeners.set(name, listener);
  }
}

/** What code under test makes from now on; call it before that code is imported. */
export function fakeDocument(): FakeElement[] {
  const made: FakeElement[] = [];
  const createElement = (): FakeElement => {
    const one = new FakeElement();
    made.push(one);
    return one;
  };
  vi.stubGlobal("navigator", { language: "en" });
  vi.stubGlobal("document", { createElement, activeElement: null });
  return made;
}
