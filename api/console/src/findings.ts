// A diagnosis in the reader's language: the gateway says it in English, and with codes and values to say it in others.

import type { Finding } from "./api";

const chinese: Record<string, [string, string]> = {
  registered: ["自 {since} 起经 {transport} 从 {remote} 注册，有效至 {until}。", ""],
  never_registered: [
    "设备从未注册，网关启动以来也没有收到它的 REGISTER。",
    "请在摄像机中填写：SIP 服务器编号 {server_id}，域 {domain}，服务器 {sip}，设备编号 {device_id}；并确认它能通过 UDP 和 TCP 访问该地址。",
  ],
  wrong_password: [
    "来自 {source} 的 {count} 次 REGISTER 密码错误，最近一次在 {ago} 前。",
    "请在摄像机中填写凭证 {credential} 的密码。一分钟内错五次后须等待一分钟。",
  ],
  challenge_unanswered: [
    "设备 {ago} 前从 {source} 请求注册，但没有回应密码质询。",
    "请在摄像机中设置认证密码；若已设置，则是我们的 401 没有到达设备，请查看 SIP 跟踪。",
  ],
  register_refused: [
    "来自 {source} 的 {count} 次 REGISTER 被拒绝，最近一次在 {ago} 前：{reason}。",
    "请消除上述原因；封禁一分钟后自动解除。",
  ],
  stranger: [
    "未知编号 {id} 正从 {source} 请求注册。",
    "若这就是该摄像机，则设备编号填错了，应为 {device_id}。",
  ],
  registration_ended: [
    "设备已不在注册状态：它已注销，或注册已于 {until} 到期。",
    "请检查摄像机的电源和网络，以及其中的 GB/T 28181 是否仍启用。",
  ],
  silent: [
    "已有 {ago} 没有收到设备的消息；静默 {patience} 后视为离线。",
    "请检查电源和网络。若中间的 NAT 或防火墙会丢弃 UDP 映射，请缩短摄像机的心跳周期，或改用 TCP 注册。",
  ],
  two_addresses: ["两个地址轮流注册：有两台设备使用同一编号。", "请给每台设备各自的编号。"],
  keepalive: ["{ago} 前收到消息；心跳周期 {interval}。", ""],
  keepalive_unknown: ["{ago} 前收到消息；心跳周期尚未测得。", ""],
  keepalive_late: [
    "上次消息在 {ago} 前，而心跳周期为 {interval}；静默 {patience} 后视为离线。",
    "若经常如此，说明路上有丢包：请检查网络，或让设备用 TCP 注册。",
  ],
  clock_drift: ["设备时钟与我们相差 {drift}。", "请校正摄像机时间或启用 NTP；录像按设备时钟检索。"],
  catalogue: ["目录已读取，含 {codes} 个编码。", ""],
  catalogue_reading: ["正在读取目录。", ""],
  catalogue_missing: [
    "设备没有回应目录查询。",
    "请再次查询（channel-refresh）。若始终不回应，请查看设备偏差和 SIP 跟踪。",
  ],
  reported_off: ["设备报告本通道为 OFF。", "请检查 NVR 后面的摄像机，再重新读取目录（channel-refresh）。"],
  not_invited: ["没有人邀约此通道。", "请邀约。"],
  device_away: ["设备恢复后将自动重新邀约此通道。", ""],
  calling: ["正在呼叫，阶段：{state}。", ""],
  retrying: ["呼叫已结束，稍后自动重新邀约。", ""],
  call_stands: ["呼叫已建立，媒体经 {transport}。", ""],
  no_port: ["网关没有空闲端口接收视频：{detail}。", "请扩大 rtp.port_min 至 rtp.port_max 的范围。"],
  device_offline: ["呼叫期间设备离线。", "参见上面的注册情况。"],
  no_answer: [
    "设备没有在时限内回应 INVITE。",
    "设备已注册，但请求到不了它，或它太忙：请查看 SIP 跟踪。若在 NAT 之后，缩短心跳周期或用 TCP 注册可保持通路。",
  ],
  refused: ["设备以 {status} {detail} 拒绝了 INVITE。", "{hint}"],
  bad_answer: [
    "设备应答的 SDP 无法使用：{detail}。",
    "请换另一种传输方式（tcp_priority），并把 SIP 跟踪交给厂商。",
  ],
  connect_failed: [
    "无法连接设备的媒体地址：{detail}。",
    "TCP 主动方式要求网关能访问设备；设备在 NAT 之后时请用 TCP 被动或 UDP。",
  ],
  no_connection: [
    "设备已接受，但没有建立到 {media} 的 TCP 连接。",
    "请确认设备能通过 TCP 访问 {media}：防火墙、端口映射、rtp.advertise。",
  ],
  no_media: [
    "设备已接受，但没有一个包经 {transport} 到达 {media}。",
    "请确认设备能访问 {media}：防火墙、端口映射、rtp.advertise。UDP 被阻断时请用 TCP（tcp_priority）。",
  ],
  no_video: [
    "收到了数据包，但在时限内无法得到图像。",
    "请确认摄像机视频为 H.264 或 H.265，关键帧间隔不超过几秒；`gateway inspect --channel` 可分析收到的内容。",
  ],
  wrong_payload: [
    "设备发送的内容无法解读：{detail}。",
    "请将摄像机设为 PS over RTP、H.264 或 H.265，不加密，不用厂商私有编码。",
  ],
  media_lost: ["视频中断：{detail}。", "请检查网络和摄像机负载；通道会自动重新邀约。"],
  device_bye: ["设备主动结束了呼叫。", "常因同时连接太多：请关闭该摄像机的其他平台或观看者。"],
  media: ["{port} 端口收到来自 {peer} 的 {received}/{expected} 个包：{payload}，SSRC {ssrc}。", ""],
  media_awaited: ["还没有数据包经 {transport} 到达 {media}。", ""],
  ssrc_differs: ["设备使用 SSRC {got}，我们要求的是 {asked}；已接受。", ""],
  loss: [
    "丢失了 {percent} % 的包。",
    "请对此通道使用 TCP（tcp_priority）或降低码率；若数据突发到达，请增大 net.core.rmem_max。",
  ],
  rejected: [
    "拒绝了 {count} 个来自其他地址或 SSRC 不符的包。",
    "若设备从注册地址以外的地址发送媒体，其应答必须写明该地址。",
  ],
  faults: ["码流偏离标准：{names}。", "各项影响见 docs/media.md 中的表。"],
  picture: ["{codec} {width}×{height}，每秒 {fps} 帧；首个关键帧在 {ms} ms 后到达。", ""],
  key_frame_awaited: ["有数据包，但还没有关键帧。", "请缩短摄像机的关键帧间隔（GOP）。"],
  sound_alone: ["设备只发送声音，没有图像。", "请确认这是视频通道，且其摄像机工作正常。"],
  h265: [
    "视频为 H.265，并非所有浏览器都能播放。",
    "若只是浏览器黑屏，请将摄像机设为 H.264，或用 VLC、ffplay 播放地址。",
  ],
  sound: ["声音为 {codec}，{rate} Hz。", ""],
  viewers: ["{count} 人正在观看：{formats}。", ""],
  unwatched: ["目前无人观看。", ""],
};

const chineseHints: Record<string, string> = {
  400: "设备没有理解请求：请查看 SIP 跟踪，并换另一种传输方式（tcp_priority）。",
  403: "设备禁止：请检查设备中的平台权限和通道编号。",
  404: "设备不认识此通道：请重新读取目录（channel-refresh）。",
  408: "设备后面的摄像机没有回应：请检查 NVR 后面的摄像机。",
  480: "设备后面的摄像机不在线：请检查 NVR 后面的摄像机。",
  481: "设备已丢失此呼叫：请重新邀约。",
  486: "设备忙：请关闭该摄像机的其他平台或观看者，或重启它。",
  488: "设备不支持所提议的媒体：请换另一种传输方式（tcp_priority），并在摄像机中选择 PS 封装。",
  500: "设备内部出错：请重启并升级固件。",
  503: "设备过载或正在重启：请稍候，并减少从它取流的路数。",
};

const chineseHint = "请在 SIP 跟踪中查看设备的说明。";

function fill(template: string, values: Record<string, string>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}

export interface Said {
  text: string;
  advice: string;
}

export function say(finding: Finding, inChinese: boolean): Said {
  const known = chinese[finding.code];
  if (!inChinese || known === undefined) return { text: finding.text, advice: finding.advice };
  const status = finding.values["status"] ?? "";
  const values = { ...finding.values, hint: chineseHints[status] ?? chineseHint };
  return { text: fill(known[0], values), advice: fill(known[1], values) };
}
