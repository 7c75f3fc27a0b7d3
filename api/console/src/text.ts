// The page's words in the two languages its users read.

const english = {
  title: "GB/T 28181 gateway",
  name: "Name",
  password: "Password",
  logIn: "Log in",
  logOut: "Log out",
  channels: "Channels",
  none: "No channels yet. Register a device, or start the gateway with the demo devices.",
  invite: "Invite",
  cancel: "Cancel",
  play: "Play",
  close: "Close",
  noSound: "Sound: {codec} is not played by browsers here; the stream itself carries it.",
  noVideo: "This browser cannot decode {codec}. Open one of the addresses in a player such as VLC or ffplay.",
  lost: "The player stopped: {reason}",
  waiting: "Waiting for the first picture …",
  why: "Why?",
  diagnosis: "Why there is no picture",
  wellDiagnosis: "All is well",
  again: "Look again",
  registration: "Registration",
  keepalive: "Keepalive",
  catalogue: "Catalogue",
  invitation: "Call",
  media: "Media",
  picture: "Picture",
  viewers: "Viewers",
  ok: "right",
  waiting_: "waiting",
  warning: "warning",
  error: "wrong",
  previous: "Previous",
  next: "Next",
  UNREGISTERED: "never registered",
  ONLINE: "online",
  INVITING: "inviting",
  INVITE_SUCCESS: "streaming",
  CANCELING: "cancelling",
  TEMPORARY_OFFLINE: "lost, retrying",
  OFFLINE: "offline",
};

const chinese: typeof english = {
  title: "GB/T 28181 接入网关",
  name: "用户名",
  password: "密码",
  logIn: "登录",
  logOut: "退出",
  channels: "通道",
  none: "还没有通道。请注册设备，或启动网关时启用演示设备。",
  invite: "邀约",
  cancel: "取消",
  play: "播放",
  close: "关闭",
  noSound: "浏览器无法在此播放 {codec} 声音，流中仍包含该音轨。",
  noVideo: "此浏览器无法解码 {codec}。请用 VLC 或 ffplay 打开下面的地址。",
  lost: "播放中断：{reason}",
  waiting: "等待首帧 …",
  why: "为什么？",
  diagnosis: "为什么没有画面",
  wellDiagnosis: "一切正常",
  again: "重新检查",
  registration: "注册",
  keepalive: "心跳",
  catalogue: "目录",
  invitation: "呼叫",
  media: "媒体",
  picture: "画面",
  viewers: "观看",
  ok: "正常",
  waiting_: "等待",
  warning: "警告",
  error: "错误",
  previous: "上一页",
  next: "下一页",
  UNREGISTERED: "未注册",
  ONLINE: "未邀约",
  INVITING: "正在邀约",
  INVITE_SUCCESS: "邀约成功",
  CANCELING: "正在取消",
  TEMPORARY_OFFLINE: "暂时掉线",
  OFFLINE: "已下线",
};

export type Word = keyof typeof english;

export const chineseReader = navigator.language.toLowerCase().startsWith("zh");

const dictionary = chineseReader ? chinese : english;

export function text(word: Word, values: Record<string, string> = {}): string {
  return dictionary[word].replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}

export function statusText(status: string): string {
  return status in dictionary ? dictionary[status as Word] : status;
}
