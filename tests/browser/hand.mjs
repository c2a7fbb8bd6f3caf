// What the tests in a real Chromium share: people who are signed in, calls of the API, and a look at what is hard to read.
//
// NLRUN_URL is the server, NLRUN_TOKEN a token of an editor, NLRUN_PASSWORD the one of all users, NLRUN_CHROMIUM the browser.
// The tests of `tests/server/` start a server and run the files beside this one.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const { NLRUN_URL: url, NLRUN_TOKEN: token, NLRUN_PASSWORD: password, NLRUN_CHROMIUM: executablePath } = process.env;
export const patience = 20000;

export const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
/** What the consoles of all tabs have complained about. */
export const complaints = [];

const sessions = {};

/** Signs somebody in as people do, once, and returns the cookies. */
export async function session(name) {
    if (sessions[name]) return sessions[name];
    const context = await browser.newContext({ baseURL: url });
    const page = await context.newPage();
    await page.goto("/runs?status=bad");
    await page.fill('input[name="name"]', name);
    await page.fill('input[name="password"]', password);
    await page.click("form .go");
    await page.waitForURL("**/runs?status=bad");
    sessions[name] = await context.storageState();
    await context.close();
    return sessions[name];
}

/** Opens a tab for somebody who is signed in; everything that its console complains about is remembered. */
export async function tab(options = {}, who = "ed") {
    const context = await browser.newContext({
        baseURL: url,
        viewport: { width: 1280, height: 800 },
        timezoneId: "Europe/Amsterdam",
        storageState: await session(who),
        ...options,
    });
    context.setDefaultTimeout(patience);
    const page = await context.newPage();
    page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) complaints.push(`${page.url()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
    return page;
}

export async function call(method, path, body) {
    const response = await fetch(url + path, {
        method,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: body && JSON.stringify(body),
    });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
}

export async function run(runbook, params = {}) {
    return (await call("POST", "/api/v1/runs", { runbook, params })).run;
}

export async function until(what, look) {
    const end = Date.now() + patience;
    for (;;) {
        const found = await look();
        if (found) return found;
        assert.ok(Date.now() < end, `waited too long for ${what}`);
        await new Promise((wake) => setTimeout(wake, 100));
    }
}

export const status = async (number) => (await call("GET", `/api/v1/runs/${number}`)).status;
export const ended = (number, ...words) => until(`run ${number} to be ${words}`, async () => words.includes(await status(number)));

/** Returns the places of a page whose text is hard to read: contrast below WCAG 2.2 AA (1.4.3). */
export function faint() {
    const rgb = (text) => {
        const canvas = (window.ink ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = text;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = rgb(getComputedStyle(at).backgroundColor);
            if (colour[3] > 250) return colour;
        }
        return [255, 255, 255, 255];
    };
    const found = new Set();
    for (const element of document.querySelectorAll("body *")) {
        const has = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        const box = element.getBoundingClientRect();
        const style = getComputedStyle(element);
        if (!has || !box.width || !box.height || style.visibility === "hidden" || element.closest(".hidden, [disabled], .skip, option, noscript, svg")) continue;
        if (element.id === "text") continue;
        const [one, two] = [light(rgb(style.color)), light(behind(element))].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (two + 0.05);
        const size = parseFloat(style.fontSize);
        const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        if (ratio < (isLarge ? 3 : 4.5)) found.add(`${ratio.toFixed(2)} ${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 40)}`);
    }
    return [...found];
}

/** Opens a page in light and dark and as wide as a phone, and says what is wrong with it. */
export async function readable(page, address, expected = 200) {
    const response = await page.goto(address);
    assert.equal(response.status(), expected, address);
    const policy = response.headers()["content-security-policy"] ?? "";
    assert.match(policy, /script-src 'self'/, address);
    assert.doesNotMatch(policy, /unsafe/, address);
    assert.equal(await page.locator("h1").count(), 1, address);
    assert.match(await page.title(), /nlrun/, address);
    for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        assert.deepEqual(await page.evaluate(faint), [], `${address} in ${colorScheme}`);
    }
    await page.setViewportSize({ width: 375, height: 740 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${address} is ${wide} pixels too wide for a phone`);
    await page.setViewportSize({ width: 1280, height: 800 });
}

/** Runs the tests, or those whose name holds the first word of the command line, and ends the process. */
export async function runs(tests) {
    const only = process.argv[2];
    let failures = 0;
    for (const [name, test] of Object.entries(tests)) {
        if (only && !name.includes(only)) continue;
        const begun = Date.now();
        try {
            await test();
            assert.deepEqual(complaints.splice(0), []);
            console.log(`ok ${name} (${Date.now() - begun} ms)`);
        } catch (error) {
            failures += 1;
            console.log(`not ok ${name}\n${error.stack}\n${complaints.splice(0).join("\n")}`);
        }
    }
    await browser.close();
    process.exit(failures ? 1 : 0);
}
