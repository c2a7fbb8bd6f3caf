// Takes the pictures of docs/screens: `node tests/browser/screens.mjs [FOLDER]`, after `npm ci` in this folder and a build.
//
// It starts `nlrun lab` in a folder of its own, a server of its project, and has runbooks run there; whatever it started is ended again.
// NLRUN_BINARY is the program (target/release/nlrun, else target/debug/nlrun), NLRUN_CHROMIUM the browser. Where `pngquant` is
// installed, pictures are made small by it.

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const target = resolve(process.argv[2] ?? join(root, "docs/screens"));
const binary = [process.env.NLRUN_BINARY, join(root, "target/release/nlrun"), join(root, "target/debug/nlrun")].find((path) => path && existsSync(path));
const executablePath = process.env.NLRUN_CHROMIUM ?? "/usr/bin/chromium";
const password = "seven lamps over a quiet harbour";
const folder = mkdtempSync(join(tmpdir(), "nlrun-screens-"));
const ended = [];

/** Starts nlrun and returns what it says first that fits. */
function start(words, stream, pattern) {
    const child = spawn(binary, words, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    ended.push(() => new Promise((done) => (child.exitCode === null ? (child.once("exit", done), child.kill("SIGTERM")) : done())));
    return new Promise((found, failed) => {
        let text = "";
        child[stream].on("data", (part) => {
            text += part;
            const fits = pattern.exec(text);
            if (fits) found(fits);
        });
        child.once("exit", (code) => failed(new Error(`nlrun ${words.join(" ")} has ended with ${code}: ${text}`)));
    });
}

function nlrun(words, input) {
    return execFileSync(binary, ["--project", folder, ...words], { cwd: folder, input, encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] });
}

function put(path, text) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
}

const until = async (what, look) => {
    const end = Date.now() + 120000;
    for (;;) {
        const found = await look();
        if (found) return found;
        if (Date.now() > end) throw new Error(`waited too long for ${what}`);
        await new Promise((wake) => setTimeout(wake, 100));
    }
};

// What the lab does not have: something that asks, something that fails on one host, schedules.

const FAILOVER = `//! Moves the web service to the other host, after somebody has said yes.
const PARAMS = #{
    to: #{ type: "host", group: "web", default: "web-2", doc: "where it goes" },
};
const NEEDS = ["ssh.read:@web", "file.put:@web:/srv/active"];
const LIMITS = #{ timeout: "10m", locks: ["failover"] };

step "Look" {
    let load = ssh_read(params.to, "cut -d' ' -f1 /proc/loadavg").out.trim();
    print(\`\${params.to} has a load of \${load}\`);
}
approve(\`Fail over to \${params.to}?\`);
step "Move" { file_put(params.to, "/srv/active", params.to.name + "\\n"); }
`;
const SERVICES = `//! Says whether the web servers serve, and fails where one does not.
const PARAMS = #{
    hosts: #{ type: "hosts", default: "web", doc: "which hosts" },
    unit: #{ type: "choice", choices: ["nginx"], default: "nginx", doc: "which service" },
};
const NEEDS = ["ssh.read:@web"];

step "Services" {
    each(params.hosts, |h| {
        let state = ssh_read(h, ["systemctl", "is-active", params.unit], #{ ok: [0, 3] }).out.trim();
        print(\`\${h.name}: \${params.unit} is \${state}\`);
        if state != "active" { fail(\`\${params.unit} is \${state}\`); }
    });
}
`;
const SCHEDULES = `schedules:
  hello: { runbook: hello, every: 15s, tz: Europe/Amsterdam, doc: looks at the web servers, stale_after: 1h }
  services: { runbook: services, every: 40s, tz: Europe/Amsterdam, doc: does everything serve?, stale_after: 10s }
  certs-expiry: { runbook: certs/expiry, cron: "0 7 * * *", tz: Europe/Amsterdam, doc: tells what ends soon }
  certs-sync:
    doc: brings certificates to the servers that serve them
    runbook: certs/sync
    cron: "15 4 * * MON-FRI"
    tz: Europe/Amsterdam
    jitter: 10m
    not_in: [freeze]
  motd: { runbook: motd, cron: "30 5 * * SUN", tz: Europe/Amsterdam, mode: plan, doc: does anybody write into /etc/motd by hand? }
`;

async function main() {
    await start(["--json", "lab", "--dir", folder, "--port-base", "0"], "stdout", /\n/);
    put("runbooks/failover.rhai", FAILOVER);
    put("runbooks/services.rhai", SERVICES);
    put("schedules/lab.yaml", SCHEDULES);
    const soon = new Date(Date.now() + 3 * 86400e3).toISOString().slice(0, 10);
    const later = new Date(Date.now() + 6 * 86400e3).toISOString().slice(0, 10);
    put("calendars/freeze.yaml", `doc: nobody changes anything while the shop is full\ntz: Europe/Amsterdam\nwindows:\n  - { from: "${soon} 00:00", until: "${later} 00:00" }\n`);
    nlrun(["user", "add", "ada", "--role", "admin"], `${password}\n`);
    nlrun(["user", "add", "vera", "--role", "viewer"], `${password}\n`);
    const [, url] = await start(["--project", folder, "serve", "--listen", "127.0.0.1:0"], "stderr", /serves (\S+)/);

    const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
    ended.push(() => browser.close());
    const shared = { baseURL: url, timezoneId: "Europe/Amsterdam", locale: "en-GB", viewport: { width: 1280, height: 800 } };
    const first = await browser.newContext(shared);
    const page = await first.newPage();
    await page.goto("/login?next=/runs");
    await picture(page, "login");
    await page.fill('input[name="name"]', "ada");
    await page.fill('input[name="password"]', password);
    await page.click("form .go");
    await page.waitForURL("**/runs");
    const storageState = await first.storageState();
    const csrf = await page.getAttribute('meta[name="csrf"]', "content");

    const call = async (method, path, data) => {
        const answer = await first.request.fetch(path, { method, data, headers: { "x-csrf-token": csrf, origin: url } });
        if (!answer.ok()) throw new Error(`${method} ${path}: ${answer.status()} ${await answer.text()}`);
        return answer.status() === 204 ? null : answer.json().catch(() => null);
    };
    const run = async (runbook, params = {}, mode = "apply") => (await call("POST", "/api/v1/runs", { runbook, params, mode })).run;
    const over = (number) =>
        until(`run ${number}`, async () => {
            const { status } = await call("GET", `/api/v1/runs/${number}`);
            return !["queued", "running"].includes(status) && status;
        });

    await over(await run("certs/expiry"));
    const plan = await run("certs/sync", {}, "plan");
    await over(plan);
    const sync = await run("certs/sync");
    await over(sync);
    const motd = await run("motd", { text: "Looked after by nlrun.\nWrite to ops@example.com before you change anything." });
    await over(motd);
    execFileSync("ssh", ["-F", join(folder, ".lab/ssh_config"), "web-2", "systemctl", "stop", "nginx"]);
    const services = await run("services");
    await over(services);
    for (let count = 0; count < 6; count += 1) await over(await run("hello"));
    await call("POST", "/api/v1/schedules/motd/pause", { reason: "web-3 is being replaced until Friday" });
    const failover = await run("failover");
    await until("the question", async () => (await call("GET", "/api/v1/questions")).items.length > 0);
    await run("failover", { to: "web-1" });
    const slow = await run("slow");
    await until("the slow run", async () => (await call("GET", `/api/v1/runs/${slow}`)).status === "running");
    await over(await run("hello"));

    const dark = { colorScheme: "dark" };
    const phone = { viewport: { width: 390, height: 844 } };
    const pages = [
        ["runs", "/runs"], ["runs-dark", "/runs", dark], ["runs-phone", "/runs", phone],
        ["run-source-now", `/runs/${slow}/source`], ["run-question", `/runs/${failover}`],
        ["queue", "/queue"],
        ["runs-filter", "/runs?status=bad&since=1d"],
        ["run", `/runs/${sync}`], ["run-dark", `/runs/${sync}`, dark], ["run-failed", `/runs/${services}`],
        ["run-plan", `/runs/${plan}/plan`], ["run-changes", `/runs/${motd}/changes`],
        ["runbooks", "/runbooks"], ["runbook", "/runbook/runbooks/hello.rhai"], ["runbook-form", "/runbook/runbooks/failover.rhai", phone],
        ["schedules", "/schedules"], ["schedule", "/schedule/certs-sync"], ["calendar", "/schedules/calendar?tz=Europe/Amsterdam"],
        ["inventory", "/inventory"], ["host", "/inventory/host/web-2"], ["audit", "/audit"],
        ["editor", "/editor/runbooks/services.rhai"], ["editor-dark", "/editor/runbooks/services.rhai", dark],
    ];
    for (const [name, address, more] of pages) {
        const context = await browser.newContext({ ...shared, ...more, storageState });
        const page = await context.newPage();
        page.on("console", (message) => message.type() === "error" && console.log(`${address}: ${message.text()}`));
        page.on("pageerror", (error) => console.log(`${address}: ${error}`));
        await page.goto(address);
        if (name.startsWith("editor")) {
            await page.locator(".findings .good").waitFor();
            await page.locator("#text").focus();
            await page.keyboard.press("Control+End");
            await page.keyboard.type("each(hosts(\"web\"), |h| ssh_re", { delay: 5 });
            await page.locator('#offers [role="option"]').first().waitFor();
            await page.locator(".findings .error").first().waitFor();
        }
        if (name === "calendar") await page.locator(".today").scrollIntoViewIfNeeded();
        await picture(page, name);
        await context.close();
    }
}

async function picture(page, name) {
    await page.waitForTimeout(900);
    const path = join(target, `${name}.png`);
    await page.screenshot({ path });
    try {
        execFileSync("pngquant", ["--force", "--skip-if-larger", "--speed", "1", "--output", path, "64", path], { stdio: "ignore" });
    } catch {
        // It stays as it is: larger, and right.
    }
    console.log(`${name}.png ${statSync(path).size}`);
}

mkdirSync(target, { recursive: true });
let code = 0;
try {
    await main();
} catch (error) {
    console.error(error);
    code = 1;
} finally {
    for (const end of ended.reverse()) await end();
    rmSync(folder, { recursive: true, force: true });
}
process.exit(code);
