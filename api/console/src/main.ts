// The page: log in, see the channels, invite and cancel them, watch one.

import { ApiError, listChannels, logIn, setInvited, type Channel, type Session } from "./api";
import { DiagnosisPanel } from "./diagnosis";
import { button, element } from "./dom";
import { describe, viewerCount } from "./format";
import { Player } from "./player";
import "./style.css";
import { statusText, text } from "./text";

const PAGE_SIZE = 50;
const REFRESH_MS = 2000;
const STORED_SESSION = "session";

const root = document.getElementById("app") ?? document.body;

function storedSession(): Session | null {
  const stored = sessionStorage.getItem(STORED_SESSION);
  return stored === null ? null : (JSON.parse(stored) as Session);
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function showLogIn(complaint = ""): void {
  const name = element("input", { name: "name", autocomplete: "username", required: "", value: "admin" });
  const password = element("input", {
    name: "password",
    type: "password",
    autocomplete: "current-password",
    required: "",
  });
  const note = element("p", { class: "error", role: "alert" }, complaint);
  const form = element(
    "form",
    { class: "login" },
    element("h1", {}, text("title")),
    element("label", {}, text("name"), name),
    element("label", {}, text("password"), password),
    element("button", { type: "submit", class: "primary" }, text("logIn")),
    note,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    logIn(name.value, password.value).then(
      (session) => {
        sessionStorage.setItem(STORED_SESSION, JSON.stringify(session));
        new ChannelPage(session).show();
      },
      (error: unknown) => (note.textContent = reason(error)),
    );
  });
  root.replaceChildren(form);
  password.focus();
}

class ChannelPage {
  private readonly note = element("p", { class: "error", role: "alert" });
  private readonly count = element("span", { class: "count" });
  private readonly stage = element("div", { class: "stage" });
  private readonly rows = element("div", { class: "channels" });
  private readonly pager = element("nav", { class: "pager" });
  private offset = 0;
  private player: Player | null = null;
  private timer = 0;

  constructor(private readonly session: Session) {}

  show(): void {
    const header = element(
      "header",
      { class: "top" },
      element("h1", {}, text("title")),
      element("span", { class: "user" }, this.session.user),
      button(text("logOut"), () => {
        this.leave();
      }),
    );
    const heading = element("h2", {}, text("channels"), " ", this.count);
    root.replaceChildren(header, element("main", {}, this.stage, heading, this.note, this.rows, this.pager));
    void this.refresh();
  }

  private leave(complaint = ""): void {
    window.clearTimeout(this.timer);
    this.player?.stop();
    sessionStorage.removeItem(STORED_SESSION);
    showLogIn(complaint);
  }

  private async refresh(): Promise<void> {
    window.clearTimeout(this.timer);
    try {
      const { total, channels } = await listChannels(this.session, this.offset, PAGE_SIZE);
      this.note.textContent = "";
      this.count.textContent = String(total);
      this.rows.replaceChildren(
        ...(channels.length === 0
          ? [element("p", { class: "note" }, text("none"))]
          : channels.map((c) => this.row(c))),
      );
      this.drawPager(total);
      const watched = channels.find(
        (channel) => `${channel.device_id}/${channel.channel_id}` === this.player?.key,
      );
      if (watched !== undefined) this.player?.update(watched);
    } catch (error) {
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
        this.leave(reason(error));
        return;
      }
      this.note.textContent = reason(error);
    }
    this.timer = window.setTimeout(() => void this.refresh(), REFRESH_MS);
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
    if (channel.play !== null && stream !== null) {
      actions.append(
        button(
          text("play"),
          () => {
            this.watch(channel);
          },
          "primary",
        ),
      );
    }
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

  private drawPager(total: number): void {
    const buttons: HTMLElement[] = [];
    const turn = (label: string, offset: number) =>
      button(label, () => {
        this.offset = offset;
        void this.refresh();
      });
    if (this.offset > 0) buttons.push(turn(text("previous"), Math.max(0, this.offset - PAGE_SIZE)));
    if (this.offset + PAGE_SIZE < total) buttons.push(turn(text("next"), this.offset + PAGE_SIZE));
    this.pager.replaceChildren(...buttons);
  }

  private watch(channel: Channel): void {
    this.player?.stop();
    this.player = new Player(channel, () => (this.player = null));
    this.stage.replaceChildren(this.player.view);
    this.stage.scrollIntoView({ behavior: "smooth" });
  }

  private explain(channel: Channel): void {
    this.player?.stop();
    this.player = null;
    this.stage.replaceChildren(new DiagnosisPanel(this.session, channel).view);
    this.stage.scrollIntoView({ behavior: "smooth" });
  }

  private async change(channel: Channel, invited: boolean): Promise<void> {
    try {
      await setInvited(this.session, channel, invited);
      await this.refresh();
    } catch (error) {
      this.note.textContent = reason(error);
    }
  }
}

document.title = text("title");
const session = storedSession();
if (session === null) showLogIn();
else new ChannelPage(session).show();
