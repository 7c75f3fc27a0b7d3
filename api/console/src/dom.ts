// Builds elements; text is always set as text, for names and errors come from devices.

type Child = Node | string | null;

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Runs `work`, unless what `pressed` began before still runs. `disabled` would take the keyboard away from it. */
export function once(pressed: HTMLElement, work: () => Promise<void>): void {
  if (pressed.getAttribute("aria-disabled") === "true") return;
  pressed.setAttribute("aria-disabled", "true");
  void work().finally(() => {
    pressed.removeAttribute("aria-disabled");
  });
}

export function button(label: string, onClick: () => void, kind = "plain"): HTMLButtonElement {
  const made = element("button", { type: "button", class: kind }, label);
  made.addEventListener("click", onClick);
  return made;
}
