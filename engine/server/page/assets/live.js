// Keeps parts of a page up to date: when the server has news, the page is asked for again and what differs is put in.

import { listen } from "./api.js";

const PAUSE = 1000;
let last = 0;
let timer = 0;
let asking = false;
let again = false;

/** Returns whether somebody is in the middle of something in a part. */
function isBusy(part) {
    const active = document.activeElement;
    if (part.contains(active) && active.matches("input, textarea, select")) return true;
    const choice = getSelection();
    return !!choice && !choice.isCollapsed && part.contains(choice.anchorNode);
}

/** Names an element so that the focus finds its way back to its successor. */
function trace(part, element) {
    const all = [...part.querySelectorAll("a, button, input, summary, [tabindex]")];
    return { index: all.indexOf(element), href: element.getAttribute("href"), text: element.textContent };
}

function restore(part, { index, href, text }) {
    const all = [...part.querySelectorAll("a, button, input, summary, [tabindex]")];
    const same = all.find((one) => (href ? one.getAttribute("href") === href : one.textContent === text));
    (same ?? all[index])?.focus({ preventScroll: true });
}

/** Asks for the page again and puts in what differs. */
export async function refresh() {
    if (asking) {
        again = true;
        return;
    }
    asking = true;
    last = Date.now();
    try {
        const response = await fetch(location.pathname + location.search, { headers: { accept: "text/html" } });
        if (!response.ok || response.redirected) return;
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const part of document.querySelectorAll("[data-part]")) {
            const fresh = page.querySelector(`[data-part="${part.dataset.part}"]`);
            if (!fresh || fresh.innerHTML === part.source || isBusy(part)) continue;
            part.source = fresh.innerHTML;
            const at = part.contains(document.activeElement) ? trace(part, document.activeElement) : null;
            const open = [...part.querySelectorAll("details")].map((one) => one.open);
            part.replaceChildren(...document.importNode(fresh, true).childNodes);
            part.querySelectorAll("details").forEach((one, index) => {
                if (open[index] !== undefined) one.open = open[index];
            });
            if (at) restore(part, at);
            part.dispatchEvent(new CustomEvent("fresh", { bubbles: true }));
        }
    } catch {
        // The stream says that the server is gone.
    } finally {
        asking = false;
        if (again) {
            again = false;
            soon();
        }
    }
}

/** Has the page brought up to date soon, at most once a second. */
export function soon() {
    if (timer) return;
    timer = setTimeout(() => {
        timer = 0;
        refresh();
    }, Math.max(0, last + PAUSE - Date.now()));
}

/** Begins to listen, where the page has parts that can change. */
export function begin() {
    const parts = document.querySelectorAll("[data-part]");
    if (!parts.length) return;
    for (const part of parts) part.source = part.innerHTML;
    const link = document.getElementById("link");
    listen(() => "/api/v1/news", { news: soon }, (state) => {
        link.textContent = state === "lost" ? "✕ server not reached" : "";
        if (state === "live") soon();
    });
}
