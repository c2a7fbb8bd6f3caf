// The pages of the project, of users, tokens and roles, and the editor of a repository, tried in a real Chromium against a real server.
//
// Besides what `hand.mjs` takes there are the users `root` (admin), `ed` (editor) and `vera` (viewer). `tests/server/page_project.rs` starts a
// server that follows a repository with a GitLab before it, has things reported to it, and runs this.

import assert from "node:assert/strict";
import { complaints, password, readable, runs, tab, until, url } from "./hand.mjs";

/** Asks the server something with a token. */
const ask = (path, token) => fetch(url + path, { headers: { authorization: `Bearer ${token}` } });

/** Says which markup of names has become markup of the page. */
const injected = (page) => page.evaluate(() => [document.querySelectorAll(".injected").length, window.hacked ?? 0]);

/** Walks by Tab until this has the focus. */
async function reach(page, selector) {
    for (let count = 0; count < 60; count += 1) {
        await page.keyboard.press("Tab");
        if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
    }
    assert.fail(`the keyboard does not reach ${selector}`);
}

const tests = {
    "every page opens, readable in light and dark, and no wider than a phone": async () => {
        const page = await tab({}, "root");
        for (const address of ["/project", "/users", "/user/ed", "/user/root", "/users/tokens", "/users/roles", "/editor/runbooks/web.rhai"]) {
            await readable(page, address);
            assert.deepEqual(await injected(page), [0, 0], address);
        }
        await page.context().close();
    },

    "the project says what is in force, what was reported and what that came to, and is fetched at once": async () => {
        const page = await tab();
        await page.goto("/project");
        const part = (name) => page.locator(`[data-part="${name}"]`);
        const subject = "Change <b class=injected>it</b> <script>window.hacked=1</script>";
        await part("project").locator("dd", { hasText: subject }).waitFor();
        const link = await part("project").locator("dd a").first().getAttribute("href");
        assert.match(link, /^https:\/\/[^/]+\/infra\/nl\/-\/commit\/[0-9a-f]{40}$/);
        await part("branches").locator(".chip", { hasText: /^<b\/class=injected>$/ }).waitFor();
        await part("hooks").locator("tr", { hasText: "none of its files has changed" }).locator(".s-ignored").waitFor();
        await part("hooks").locator("tr", { hasText: "`look`: run" }).locator(".s-done").waitFor();
        await part("hooks").locator("p", { hasText: "/hooks/gitlab" }).waitFor();
        await part("triggers").locator("tr", { hasText: "<b class=injected>Says so</b>" }).waitFor();
        await part("reviews").locator("tr", { hasText: "!1" }).locator(".s-done").waitFor();
        await page.click("text=Fetch now");
        await page.locator("#said", { hasText: "Done" }).waitFor();
        assert.deepEqual(await injected(page), [0, 0]);
        await page.context().close();
    },

    "an edit says where it goes before, and which commit it is after": async () => {
        const page = await tab();
        await page.goto("/editor/runbooks/web.rhai");
        await page.locator("#place", { hasText: "a commit on edit/ed/runbooks/web.rhai, and opens a merge request into main" }).waitFor();
        await page.locator(".findings .good").waitFor();
        await page.fill("#why", "Say <b class=injected>why</b>");
        await page.locator("#text").focus();
        await page.keyboard.press("Control+End");
        await page.keyboard.type("// by browser\n");
        await page.keyboard.press("Control+S");
        const saved = page.locator("#saved", { hasText: "Saved as commit" });
        await saved.waitFor();
        const commit = await saved.locator("code").first().getAttribute("title");
        assert.match(commit, /^[0-9a-f]{40}$/);
        assert.equal(await saved.locator("a").first().innerText(), commit.slice(0, 10));
        assert.match(await saved.locator("a").last().getAttribute("href"), /\/infra\/nl\/-\/merge_requests\/\d+$/);
        await saved.locator("code", { hasText: "edit/ed/runbooks/web.rhai" }).waitFor();
        // Saved again as it is, it is the same commit.
        await page.click("#save");
        await page.locator("#saved", { hasText: "Nothing has changed since commit" }).waitFor();
        // Who comes back goes on with it; who wants to sees what is in force.
        await page.reload();
        await page.locator("#place", { hasText: "which is not merged yet" }).waitFor();
        assert.match(await page.inputValue("#text"), /by browser/);
        await page.click("text=Edit main itself");
        await page.locator("#place", { hasText: "a commit on main itself" }).waitFor();
        assert.doesNotMatch(await page.inputValue("#text"), /by browser/);
        assert.deepEqual(await injected(page), [0, 0]);
        await page.context().close();
    },

    "a user is made, changed and removed, by keyboard alone": async () => {
        const page = await tab({}, "root");
        await page.goto("/runs");
        await page.keyboard.press("g");
        await page.keyboard.press("u");
        await page.waitForURL("**/users");
        await reach(page, 'input[name="name"]');
        await page.keyboard.type("zoe");
        await page.keyboard.press("Tab");
        await page.keyboard.type("short");
        await page.keyboard.press("Enter");
        // The browser says what is wrong before anything is sent.
        assert.equal(await page.evaluate(() => document.activeElement.validity.tooShort), true);
        await page.keyboard.press("Control+A");
        await page.keyboard.type(password);
        await page.keyboard.press("Tab");
        await page.keyboard.type("viewer");
        await page.keyboard.press("Tab");
        await page.keyboard.type("ssh.read:@web\nfile.put:@web:/srv/<b class=injected>x</b>\n");
        await page.keyboard.press("Tab");
        await page.keyboard.type("runbooks/<b class=injected>*</b>");
        await page.keyboard.press("Tab");
        await page.keyboard.press("Enter");
        const row = page.locator("tr", { hasText: "zoe" });
        await row.waitFor();
        for (const text of ["viewer", "ssh.read:@web", "file.put:@web:/srv/<b class=injected>x</b>", "runbooks/<b class=injected>*</b>", "by root"]) {
            assert.ok((await row.innerText()).includes(text), text);
        }
        assert.equal(await page.inputValue('input[name="name"]'), "");
        assert.deepEqual(await injected(page), [0, 0]);
        await page.evaluate(() => document.activeElement.blur());
        for (let count = 0; count < 10 && !(await page.evaluate(() => document.activeElement.textContent === "zoe")); count += 1) await page.keyboard.press("j");
        await page.keyboard.press("Enter");
        await page.waitForURL("**/user/zoe");
        await page.selectOption('select[name="role"]', "operator");
        await page.fill('textarea[name="grants"]', "");
        await page.click("text=Change");
        await page.locator('[data-part="user"] dd', { hasText: "operator" }).waitFor();
        await page.locator('[data-part="user"]', { hasText: "ssh.read" }).waitFor({ state: "detached" });
        const zoe = await tab({}, "zoe");
        await zoe.goto("/runs");
        page.on("dialog", (dialog) => dialog.accept());
        await page.click("text=Remove zoe");
        await page.waitForURL("**/users");
        assert.equal(await page.locator("tr", { hasText: "zoe" }).count(), 0);
        await zoe.goto("/runs");
        assert.equal(new URL(zoe.url()).pathname, "/login", "the session has ended with the user");
        await zoe.context().close();
        await page.context().close();
        complaints.splice(0, Infinity, ...complaints.filter((one) => !/status of 401/.test(one)));
    },

    "a name that is taken is told, and what was typed stays": async () => {
        const page = await tab({}, "root");
        await page.goto("/users");
        await page.fill('input[name="name"]', "vera");
        await page.fill('input[name="password"]', password);
        await page.click("text=Make the user");
        await page.locator("#said.bad", { hasText: "there is a user `vera`" }).waitFor();
        assert.equal(await page.inputValue('input[name="name"]'), "vera");
        await page.fill('input[name="name"]', "nora");
        await page.fill('textarea[name="grants"]', "ssh.raed:@web");
        await page.click("text=Make the user");
        await page.locator("#said.bad", { hasText: "did you mean `ssh.read`?" }).waitFor();
        await page.context().close();
        complaints.splice(0, Infinity, ...complaints.filter((one) => !/status of (409|422)/.test(one)));
    },

    "a token's secret is shown once, works, and is refused when the token is gone": async () => {
        const page = await tab({}, "root");
        await page.goto("/users/tokens");
        await page.fill('input[name="name"]', "deploy");
        await page.fill('input[name="ends"]', "2099-12-31T23:00");
        await page.click("text=Make the token");
        const field = page.locator("#secret input");
        await field.waitFor();
        const secret = await field.inputValue();
        assert.match(secret, /^nlr_[0-9a-f]{64}$/);
        const row = page.locator("tr", { hasText: "deploy" });
        await row.waitFor();
        // Eleven in the evening in Amsterdam.
        assert.equal(await row.locator("time").first().getAttribute("datetime"), "2099-12-31T22:00:00Z");
        assert.equal((await ask("/api/v1/runs", secret)).status, 200);
        const shown = await (await ask("/api/v1/session", secret)).json();
        assert.deepEqual([shown.name, shown.role], ["token deploy", "operator"]);
        await page.reload();
        assert.equal(await field.count(), 0);
        assert.ok(!(await page.content()).includes(secret), "the secret is shown a second time");
        page.on("dialog", (dialog) => dialog.accept());
        await row.locator("button").click();
        await row.waitFor({ state: "detached" });
        await until("the token to be refused", async () => (await ask("/api/v1/runs", secret)).status === 401);
        await page.context().close();
    },

    "roles show what they may, who gets them, and which pipelines come in": async () => {
        const page = await tab({}, "root");
        await page.goto("/users/roles");
        const row = page.locator("tr", { hasText: "operator" }).first();
        for (const text of ["file.put", "runbooks/<b class=injected>*</b>", "<b class=injected>ops</b>"]) {
            assert.ok((await row.innerText()).includes(text), text);
        }
        const rule = page.locator("tr", { hasText: "project 42" });
        assert.ok((await rule.innerText()).includes("ref <b class=injected>main</b>"));
        await rule.locator(".tag", { hasText: "plans only" }).waitFor();
        await page.context().close();
    },

    "who is no admin is told so, and sees no way there": async () => {
        for (const who of ["vera", "ed"]) {
            const page = await tab({}, who);
            await page.goto("/runs");
            assert.equal(await page.locator('.top nav a[href="/users"]').count(), 0);
            for (const address of ["/users", "/user/root", "/users/tokens", "/users/roles"]) {
                const response = await page.goto(address);
                assert.equal(response.status(), 403, address);
                await page.locator("main", { hasText: `this takes the role admin, and ${who} has` }).waitFor();
                assert.equal(await page.locator("main form").count(), 0, address);
            }
            await page.goto("/project");
            assert.equal(await page.locator('form[data-send$="/sync"]').count(), who === "vera" ? 0 : 1);
            await page.context().close();
        }
        complaints.splice(0, Infinity, ...complaints.filter((one) => !/status of 403/.test(one)));
    },
};

await runs(tests);
