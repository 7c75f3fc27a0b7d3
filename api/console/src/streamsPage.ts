// Streams of one's own: pushed to us, or pulled from somewhere.

import type { Session } from "./api";
import { sayCause } from "./causes";
import { button, element } from "./dom";
import { describe, viewerCount } from "./format";
import { reasonOf } from "./play/form";
import { Pager } from "./pager";
import { StreamCalls, Streams, type NewStream, type Stream } from "./streamApi";
import { StreamPanel } from "./streamPanel";
import { addressList } from "./streamTabs";
import { field, Fresh, line, select } from "./table";
import { chineseReader, text } from "./text";

const PAGE_SIZE = 50;

function why({ reason, reason_code }: { reason: string; reason_code: string }): string {
  return sayCause(reason_code, reason, chineseReader);
}

export class StreamsPage {
  readonly view: HTMLElement;
  private readonly stage = element("div", { class: "stage" });
  private readonly count = element("span", { class: "count" });
  private readonly pager = new Pager(PAGE_SIZE, () => void this.list.refresh());
  private readonly streams: Streams;
  private readonly list: Fresh;
  private panel: StreamPanel | null = null;

  constructor(private readonly session: Session) {
    this.streams = new Streams(session);
    this.list = new Fresh(() => this.draw());
    const heading = element("h2", {}, text("ownStreams"), " ", this.count);
    this.view = element("main", {}, this.stage, heading, this.form(), this.list.view, this.pager.view);
  }

  stop(): void {
    this.list.stop();
    this.panel?.stop();
  }

  private form(): HTMLElement {
    const url = field("url", "http://…, rtsp://…, rtmp://…", { class: "wide" });
    const kind = select("access_type", text("source"), { RTMP: text("pushed"), "HTTP-FLV": text("pulled") });
    const choose = (): void => {
      url.hidden = url.disabled = kind.value === "RTMP";
    };
    kind.addEventListener("change", choose);
    choose();
    const name = field("name", text("streamName"), { maxlength: "128" });
    const coding = select("encode_type", text("coding"), { H264: "H.264", H265: "H.265" });
    const share = select("share_type", text("share"), { PRIVATE: text("private"), PUBLIC: text("public") });
    const form = line([name, kind, url, coding, share], text("add"), async (values) => {
      await this.streams.create(values as unknown as NewStream);
      await this.list.refresh();
    });
    form.addEventListener("reset", () => window.setTimeout(choose));
    return form;
  }

  private async draw(): Promise<HTMLElement> {
    const { total, streams } = await this.streams.own(this.pager.offset, PAGE_SIZE);
    this.count.textContent = String(total);
    this.pager.draw(total);
    const watched = streams.find((one) => one.name === this.panel?.watched.name);
    if (watched !== undefined) this.panel?.update(watched.stream);
    if (total === 0) return element("p", { class: "note" }, text("noStreams"));
    return element("div", { class: "channels" }, ...streams.map((one) => this.row(one)));
  }

  private row(stream: Stream): HTMLElement {
    const active = stream.state === "ACTIVE";
    const standing =
      stream.stream !== null ? "FLOWING" : active ? (stream.source?.state ?? "WAITING") : "STOPPED";
    const figures =
      stream.stream === null ? "" : `${describe(stream.stream)} · ▶ ${String(viewerCount(stream.stream))}`;
    const remove = this.list.act(text("remove"), stream.name, async () => {
      if (window.confirm(text("reallyRemove", { name: stream.name }))) await this.streams.remove(stream.name);
    });
    const actions = [
      button(
        text(stream.stream === null ? "open" : "play"),
        () => {
          this.open(stream);
        },
        stream.stream === null ? "plain" : "primary",
      ),
      active && stream.access_type === "RTMP"
        ? button(text("publish"), () => void this.tell(new StreamCalls(this.session, stream.name)))
        : null,
      this.list.act(text(active ? "stop" : "start"), stream.name, () =>
        this.streams.setActive(stream.name, !active),
      ),
      remove,
    ];
    return element(
      "article",
      { class: "channel", "data-stream": stream.name },
      element("span", { class: `status ${standing}` }, text(standing as "FLOWING")),
      element(
        "div",
        { class: "what" },
        element("strong", {}, stream.name),
        element("code", {}, text(stream.access_type === "RTMP" ? "pushed" : "pulled")),
        element("span", { class: "figures" }, figures),
        stream.source === null || stream.source.reason === "" || stream.stream !== null
          ? null
          : element("span", { class: "error", title: stream.source.reason }, why(stream.source)),
      ),
      element("div", { class: "actions" }, ...actions),
    );
  }

  private open(stream: Stream): void {
    this.panel?.stop();
    const pulled = stream.access_type !== "RTMP" && stream.state === "ACTIVE";
    const watched = {
      title: stream.name,
      name: stream.name,
      pulled,
      stream: stream.stream,
      play: stream.play,
    };
    this.panel = new StreamPanel(this.session, watched, () => (this.panel = null));
    this.stage.replaceChildren(this.panel.view);
    this.stage.scrollIntoView({ behavior: "smooth" });
  }

  /** Where encoders push it to. */
  private async tell(stream: StreamCalls): Promise<void> {
    this.panel?.stop();
    this.panel = null;
    const card = element("section", { class: "player" });
    const close = button(text("close"), () => {
      card.remove();
    });
    card.append(element("header", {}, element("h2", {}, text("publishTo", { name: stream.name })), close));
    try {
      const told = await stream.pushAddress();
      card.append(
        addressList([
          [text("server"), told.server],
          [text("streamKey"), told.stream_key],
          ["RTSP", told.rtsp],
          ["WebRTC (WHIP)", told.whip],
        ]),
      );
    } catch (error) {
      card.append(element("p", { class: "error", role: "alert" }, reasonOf(error)));
    }
    this.stage.replaceChildren(card);
    this.stage.scrollIntoView({ behavior: "smooth" });
  }
}
