// Channels of devices: invite and cancel them, watch one, ask why one shows nothing.

import { listChannels, setInvited, type Channel, type Session } from "./api";
import { DiagnosisPanel } from "./diagnosis";
import { button, element } from "./dom";
import { describe, viewerCount } from "./format";
import { Pager } from "./pager";
import { reasonOf } from "./play/form";
import { StreamPanel } from "./streamPanel";
import { statusText, text } from "./text";

const PAGE_SIZE = 50;
const REFRESH_MS = 2000;

export class ChannelPage {
  readonly view: HTMLElement;
  private readonly note = element("p", { class: "error", role: "alert" });
  private readonly count = element("span", { class: "count" });
  private readonly stage = element("div", { class: "stage" });
  private readonly rows = element("div", { class: "channels" });
  private readonly pager = new Pager(PAGE_SIZE, () => void this.refresh());
  private panel: StreamPanel | null = null;
  private timer = 0;
  private stopped = false;

  constructor(private readonly session: Session) {
    const heading = element("h2", {}, text("channels"), " ", this.count);
    this.view = element("main", {}, this.stage, heading, this.note, this.rows, this.pager.view);
    void this.refresh();
  }

  stop(): void {
    this.stopped = true;
    window.clearTimeout(this.timer);
    this.panel?.stop();
  }

  private async refresh(): Promise<void> {
    window.clearTimeout(this.timer);
    try {
      const { total, channels } = await listChannels(this.session, this.pager.offset, PAGE_SIZE);
      this.note.textContent = "";
      this.count.textContent = String(total);
      this.rows.replaceChildren(
        ...(channels.length === 0
          ? [element("p", { class: "note" }, text("none"))]
          : channels.map((c) => this.row(c))),
      );
      this.pager.draw(total);
      const watched = channels.find((channel) => channel.stream_name === this.panel?.watched.name);
      if (watched !== undefined) this.panel?.update(watched.stream);
    } catch (error) {
      this.note.textContent = reasonOf(error);
    }
    if (!this.stopped) this.timer = window.setTimeout(() => void this.refresh(), REFRESH_MS);
  }

  private row(channel: Channel): HTMLElement {
    const { stream, invitation_status: status } = channel;
    const running = stream === null ? "" : `${describe(stream)} · ▶ ${String(viewerCount(stream))}`;
    const invited = !["ONLINE", "OFFLINE", "UNREGISTERED"].includes(status);
    const actions = element("div", { class: "actions" });
    if (channel.failure !== null || (stream === null && status !== "ONLINE"))
      actions.append(
        button(text("why"), () => {
          this.explain(channel);
        }),
      );
    const flows = channel.play !== null && stream !== null;
    actions.append(
      button(
        text(flows ? "play" : "open"),
        () => {
          this.watch(channel);
        },
        flows ? "primary" : "plain",
      ),
    );
    if (invited) actions.append(button(text("cancel"), () => void this.change(channel, false)));
    else if (status === "ONLINE")
      actions.append(button(text("invite"), () => void this.change(channel, true)));
    return element(
      "article",
      { class: "channel", "data-channel": channel.channel_id },
      element("span", { class: `status ${status}` }, statusText(status)),
      element(
        "div",
        { class: "what" },
        element("strong", {}, channel.name),
        element("code", {}, `${channel.device_id} / ${channel.channel_id}`),
        element("span", { class: "figures" }, running),
        channel.failure === null ? null : element("span", { class: "error" }, channel.failure),
      ),
      actions,
    );
  }

  private watch(channel: Channel): void {
    this.panel?.stop();
    const { name: title, stream_name: name, stream, play } = channel;
    this.panel = new StreamPanel(this.session, { title, name, pulled: false, stream, play }, () => {
      this.panel = null;
    });
    this.stage.replaceChildren(this.panel.view);
    this.stage.scrollIntoView({ behavior: "smooth" });
  }

  private explain(channel: Channel): void {
    this.panel?.stop();
    this.panel = null;
    this.stage.replaceChildren(new DiagnosisPanel(this.session, channel).view);
    this.stage.scrollIntoView({ behavior: "smooth" });
  }

  private async change(channel: Channel, invited: boolean): Promise<void> {
    try {
      await setInvited(this.session, channel, invited);
      await this.refresh();
    } catch (error) {
      this.note.textContent = reasonOf(error);
    }
  }
}
