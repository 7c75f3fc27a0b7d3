// What hangs on a stream: its addresses, who watches, where it is sent, where it comes from.

import type { PlayAddresses, StreamFigures } from "./api";
import { sayCause } from "./causes";
import { element } from "./dom";
import { size, since } from "./format";
import type { StreamCalls } from "./streamApi";
import { field, Fresh, line, select, table } from "./table";
import type { Panel } from "./tabs";
import { chineseReader, statusText, text } from "./text";

const BACKUPS: Record<string, string> = {
  passive: text("passive"),
  active: text("active"),
  disabled: text("disabled"),
};

export function addressList(rows: readonly (readonly [string, string | null])[]): HTMLElement {
  const lines = rows.flatMap(([label, address]) =>
    address === null
      ? []
      : [element("div", { class: "address" }, element("span", {}, label), element("code", {}, address))],
  );
  return element("div", { class: "addresses" }, ...lines);
}

export function addresses(play: PlayAddresses, stream: StreamFigures | null): Panel {
  const list = addressList([
    ["HTTP-FLV", play.http_flv],
    ["WS-FLV", play.ws_flv],
    ["HTTP-TS", play.http_ts],
    ["WS-TS", play.ws_ts],
    ["HTTP-fMP4", play.http_fmp4],
    ["WS-fMP4", play.ws_fmp4],
    ["HLS (TS)", play.hls],
    ["HLS (fMP4)", play.hls_fmp4],
    ["LL-HLS", play.hls_ll],
    ["RTMP", play.rtmp],
    ["RTSP", play.rtsp],
    ["WebRTC", play.whep],
  ]);
  const silent = stream !== null && stream.without_sound.length > 0;
  const note = silent ? text("withoutSound", { codec: stream.audio_codec ?? "" }) : "";
  return { view: element("div", {}, list, element("p", {}, note)), stop: () => undefined };
}

export function viewers(stream: StreamCalls): Panel {
  const headings = [text("protocol"), text("peer"), text("program"), text("since"), text("sent"), ""];
  const list: Fresh = new Fresh(async () => {
    const rows = (await stream.viewers()).map((viewer) => [
      viewer.protocol,
      viewer.peer ?? "–",
      element("span", { class: "long", title: viewer.user_agent }, viewer.user_agent || "–"),
      since(viewer.since),
      size(viewer.bytes_out),
      list.act(text("kick"), viewer.id, () => stream.kick(viewer)),
    ]);
    return table(headings, rows);
  });
  return list;
}

export function pushes(stream: StreamCalls): Panel {
  const headings = [text("target"), text("standing"), text("sent"), ""];
  const list: Fresh = new Fresh(async () => {
    const rows = (await stream.pushes()).map((push) => [
      element("code", {}, push.url),
      element(
        "span",
        { title: push.reason },
        push.reason === ""
          ? statusText(push.state)
          : `${statusText(push.state)}: ${sayCause(push.reason_code, push.reason, chineseReader)}`,
      ),
      size(push.bytes_out),
      list.act(text("remove"), push.push_id, () => stream.removePush(push)),
    ]);
    return table(headings, rows);
  });
  const url = field("url", "rtmp://server/app/name", {
    type: "url",
    class: "wide",
    pattern: "(rtmps?|rtsps?)://.+",
  });
  const add = line([url], text("add"), async (values) => {
    await stream.addPush(values["url"] ?? "");
    await list.refresh();
  });
  return { view: element("div", {}, list.view, add), stop: list.stop.bind(list) };
}

export function senders(stream: StreamCalls): Panel {
  const headings = [text("target"), text("transport"), "SSRC", text("standing"), text("sent"), ""];
  const list: Fresh = new Fresh(async () => {
    const rows = (await stream.senders()).map((sender) => [
      sender.peer ?? "–",
      `${sender.transport}, ${sender.payload}`,
      String(sender.ssrc).padStart(10, "0"),
      sender.state === "waiting" ? text("waitingForKey") : statusText(sender.state),
      size(sender.bytes),
      list.act(text("remove"), sender.id, () => stream.removeSender(sender)),
    ]);
    return table(headings, rows);
  });
  const fields = [
    select("transport", text("transport"), { udp: "UDP", tcp_active: "TCP" }),
    field("host", text("address")),
    field("port", text("port"), { type: "number", min: "1", max: "65535" }),
    field("ssrc", "SSRC", { type: "number", min: "0", max: "4294967295" }),
  ];
  const add = line(fields, text("add"), async ({ transport, host, port, ssrc }) => {
    await stream.addSender(transport ?? "udp", host ?? "", Number(port), Number(ssrc));
    await list.refresh();
  });
  return { view: element("div", {}, list.view, add), stop: list.stop.bind(list) };
}

export function inputs(stream: StreamCalls): Panel {
  const headings = ["", text("peer"), text("backup"), text("standing"), ""];
  const list: Fresh = new Fresh(async () => {
    const rows = (await stream.inputs()).map((input) => [
      String(input.number),
      element("code", {}, input.url),
      input.number === 1 ? "–" : (BACKUPS[input.backup] ?? input.backup),
      text(input.active ? "feeds" : input.ready ? "ready" : "idle"),
      element(
        "div",
        { class: "actions" },
        input.active || input.backup === "disabled"
          ? null
          : list.act(text("switch"), input.id, () => stream.switchInput(input)),
        input.number === 1 ? null : list.act(text("remove"), input.id, () => stream.removeInput(input)),
      ),
    ]);
    return table(headings, rows);
  });
  const fields = [
    field("url", "http://…, rtsp://…, rtmp://…", { class: "wide" }),
    select("backup", text("backup"), BACKUPS),
  ];
  const add = line(fields, text("add"), async ({ url, backup }) => {
    await stream.addInput(url ?? "", backup ?? "passive");
    await list.refresh();
  });
  return { view: element("div", {}, list.view, add), stop: list.stop.bind(list) };
}
