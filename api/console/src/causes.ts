// Why something does not flow, in the reader's language: the API tells a sentence in English, and a word to say it in others.

import { chineseCauses } from "./chineseCauses";

/** Such as `http_404` and `rtsp_454`: the server's own answer. */
const ANSWER = /^(http|rtsp)_(\d{3})$/;

/** `code` is the word for the `reason`, which is what is shown where nothing is known in Chinese. */
export function sayCause(code: string, reason: string, inChinese: boolean): string {
  return (inChinese ? inChineseWords(code) : undefined) ?? plain(reason);
}

function inChineseWords(code: string): string | undefined {
  const [, protocol, status] = ANSWER.exec(code) ?? [];
  if (protocol !== undefined && status !== undefined) return `服务器返回 ${protocol.toUpperCase()} ${status}`;
  return Object.hasOwn(chineseCauses, code) ? chineseCauses[code] : undefined;
}

/** Without what the system calls it by number. */
function plain(reason: string): string {
  return reason.replace(/ \(os error \d+\)/g, "");
}
