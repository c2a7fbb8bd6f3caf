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
function start(words, stream, pattern, secrets = {}) {
    const child = spawn(binary, words, { cwd: folder, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...secrets } });
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

// A repository that another server follows, with a GitLab before it as far as events go.

const FOLLOWING = (origin) => `gitlab: { url: "https://gitlab.example.net", token: gitlab/api }
server:
  project: { url: "${origin}", every: 1m, max_sync_age: 1h }
  roles:
    operator: { grants: ["ssh.*", "cert.*"], runbooks: ["runbooks/certs/*", "runbooks/hello.rhai"] }
  oidc: { issuer: "https://id.example.net", client_id: nlrun, roles: { claim: groups, map: { on-call: operator, platform: editor, platform-leads: admin } } }
  gitlab:
    project: infra/nl
    webhook_token: gitlab/hook
    notes: { plan: developer, apply: maintainer, grants: ["ssh.read", "file.put:@web"] }
    id_tokens:
      issuer: https://gitlab.example.net
      audience: https://nlrun.example.net
      rules: [{ project_id: 42, ref: main }, { namespace_id: 7, ref_protected: false, grants: ["ssh.read"] }]
`;
const TRIGGERS = `triggers:
  web:
    doc: looks at the web servers when something of theirs has changed
    on: push
    branches: [main]
    paths: ["web/**"]
    runbook: hello
    grants: ["*"]
  plans:
    doc: says in a merge request what it would change
    on: merge_request
    paths: ["runbooks/**"]
    runbook: motd
    grants: ["ssh.read"]
`;

/** Starts a server of a repository, has three events reported to it, and returns its address and what a browser needs to be signed in there. */
async function following(browser, shared) {
    const [work, origin] = [join(folder, "repository"), join(folder, "nl.git")];
    const git = (...words) =>
        execFileSync("git", ["-C", work, ...words], {
            encoding: "utf8",
            env: { PATH: process.env.PATH, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1", GIT_AUTHOR_NAME: "Ada", GIT_AUTHOR_EMAIL: "ada@example.com", GIT_COMMITTER_NAME: "Ada", GIT_COMMITTER_EMAIL: "ada@example.com" },
        }).trim();
    const commit = (path, text, message) => {
        put(`repository/${path}`, text);
        git("add", "--all");
        git("commit", "--quiet", "-m", message);
        git("push", "--quiet", "--force", origin, "HEAD:refs/heads/main");
        return git("rev-parse", "HEAD");
    };
    mkdirSync(work);
    for (const name of ["runbooks", "inventory"]) execFileSync("cp", ["-r", join(folder, name), work]);
    execFileSync("git", ["init", "--quiet", "--bare", "--initial-branch=main", origin]);
    git("init", "--quiet", "--initial-branch=main");
    put("repository/triggers/all.yaml", TRIGGERS);
    const first = commit("nlrun.yaml", `ssh_config: ${join(folder, ".lab/ssh_config")}\n`, "Begin");
    for (const branch of ["edit/ed/runbooks/motd.rhai", "certs-at-night", "renovate/nginx"]) git("push", "--quiet", origin, `HEAD:refs/heads/${branch}`);
    const second = commit("docs/readme.md", "Who to call.\n", "Say who to call at night");
    put("following/nlrun.yaml", FOLLOWING(origin));
    const project = join(folder, "following");
    execFileSync(binary, ["--project", project, "user", "add", "ada", "--role", "admin"], { input: `${password}\n`, stdio: ["pipe", "ignore", "ignore"] });
    const secrets = { NLRUN_SECRET_GITLAB_HOOK: "a secret of the webhook", NLRUN_SECRET_GITLAB_API: "glpat-none" };
    const [, url] = await start(["--project", project, "serve", "--listen", "127.0.0.1:0"], "stderr", /serves (\S+)/, secrets);
    const third = commit("web/nginx.conf", "keepalive_timeout 30;\n", "Keep connections of the web servers for half a minute");
    const report = async (before, after, path = "infra/nl") => {
        const event = { object_kind: "push", ref: "refs/heads/main", before, after, user_username: "ada", project: { path_with_namespace: path } };
        const headers = { "content-type": "application/json", "x-gitlab-token": secrets.NLRUN_SECRET_GITLAB_HOOK, "idempotency-key": `${path}-${after}`.replaceAll("/", "-").slice(0, 30) };
        await fetch(`${url}/hooks/gitlab`, { method: "POST", headers, body: JSON.stringify(event) });
    };
    const context = await browser.newContext({ ...shared, baseURL: url });
    const page = await context.newPage();
    await page.goto("/login?next=/project");
    await page.fill('input[name="name"]', "ada");
    await page.fill('input[name="password"]', password);
    await page.click("form .go");
    await page.waitForURL("**/project");
    for (const [before, after, path] of [[first, second, "infra/dns"], [first, second], [second, third]]) {
        await report(before, after, path);
        await page.waitForTimeout(300);
    }
    await page.locator("tr", { hasText: "run 1" }).waitFor();
    return { url, storageState: await context.storageState() };
}

async function main() {
    await start(["--json", "lab", "--dir", folder, "--port-base", "0"], "stdout", /\n/);
    put("runbooks/failover.rhai", FAILOVER);
    put("runbooks/services.rhai", SERVICES);
    put("schedules/lab.yaml", SCHEDULES);
    const soon = new Date(Date.now() + 3 * 86400e3).toISOString().slice(0, 10);
    const later = new Date(Date.now() + 6 * 86400e3).toISOString().slice(0, 10);
    put("calendars/freeze.yaml", `doc: nobody changes anything while the shop is full\ntz: Europe/Amsterdam\nwindows:\n  - { from: "${soon} 00:00", until: "${later} 00:00" }\n`);
    nlrun(["user", "add", "ada", "--role", "admin"], `${password}\n`);
    nlrun(["user", "add", "ed", "--role", "editor", "--grant", "ssh.*", "--grant", "cert.*", "--runbook", "runbooks/certs/*"], `${password}\n`);
    nlrun(["user", "add", "vera", "--role", "viewer"], `${password}\n`);
    nlrun(["token", "add", "prometheus", "--role", "viewer"]);
    nlrun(["token", "add", "deploy", "--role", "operator", "--grant", "ssh.exec:@web", "--runbook", "runbooks/certs/*", "--for", "90d"]);
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

    const other = await following(browser, shared);
    const there = { baseURL: other.url, storageState: other.storageState };
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
        ["users", "/users"], ["user", "/user/ed"], ["tokens", "/users/tokens"], ["tokens-phone", "/users/tokens", phone], ["roles", "/users/roles", there],
        ["project", "/project", there], ["project-dark", "/project", { ...there, ...dark }], ["editor-branch", "/editor/runbooks/motd.rhai", there],
        ["editor", "/editor/runbooks/services.rhai"], ["editor-dark", "/editor/runbooks/services.rhai", dark],
    ];
    for (const [name, address, more] of pages) {
        const context = await browser.newContext({ ...shared, storageState, ...more });
        const page = await context.newPage();
        page.on("console", (message) => message.type() === "error" && console.log(`${address}: ${message.text()}`));
        page.on("pageerror", (error) => console.log(`${address}: ${error}`));
        await page.goto(address);
        if (name === "editor-branch") {
            await page.locator(".findings .good").waitFor();
            await page.fill("#why", "Say where to look first");
            await page.locator("#text").focus();
            await page.keyboard.press("Control+End");
            await page.keyboard.type("// Look into /etc/motd.d, too.\n");
            await page.keyboard.press("Control+S");
            await page.locator("#saved", { hasText: "Saved as commit" }).waitFor();
        } else if (name.startsWith("editor")) {
            await page.locator(".findings .good").waitFor();
            await page.locator("#text").focus();
            await page.keyboard.press("Control+End");
            await page.keyboard.type("each(hosts(\"web\"), |h| ssh_re", { delay: 5 });
            await page.locator('#offers [role="option"]').first().waitFor();
            await page.locator(".findings .error").first().waitFor();
        }
        if (name.startsWith("tokens")) {
            await page.fill('input[name="name"]', name === "tokens" ? "ci" : "phone");
            await page.click("text=Make the token");
            await page.locator("#secret input").waitFor();
            await page.evaluate(() => scrollTo(0, 0));
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
