// The log of a run: a window onto up to millions of events. Only the lines that are seen are in the document, and only some
// thousands are in memory; what lies before and after is fetched when somebody goes there.

import { listen, make, say, send } from "./api.js";
import { soon } from "./live.js";

const HEIGHT = 22;
/** About how many lines are in memory at most; more are dropped at the other end, by whole events. */
const MOST = 40000;
const PAGE = 500;

const frame = document.getElementById("log");
const space = frame.querySelector(".log-space");
const rows = frame.querySelector(".log-rows");
const follow = document.getElementById("follow");
const place = document.getElementById("place");
const where = document.getElementById("where");
const level = document.getElementById("level");
const run = Number(frame.dataset.run);

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** Lines in memory, in order: `{ seq, at, kind, who, text, site, cls }`. */
let lines = [];
/** Those of them that are to be shown. */
let view = lines;
/** The number of the run's last event, as far as known. */
let last = Number(frame.dataset.last);
/** Numbers of the first and the last event in memory. */
let [first, end] = [0, 0];
let isFollowing = true;
let isLoading = false;
let loading = Promise.resolve();
let isOver = false;
let pending = [];
let drawn = "";
let hits = [];
let hit = -1;
/** Where output of an effect stopped in the middle of a line. */
const open = new Map();

// Events become lines.

function target({ on, host, path, name }) {
    return on === "host" ? (path ? `${host}:${path}` : host) : on === "named" ? name : "";
}

function label(address = "") {
    const from = address.lastIndexOf("[");
    return from < 0 ? "" : address.slice(from + 1, address.indexOf("]", from));
}

function about(request) {
    const command = request?.command;
    const text = Array.isArray(command) ? command.join(" ") : (command ?? "");
    return typeof text === "string" && text ? ` ${text.split("\n")[0].slice(0, 200)}` : "";
}

// Colours and cursor movements of terminals (ECMA-48), and a return that would overwrite the line.
const escapes = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

function clean(text) {
    return text.replace(escapes, "").replace(/\r+$/, "").replace(/^.*\r/, "").replace(/\t/g, "    ");
}

function took(ms) {
    return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Returns the lines of an event. */
function describe(event) {
    const { seq, at } = event;
    const line = (text, cls = "", site = event.site, who = label(event.address ?? event.branch)) => ({ seq, at, who, text, cls, site });
    switch (event.event) {
        case "queued":
            return [line(`asked for: ${event.runbook}`, "dim")];
        case "started":
            return [line(`began: ${event.runbook} (${event.mode}), nlrun ${event.version}`, "dim")];
        case "resumed":
            return [line(`goes on, asked for by ${event.by}`, "step")];
        case "interrupted":
            return [line(`interrupted: ${event.reason}`, "bad")];
        case "step_began":
            return [line(`▸ ${event.name}`, "step")];
        case "step_ended":
            return [line(`◂ ${event.name}: ${event.verdict} in ${took(event.ms)}`, event.verdict === "failed" ? "bad" : "step")];
        case "intent":
            return [line(`→ ${event.effect} ${target(event.target)}${about(event.request)}`, "dim")];
        case "outcome": {
            const failure = event.failure ? `: ${event.failure.message}` : "";
            const cls = event.failure ? "bad" : event.verdict === "changed" ? "changed" : "dim";
            const all = [line(`← ${event.verdict} in ${took(event.ms)}${failure}`, cls, event.failure?.site)];
            for (const row of (event.diff ?? "").split("\n").filter(Boolean)) {
                all.push(line(`  ${row}`, row.startsWith("+") ? "add" : row.startsWith("-") ? "del" : "dim", null));
            }
            return all;
        }
        case "forecast":
            return [line(`◇ ${event.effect} ${target(event.target)}${about(event.request)}: ${event.changes ? "would change" : "no change"}`, event.changes ? "changed" : "dim")];
        case "output": {
            const text = event.text ?? `(${event.bytes} bytes that are no text)`;
            const key = `${event.address} ${event.stream}`;
            const parts = text.split("\n");
            const isOpen = parts[parts.length - 1] !== "";
            if (!isOpen) parts.pop();
            const cls = event.stream === "err" ? "err" : "out";
            const all = parts.map((part) => line(clean(part), cls));
            const before = open.get(key);
            // The rest of a line that an earlier piece has begun.
            if (before && all.length && before.seq < seq) {
                before.text += all[0].text;
                all.shift();
            }
            open.delete(key);
            if (isOpen && all.length) open.set(key, all[all.length - 1]);
            return all;
        }
        case "branch_began":
            return [line(`begins on ${event.host}`, "dim")];
        case "branch_ended":
            return [line(`${event.verdict} on ${event.host}${event.reason ? `: ${event.reason}` : ""}`, ["failed", "unreachable"].includes(event.verdict) ? "bad" : event.verdict === "changed" ? "changed" : "dim")];
        case "message":
            return event.text.split("\n").map((part) => line(clean(part), { info: "say", warn: "warn", fail: "bad" }[event.level]));
        case "deferred":
            return [line("will clean up at the end", "dim")];
        case "cleaned_up":
            return [line(event.failure ? `clean-up failed: ${event.failure}` : "cleaned up", event.failure ? "bad" : "dim")];
        case "lock":
            return [line(event.held ? `took lock ${event.name} after ${took(event.waited_ms)}` : `gave lock ${event.name} back`, "dim")];
        case "artifact":
            return [line(`kept ${event.name} (${event.bytes} bytes)`, "say")];
        case "cancel_asked":
            return [line(`${event.by} asked it to end${event.now ? " now, without clean-up" : ""}`, "warn")];
        case "ended":
            return [line(`ended: ${event.status.replace("_", " ")}${event.error?.message ? `: ${event.error.message}` : ""}`, event.status === "done" ? "good" : "bad")];
        default:
            return [line(event.event, "dim")];
    }
}

// What is shown.

const shows = {
    all: null,
    talk: (line) => ["out", "err", "say", "warn", "bad", "good"].includes(line.cls),
    bad: (line) => ["bad", "warn"].includes(line.cls),
};

function choose() {
    const wanted = shows[level.value];
    view = wanted ? lines.filter(wanted) : lines;
    space.style.height = `${view.length * HEIGHT}px`;
}

function draw() {
    const count = Math.ceil(frame.clientHeight / HEIGHT);
    const top = Math.max(0, Math.floor(frame.scrollTop / HEIGHT) - 15);
    const bottom = Math.min(view.length, top + count + 30);
    const state = `${top} ${bottom} ${view.length} ${view[top]?.seq} ${end} ${hit} ${view[bottom - 1]?.text.length}`;
    if (state === drawn) return;
    drawn = state;
    rows.style.transform = `translateY(${top * HEIGHT}px)`;
    const marked = hits[hit];
    rows.replaceChildren(
        ...view.slice(top, bottom).map((line) => {
            const row = make("div", { class: `line ${line.cls}${isHit(line, marked) ? " hit" : ""}`, "data-seq": line.seq });
            row.append(
                make("span", { class: "at", title: `event ${line.seq}` }, clock.format(line.at / 1000)),
                make("span", { class: "host" }, line.who),
                make("span", { class: "text" }, line.text),
            );
            if (line.site?.line) {
                const { file, line: number } = line.site;
                row.append(make("a", { class: "site", href: `/runs/${run}/source?file=${encodeURIComponent(file)}#L${number}`, tabindex: "-1" }, `${file.replace(/^runbooks\//, "")}:${number}`));
            }
            return row;
        }),
    );
    const seen = view[Math.min(view.length - 1, Math.floor(frame.scrollTop / HEIGHT) + count - 1)];
    place.max = Math.max(1, last);
    if (seen && document.activeElement !== place) place.value = seen.seq;
    where.textContent = seen ? `event ${seen.seq.toLocaleString()} of ${last.toLocaleString()}` : "";
}

/** Whether a line is the one that a search has found: an event may have thousands of them. */
function isHit(line, wanted) {
    return !!wanted && line.seq === wanted.seq && line.text.includes(clean(wanted.lines[0] ?? "").trim());
}

function bottom() {
    frame.scrollTop = frame.scrollHeight;
}

function setFollowing(on) {
    isFollowing = on;
    follow.setAttribute("aria-pressed", on);
    follow.textContent = isOver ? "To the end" : on ? "Following" : "Follow";
}

// Loading.

async function part(query, limit = PAGE) {
    const log = await send("GET", `/api/v1/runs/${run}/log?limit=${limit}&${query}`);
    last = Math.max(last, log.last);
    isOver = log.over;
    setFollowing(isFollowing);
    return log.items;
}

function reset(events) {
    open.clear();
    lines = events.flatMap(describe);
    first = events[0]?.seq ?? 0;
    end = events.at(-1)?.seq ?? 0;
    choose();
}

/** Returns where the last lines of a list begin, at most `most` of them and whole events; the last event whatever its size. */
function beginning(list, most) {
    let at = Math.max(0, list.length - most);
    while (at > 0 && at < list.length && list[at].seq === list[at - 1].seq) at += 1;
    if (at < list.length || !list.length) return at;
    while (at > 0 && list[at - 1].seq === list.at(-1).seq) at -= 1;
    return at;
}

/** Returns where the first lines of a list end, at most `most` of them and whole events; the first event whatever its size. */
function ending(list, most) {
    let at = Math.min(list.length, most);
    while (at > 0 && at < list.length && list[at].seq === list[at - 1].seq) at -= 1;
    if (at > 0 || !list.length) return at;
    while (at < list.length && list[at].seq === list[0].seq) at += 1;
    return at;
}

/** Loads something, one at a time: what somebody asks for waits for its turn, what scrolling wants is asked for again anyway. */
async function guarded(load, isAskedFor = false) {
    if (isLoading && !isAskedFor) return;
    while (isLoading) await loading;
    isLoading = true;
    let done;
    loading = new Promise((end) => (done = end));
    frame.setAttribute("aria-busy", "true");
    try {
        await load();
    } catch (error) {
        say(`✕ ${error.message}`, "bad");
    } finally {
        isLoading = false;
        done();
        frame.removeAttribute("aria-busy");
        draw();
    }
}

/** Goes to the end of the log. */
function tail() {
    return guarded(async () => {
        reset(await part(`before=${2 ** 32 - 1}`));
        pending = pending.filter((event) => event.seq > end);
        bottom();
    }, true);
}

function older() {
    if (first <= 1) return;
    return guarded(async () => {
        const events = await part(`before=${first}`);
        if (!events.length) return;
        const kept = new Map(open);
        open.clear();
        const all = events.flatMap(describe);
        open.clear();
        for (const [key, line] of kept) open.set(key, line);
        // Not so many that what is seen would have to go.
        const more = all.slice(beginning(all, MOST / 2));
        const before = view.length;
        lines = more.concat(lines);
        first = more.length < all.length ? more[0].seq : events[0].seq;
        const top = frame.scrollTop;
        choose();
        const added = view.length - before;
        const most = ending(lines, MOST);
        if (most < lines.length) {
            lines = lines.slice(0, most);
            end = lines.at(-1).seq;
            open.clear();
            choose();
        }
        frame.scrollTop = top + added * HEIGHT;
    });
}

function newer() {
    if (end >= last) return;
    return guarded(async () => {
        append(await part(`after=${end}`), MOST / 2);
    });
}

/** Goes to an event, wherever it is, or to the line of it that a search has found. */
function jump(seq, wanted = null) {
    setFollowing(false);
    return guarded(async () => {
        if (seq < first || seq > end) {
            const before = seq > 1 ? await part(`before=${seq}`, 100) : [];
            reset(before.concat(await part(`after=${seq - 1}`)));
        }
        let at = view.findIndex((line) => isHit(line, wanted));
        if (at < 0) at = view.findIndex((line) => line.seq >= seq);
        frame.scrollTop = Math.max(0, (at < 0 ? view.length : at) * HEIGHT - frame.clientHeight / 3);
    }, true);
}

/** Adds events at the end, where there is room at least about `most` lines of them; what is furthest away goes. */
function append(events, most = Infinity) {
    const fresh = events.filter((event) => event.seq > end);
    if (!fresh.length) return;
    let more = fresh.flatMap(describe);
    if (!first) first = fresh[0].seq;
    end = fresh.at(-1).seq;
    const fits = ending(more, most);
    if (fits < more.length) {
        more = more.slice(0, fits);
        end = more.at(-1).seq;
        open.clear();
    }
    const before = view.length;
    for (const line of more) lines.push(line);
    const top = frame.scrollTop;
    choose();
    const added = view.length - before;
    const begin = beginning(lines, MOST);
    if (begin > 0) {
        lines = lines.slice(begin);
        first = lines[0].seq;
        choose();
    }
    const dropped = before + added - view.length;
    if (isFollowing) bottom();
    else if (dropped) frame.scrollTop = Math.max(0, top - dropped * HEIGHT);
}

// Live.

let isFlushing = false;

function flush() {
    isFlushing = false;
    const events = pending;
    pending = [];
    if (!events.length) return;
    // Events that come while somebody looks elsewhere are fetched when they come back.
    if (events[0].seq === end + 1 || end === 0) append(events);
    else if (events[0].seq <= end) append(events);
    draw();
}

function received(message) {
    const event = JSON.parse(message.data);
    last = Math.max(last, event.seq);
    pending.push(event);
    if (pending.length > 5000) pending = pending.slice(-5000);
    if (!isFlushing) {
        isFlushing = true;
        requestAnimationFrame(flush);
    }
    soon();
}

function stream() {
    const stop = listen(() => `/api/v1/runs/${run}/events?output=true&after=${last}`, {
        event: received,
        end: () => {
            isOver = true;
            setFollowing(isFollowing);
            stop();
            soon();
        },
    });
}

// Hands.

let before = 0;
frame.addEventListener("scroll", () => {
    const isUp = frame.scrollTop < before - 2;
    before = frame.scrollTop;
    const isAtEnd = frame.scrollHeight - frame.scrollTop - frame.clientHeight < HEIGHT * 2;
    if (isUp && !isAtEnd) setFollowing(false);
    else if (isAtEnd && end >= last && !isFollowing && !isLoading) setFollowing(true);
    requestAnimationFrame(draw);
    if (frame.scrollTop < HEIGHT * 100) older();
    if (frame.scrollHeight - frame.scrollTop - frame.clientHeight < HEIGHT * 100) newer();
});
follow.addEventListener("click", () => {
    setFollowing(isOver || !isFollowing);
    if (isFollowing) tail();
});
level.addEventListener("change", () => {
    choose();
    if (isFollowing) bottom();
    draw();
});
place.addEventListener("change", () => jump(Number(place.value)));
new ResizeObserver(() => {
    if (isFollowing) bottom();
    draw();
}).observe(frame);

// Search in output.

const found = document.getElementById("found");
const told = document.getElementById("hits");

function showHit(index) {
    if (!hits.length) return;
    hit = (index + hits.length) % hits.length;
    told.textContent = `${hit + 1} of ${hits.length}`;
    for (const [at, one] of [...found.children].entries()) one.classList.toggle("here", at === hit);
    jump(hits[hit].seq, hits[hit]);
}

document.getElementById("find").addEventListener("submit", async (event) => {
    event.preventDefault();
    const words = event.target.querySelector("input").value.trim();
    hits = [];
    hit = -1;
    found.hidden = true;
    told.textContent = "";
    if (!words) return draw();
    told.textContent = "searching…";
    try {
        const page = await send("GET", `/api/v1/runs/${run}/search?q=${encodeURIComponent(words)}`);
        hits = page.items.reverse();
    } catch (error) {
        return say(`✕ ${error.message}`, "bad");
    }
    if (!hits.length) return (told.textContent = "nothing found");
    found.replaceChildren(
        ...hits.map((one, index) => {
            const button = make("button", { type: "button", class: "link-like" }, `${label(one.address) || one.address}: ${clean(one.lines[0] ?? "")}`);
            button.addEventListener("click", () => showHit(index));
            return make("li", {}, button);
        }),
    );
    found.hidden = false;
    showHit(hits.length - 1);
});

document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-jump]");
    if (button) jump(Number(button.dataset.jump)).then(() => frame.scrollIntoView({ block: "nearest" }));
});
document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select, dialog")) return;
    if (event.key === "f") follow.click();
    else if (event.key === "n") showHit(hit + 1);
    else if (event.key === "p") showHit(hit - 1);
});

const wanted = /^#e(\d+)$/.exec(location.hash);
setFollowing(!wanted);
(wanted ? jump(Number(wanted[1])) : tail()).then(() => {
    if (!isOver) stream();
});
document.addEventListener("fresh", () => {
    // A run that was over goes on.
    if (isOver && document.querySelector('[data-part="head"] .s-running')) {
        isOver = false;
        stream();
    }
});
