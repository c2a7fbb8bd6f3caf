// What every page has: times as the reader's clock shows them, buttons, shortcuts, light and dark.

import { make, say, send } from "./api.js";
import { begin, refresh } from "./live.js";

// Times.

const clock = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

function ago(seconds) {
    const size = Math.abs(seconds);
    const [number, unit] =
        size < 90 ? [size, "s"] : size < 5400 ? [size / 60, "min"] : size < 129600 ? [size / 3600, "h"] : [size / 86400, "days"];
    const text = `${Math.round(number)} ${unit}`;
    return seconds >= 0 ? `${text} ago` : `in ${text}`;
}

function length(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const parts = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
    const from = parts.findIndex((part) => part > 0);
    return from < 0 ? "0s" : parts.map((part, index) => `${part}${"dhms"[index]}`).slice(from, from + 2).join("");
}

function times() {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[datetime]:not([data-plain])")) {
        const at = new Date(time.dateTime);
        const isToday = at.toDateString() === new Date().toDateString();
        const text = isToday ? hours.format(at) : clock.format(at);
        const shown = `${text} · ${ago((now - at) / 1000)}`;
        if (time.textContent !== shown) {
            time.title = `${time.dateTime.replace("T", " ").replace("Z", "")} UTC`;
            time.textContent = shown;
        }
    }
    for (const age of document.querySelectorAll(".age[data-since]")) {
        age.textContent = length((now - Number(age.dataset.since) / 1000) / 1000);
    }
}
times();
setInterval(times, 1000);
document.addEventListener("fresh", times);

// Buttons that change something: forms that say what they send.

/** Returns what a form holds; fields say by `data-as` what becomes of their text. */
function values(form) {
    const given = {};
    for (const [name, value] of new FormData(form)) {
        const as = form.elements[name].dataset?.as;
        if (as === "lines") given[name] = value.split("\n").map((line) => line.trim()).filter(Boolean);
        // The field shows the reader's own clock.
        else if (as !== "time") given[name] = value;
        else if (value) given[name] = new Date(value).toISOString();
    }
    return given;
}

/** Shows the secret of a new token: the server does not know it any more. */
function secret({ secret: text, token }) {
    const card = document.getElementById("secret");
    const field = make("input", { readonly: true, value: text, "aria-label": `The secret of ${token.name}`, spellcheck: "false" });
    const copy = make("button", { type: "button" }, "Copy");
    copy.addEventListener("click", async () => {
        field.select();
        try {
            await navigator.clipboard.writeText(text);
            say("✓ Copied");
        } catch {
            // Without TLS a browser has no clipboard for pages; what is selected can be copied by hand.
            say("Selected: copy it by hand");
        }
    });
    card.replaceChildren(
        make("h2", {}, `The secret of ${token.name}`),
        make("p", {}, "Keep it now: nobody can show it again. Programs send it in the header ", make("code", {}, "Authorization"), ", after the word ", make("code", {}, "Bearer"), "."),
        make("div", { class: "buttons" }, make("span", { class: "grow" }, field), copy),
    );
    card.hidden = false;
    card.scrollIntoView({ block: "nearest" });
    field.select();
}

function replayed(answer) {
    const card = document.getElementById("replayed");
    const result = answer.result === null || answer.result === undefined ? null : JSON.stringify(answer.result, null, 2);
    card.replaceChildren(
        make("h2", {}, "Replay"),
        make("p", {}, `It ended ${answer.status} after ${answer.events} events, from the recorded answers alone. Nothing was touched.`),
    );
    if (answer.error) card.append(make("p", { class: "note bad" }, answer.error.message ?? JSON.stringify(answer.error)));
    if (answer.messages.length) card.append(make("pre", { class: "code", tabindex: "0" }, answer.messages.join("\n")));
    if (result) card.append(make("pre", { class: "code", tabindex: "0" }, result));
    card.hidden = false;
    card.scrollIntoView({ block: "nearest" });
}

document.addEventListener("submit", async (event) => {
    const form = event.target;
    const isDecision = form.matches("[data-decide]");
    if (!form.matches("[data-send]") && !isDecision) return;
    event.preventDefault();
    if (form.dataset.ask && !confirm(form.dataset.ask)) return;
    let [method, path] = (form.dataset.send ?? "").split(" ");
    let body = { ...(form.dataset.json ? JSON.parse(form.dataset.json) : {}), ...values(form) };
    if (isDecision) {
        const choices = Object.entries(values(form));
        const of = (word) => choices.filter(([, choice]) => choice === word).map(([address]) => address);
        [method, path, body] = ["POST", `/api/v1/runs/${form.dataset.decide}/resume`, { done: of("done"), again: of("again") }];
    }
    const buttons = form.querySelectorAll("button");
    buttons.forEach((button) => (button.disabled = true));
    try {
        const answer = await send(method, path, body);
        if (form.dataset.then === "run") location.assign(`/runs/${answer.run}`);
        else if (form.dataset.then === "replay") replayed(answer);
        else if (form.dataset.then?.startsWith("/")) location.assign(form.dataset.then);
        else if (document.activeElement?.closest("form") === form) document.activeElement.blur();
        if (!form.dataset.then || form.dataset.then === "secret") {
            say("✓ Done");
            if (form.dataset.keep === undefined) form.reset();
            await refresh();
            if (form.dataset.then) secret(answer);
        }
    } catch (error) {
        say(`✕ ${error.message}`, "bad");
    } finally {
        buttons.forEach((button) => (button.disabled = false));
    }
});

// Rows of a list that are filtered as you type.

for (const input of document.querySelectorAll("[data-rows]")) {
    const filter = () => {
        const words = input.value.toLowerCase().split(/\s+/);
        for (const row of document.querySelectorAll(`${input.dataset.rows} tbody tr`)) {
            const text = row.textContent.toLowerCase();
            row.hidden = !words.every((word) => text.includes(word));
        }
    };
    input.addEventListener("input", filter);
    document.addEventListener("fresh", filter);
}

// The calendar in the reader's zone.

for (const link of document.querySelectorAll("a[data-zone]")) {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (zone) link.href += `?tz=${encodeURIComponent(zone)}`;
}

// Which page this is.

for (const link of document.querySelectorAll(".top nav a")) {
    const at = link.getAttribute("href");
    const here = location.pathname;
    const isHere = here === at || here.startsWith(`${at}/`) || (at.endsWith("s") && here.startsWith(`${at.slice(0, -1)}/`));
    if (!isHere) continue;
    link.setAttribute("aria-current", "page");
    // On a phone the row is wider than the screen.
    link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - link.parentElement.clientWidth / 3;
}

// Light and dark.

const themes = ["system", "light", "dark"];
const button = document.getElementById("theme");

function stored() {
    try {
        return localStorage.getItem("theme") ?? "system";
    } catch {
        return "system";
    }
}

function show(theme) {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = { system: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[theme];
    button.setAttribute("aria-label", `Colours: ${theme}`);
}

function turn() {
    const next = themes[(themes.indexOf(stored()) + 1) % themes.length];
    try {
        localStorage.setItem("theme", next);
    } catch {
        // It lasts as long as the page then.
    }
    show(next);
}
show(stored());
button.addEventListener("click", turn);

// Shortcuts.

const keys = document.getElementById("keys");
document.getElementById("help")?.addEventListener("click", () => keys.showModal());
let isGoing = 0;

function step(by) {
    const rows = [...document.querySelectorAll("main a.row")].filter((row) => row.offsetParent);
    const at = rows.indexOf(document.activeElement);
    const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select, dialog")) return;
    const going = Date.now() - isGoing < 1500;
    isGoing = 0;
    if (going) {
        const link = document.querySelector(`.top nav a[data-key="${CSS.escape(event.key)}"]`);
        if (link) {
            event.preventDefault();
            location.assign(link.href);
            return;
        }
    }
    switch (event.key) {
        case "?":
            keys.showModal();
            break;
        case "g":
            isGoing = Date.now();
            break;
        case "j":
            step(1);
            break;
        case "k":
            step(-1);
            break;
        case "t":
            turn();
            break;
        case "/":
            document.querySelector("[data-search]")?.focus();
            break;
        default:
            return;
    }
    event.preventDefault();
});

begin();
