// One stream: its picture, and below it all that hangs on it.

import type { PlayAddresses, Session, StreamFigures } from "./api";
import { button, element } from "./dom";
import { describe } from "./format";
import { Player } from "./player";
import { RecordingPanel } from "./recordings";
import { OptionPanel } from "./streamOptions";
import { StreamCalls } from "./streamApi";
import { addresses, inputs, pushes, senders, viewers } from "./streamTabs";
import { Tabs, type Tab } from "./tabs";
import { text } from "./text";

export interface Watched {
  /** What people call it. */
  title: string;
  name: string;
  pulled: boolean;
  stream: StreamFigures | null;
  play: PlayAddresses | null;
}

export class StreamPanel {
  readonly view: HTMLElement;
  private readonly figures = element("p", { class: "figures" });
  private readonly player: Player | null;
  private readonly tabs: Tabs;

  constructor(
    session: Session,
    readonly watched: Watched,
    onClose: () => void,
  ) {
    const { stream, play, title, name, pulled } = watched;
    const calls = new StreamCalls(session, name);
    this.player = stream === null || play === null ? null : new Player(play, stream);
    const tabs: Tab[] = [
      { id: "viewers", label: text("viewers"), build: () => viewers(calls) },
      { id: "recordings", label: text("recordings"), build: () => new RecordingPanel(calls, stream) },
      { id: "pushes", label: text("pushes"), build: () => pushes(calls) },
      { id: "senders", label: text("senders"), build: () => senders(calls) },
    ];
    if (pulled) tabs.push({ id: "inputs", label: text("inputs"), build: () => inputs(calls) });
    tabs.push({ id: "options", label: text("options"), build: () => new OptionPanel(calls) });
    if (play !== null)
      tabs.unshift({ id: "addresses", label: text("addresses"), build: () => addresses(play, stream) });
    this.tabs = new Tabs(tabs);
    const close = button(text("close"), () => {
      this.stop();
      onClose();
    });
    this.view = element(
      "section",
      { class: "player", "data-stream": name },
      element("header", {}, element("h2", {}, title), close),
      this.player?.view ?? null,
      this.figures,
      this.tabs.view,
    );
    this.update(stream);
  }

  update(stream: StreamFigures | null): void {
    this.figures.textContent = stream === null ? text("notFlowing") : describe(stream);
  }

  stop(): void {
    this.player?.stop();
    this.tabs.stop();
    this.view.remove();
  }
}
