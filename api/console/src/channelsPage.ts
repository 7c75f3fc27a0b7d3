// Channels of devices: invite and cancel them, watch one, ask why one shows nothing.

import { listChannels, setInvited, type Channel, type Session } from "./api";
import { DiagnosisPanel } from "./diagnosis";
import { button, element } from "./dom";
import { describe, viewerCount } from "./format";
import { Pager } from "./pager";
import { StreamPanel } from "./streamPanel";
import { Fresh } from "./table";
import { statusText, text } from "./text";

const PAGE_SIZE = 50;

export class ChannelPage {
  readonly view: HTMLElement;
  private readonly count = element("span", { class: "count" });
  private readonly stage = element("div", { class: "stage" });
  private readonly pager = new Pager(PAGE_SIZE, () => void this.list.refresh());
  private readonly list: Fresh;
  private panel: StreamPanel | null = null;

  constructor(private readonly session: Session) {
    this.list = new Fresh(() => this.draw());
    const heading = element("h2", {}, text("channels"), " ", this.count);
    this.view = element("main", {}, this.stage, heading, this.list.view, this.pager.view);
  }

  stop(): void {
    this.list.stop();
    this.panel?.stop();
  }

  private async draw(): Promise<HTMLElement> {
    const { total, channels } = await listChannels(this.session, this.pager.offset, PAGE_SIZE);
    this.count.textContent = String(total);
    this.pager.draw(total);
    const watched = channels.find((channel) => channel.stream_name === this.panel?.watched.name);
    if (watched !== undefined) this.panel?.update(watched.stream);
    if (total === 0) return element("p", { class: "note" }, text("none"));
    return element("div", { class: "channels" }, ...channels.map((one) => this.row(one)));
  }

  private row(channel: Channel): HTMLElement {
    const { stream, invitation_status: status } = channel;
    const running = stream === null ? "" : `${describe(stream)} · ▶ ${String(viewerCount(stream))}`;
    const invited = !["ONLINE", "OFFLINE", "UNREGISTERED"].includes(status);
    const actions = element("div", { class: "actions" });
    // A list that is drawn anew finds the button again that the keyboard was at.
    const add = (label: string, work: () => void, kind = "plain"): void => {
      const made = button(label, work, kind);
      made.dataset["key"] = channel.stream_name;
      actions.append(made);
    };
    if (channel.failure !== null || (stream === null && status !== "ONLINE"))
      add(text("why"), () => {
        this.explain(channel);
      });
    const flows = channel.play !== null && stream !== null;
    add(
      text(flows ? "play" : "open"),
      () => {
        this.watch(channel);
      },
      flows ? "primary" : "plain",
    );
    if (invited || status === "ONLINE")
      actions.append(
        this.list.act(text(invited ? "cancel" : "invite"), channel.stream_name, () =>
          setInvited(this.session, channel, !invited),
        ),
      );
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
        this.failure(channel),
      ),
      actions,
    );
  }

  /** The gateway's own words of it, with what was seen, stand behind it. */
  private failure({ failure, failure_cause: cause }: Channel): HTMLElement | null {
    if (failure === null || cause === null) return null;
    return element("span", { class: "error", title: failure }, text("failed", { cause: statusText(cause) }));
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
}
