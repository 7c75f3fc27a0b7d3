// The page: log in, then channels of devices, streams of one's own, or when streams are recorded.

import { logIn, type Login, type Session } from "./api";
import { ChannelPage } from "./channelsPage";
import { button, element } from "./dom";
import { reasonOf } from "./play/form";
import { PlansPage } from "./plansPage";
import { StreamsPage } from "./streamsPage";
import "./style.css";
import type { Panel } from "./tabs";
import { chineseReader, text } from "./text";

const STORED_SESSION = "session";

const root = document.getElementById("app") ?? document.body;

function storedLogin(): Login | null {
  const stored = sessionStorage.getItem(STORED_SESSION);
  return stored === null ? null : (JSON.parse(stored) as Login);
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
      (login) => {
        sessionStorage.setItem(STORED_SESSION, JSON.stringify(login));
        show(login);
      },
      (error: unknown) => (note.textContent = reasonOf(error)),
    );
  });
  root.replaceChildren(form);
  password.focus();
}

function show(login: Login): void {
  let page: Panel | null = null;
  let left = false;
  const leave = (complaint = ""): void => {
    if (left) return; // calls of before may fail after somebody logged in again
    left = true;
    page?.stop();
    page = null;
    window.onhashchange = null;
    sessionStorage.removeItem(STORED_SESSION);
    showLogIn(complaint);
  };
  const session: Session = { ...login, expired: leave };
  const links = [
    element("a", { href: "#channels" }, text("channels")),
    element("a", { href: "#streams" }, text("ownStreams")),
    element("a", { href: "#plans" }, text("plans")),
  ];
  const header = element(
    "header",
    { class: "top" },
    element("h1", {}, text("title")),
    element("nav", {}, ...links),
    element("span", { class: "user" }, session.user),
    button(text("logOut"), () => {
      leave();
    }),
  );
  const turn = (): void => {
    page?.stop();
    const { hash } = location;
    if (hash === "#plans") page = new PlansPage(session);
    else page = hash === "#streams" ? new StreamsPage(session) : new ChannelPage(session);
    const current = links.find((link) => link.hash === hash) ?? links[0];
    links.forEach((link) => {
      if (link === current) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    });
    root.replaceChildren(header, page.view);
  };
  window.onhashchange = turn;
  turn();
}

document.title = text("title");
document.documentElement.lang = chineseReader ? "zh-CN" : "en";
const stored = storedLogin();
if (stored === null) showLogIn();
else show(stored);
