// Requests to the server, and what people are told about them.

/** Sends a request with JSON and returns its answer; throws an Error with a sentence, and `problem` for details. */
export async function send(method, path, body, headers = {}) {
    const csrf = document.querySelector('meta[name="csrf"]').content;
    const options = { method, headers: { accept: "application/json", ...headers }, credentials: "same-origin" };
    if (method !== "GET") options.headers["x-csrf-token"] = csrf;
    if (body !== undefined) {
        options.headers["content-type"] = "application/json";
        options.body = JSON.stringify(body);
    }
    let response;
    try {
        response = await fetch(path, options);
    } catch {
        throw new Error("The server cannot be reached.");
    }
    const text = await response.text();
    let answer = null;
    try {
        answer = text ? JSON.parse(text) : null;
    } catch {
        answer = null;
    }
    if (response.status === 401) {
        location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    }
    if (!response.ok) {
        const error = new Error(answer?.detail ?? `The server answered ${response.status}.`);
        error.status = response.status;
        error.problem = answer;
        throw error;
    }
    return answer;
}

let hiding;

/** Tells the reader something, in a corner and to screen readers. */
export function say(text, kind = "good") {
    const said = document.getElementById("said");
    said.textContent = text;
    said.className = kind;
    said.hidden = false;
    clearTimeout(hiding);
    hiding = setTimeout(() => (said.hidden = true), kind === "bad" ? 12000 : 4000);
}

/** Calls a function once nothing has asked for it for a while. */
export function later(milliseconds, call) {
    let timer;
    return (...words) => {
        clearTimeout(timer);
        timer = setTimeout(() => call(...words), milliseconds);
    };
}

/** Makes an element with text, attributes and children. */
export function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
}

/**
 * Listens to a stream of the server while the page is seen: a browser has few connections for all of its tabs.
 *
 * `address` is asked for each time, so that a stream goes on where it was left. Returns a function that ends it.
 */
export function listen(address, handlers, state = () => {}) {
    let source = null;
    let done = false;
    const open = () => {
        if (source || done || document.hidden) return;
        source = new EventSource(address());
        source.onopen = () => state("live");
        source.onerror = () => {
            state("lost");
            // The browser tries again by itself unless the server has refused.
            if (source?.readyState === EventSource.CLOSED) {
                source = null;
                setTimeout(open, 3000);
            }
        };
        for (const [name, handle] of Object.entries(handlers)) source.addEventListener(name, handle);
    };
    const close = () => {
        source?.close();
        source = null;
    };
    const seen = () => (document.hidden ? close() : open());
    document.addEventListener("visibilitychange", seen);
    open();
    return () => {
        done = true;
        document.removeEventListener("visibilitychange", seen);
        close();
    };
}
