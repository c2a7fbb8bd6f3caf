// What people rely on in the web page, tried in a real Chromium against a real server.
//
// Besides what `hand.mjs` takes, NLRUN_PROJECT is the project's folder, NLRUN_LONG the number of a run with a million events, and there are
// the users `ed` (editor) and `vera` (viewer). `tests/server/page.rs` starts all of it and runs this.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { browser, call, complaints, ended, password, readable, run, runs, status, tab, until, url } from "./hand.mjs";

const { NLRUN_PROJECT: project, NLRUN_LONG: long } = process.env;

const tests = {
    "every page opens, without a complaint, readable in light and dark, and no wider than a phone": async () => {
        const done = await run("files", { text: "two\nthree\n" });
        await ended(done, "done");
        const planned = (await call("POST", "/api/v1/runs", { runbook: "files", params: { text: "four\n" }, mode: "plan" })).run;
        await ended(planned, "done");
        const failed = await run("markup");
        await ended(failed, "failed", "partial");
        const addresses = [
            "/runs", "/runs?status=bad", `/runs/${done}`, `/runs/${done}/changes`, `/runs/${done}/source`, `/runs/${planned}/plan`, `/runs/${failed}`,
            "/runbooks", "/runbook/runbooks/form.rhai", "/runbook/runbooks/files.rhai", "/schedules", "/schedule/nightly", "/schedules/calendar",
            "/schedules/calendar?view=week&tz=Europe/Amsterdam", "/inventory", "/inventory/host/web-1", "/queue", "/audit", "/editor",
            "/editor/runbooks/form.rhai", "/login", "/runs/4711",
        ];
        const page = await tab();
        for (const address of addresses) {
            await readable(page, address, address === "/runs/4711" ? 404 : 200);
        }
        await page.context().close();
        // The browser itself says that a page of problems was no success.
        assert.deepEqual(complaints.splice(0).filter((one) => !one.includes("404 (Not Found)")), []);
    },

    "a keyboard is enough": async () => {
        const page = await tab();
        await page.goto("/runs");
        await page.keyboard.press("Tab");
        assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
        assert.ok((await page.locator(".skip").boundingBox()).x >= 0);
        await page.keyboard.press("Enter");
        assert.equal(await page.evaluate(() => document.activeElement.id), "main");
        await page.keyboard.press("?");
        await page.locator("#keys[open]").waitFor();
        await page.keyboard.press("Escape");
        await page.locator("#keys:not([open])").waitFor({ state: "attached" });
        await page.keyboard.press("/");
        assert.equal(await page.evaluate(() => document.activeElement.name), "q");
        await page.evaluate(() => document.activeElement.blur());
        await page.keyboard.press("j");
        const first = await page.evaluate(() => document.activeElement.getAttribute("href"));
        assert.match(first, /^\/runs\/\d+$/);
        const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
        assert.equal(ring, "solid");
        await page.keyboard.press("Enter");
        await page.waitForURL(`**${first}`);
        await page.keyboard.press("g");
        await page.keyboard.press("b");
        await page.waitForURL("**/runbooks");
        await page.context().close();
    },

    "a form says what is wrong, runs, and its log is followed to the end": async () => {
        const page = await tab();
        await page.goto("/runbook/runbooks/form.rhai");
        await page.fill("#p-count", "many");
        await page.locator("#e-count", { hasText: "wants int" }).waitFor();
        await page.fill("#p-count", "4");
        await page.locator("#e-count").waitFor({ state: "hidden" });
        await page.click('button[value="apply"]');
        await page.locator("#e-name", { hasText: "is required" }).waitFor();
        assert.equal(await page.evaluate(() => document.activeElement.id), "p-name");
        await page.fill("#p-name", "<i>you</i>");
        await page.selectOption("#p-ring", "all");
        await page.click('button[value="apply"]');
        await page.waitForURL(/\/runs\/\d+$/);
        await page.locator(".line", { hasText: "round 1 for <i>you</i>" }).waitFor();
        await page.locator('[data-part="head"] .s-running').waitFor();
        // Nothing is loaded again by hand from here on.
        await page.locator(".line", { hasText: "round 4 for <i>you</i>" }).waitFor();
        await page.locator('[data-part="head"] .s-done').waitFor();
        await page.locator(".line", { hasText: "ended: done" }).waitFor();
        const { end, at } = await page.evaluate(() => {
            const log = document.getElementById("log");
            return { end: log.scrollHeight - log.clientHeight, at: log.scrollTop };
        });
        assert.ok(Math.abs(end - at) < 5, `the log stands at ${at} of ${end}`);
        await page.click("text=Run again…");
        await page.waitForURL(/from=\d+/);
        assert.equal(await page.inputValue("#p-name"), "<i>you</i>");
        assert.equal(await page.inputValue("#p-count"), "4");
        await page.context().close();
    },

    "markup in names, output and errors is text": async () => {
        const number = await run("markup");
        await ended(number, "failed", "partial");
        const page = await tab();
        for (const address of [`/runs/${number}`, "/runs", `/runs/${number}/source`, "/runbooks", "/runbook/runbooks/markup.rhai", "/inventory/host/web-1", "/runs?runbook=%3Cscript%3Ewindow.hacked%3D1%3C/script%3E"]) {
            await page.goto(address);
            if (address === `/runs/${number}`) {
                await page.locator(".line", { hasText: "<img src=x onerror=window.hacked=1>" }).first().waitFor();
                await page.locator(".line", { hasText: "<script>window.hacked=1</script>" }).first().waitFor();
            }
            assert.equal(await page.locator('main img[src="x"], main b.injected').count(), 0, address);
            assert.equal(await page.evaluate(() => window.hacked), undefined, address);
        }
        await page.context().close();
    },

    "a question is approved, another is refused": async () => {
        const page = await tab();
        for (const [button, wanted] of [["Approve", ["done"]], ["Refuse", ["stopped", "failed"]]]) {
            const number = await run("ask");
            await page.goto("/runs");
            // It appears by itself.
            const card = page.locator(".card.ask", { hasText: `Run ${number}` });
            await card.waitFor();
            await card.locator("text=Fail over to <b>edge-2</b>?").waitFor();
            await card.locator("button", { hasText: button }).click();
            await ended(number, ...wanted);
            await card.waitFor({ state: "detached" });
        }
        await page.context().close();
    },

    "a run is cancelled, and its source shows the line that runs": async () => {
        const number = await run("slow");
        const page = await tab();
        await ended(number, "running");
        await until("its line", async () => {
            await page.goto(`/runs/${number}/source`);
            return (await page.locator("li.now").count()) === 1;
        });
        assert.match(await page.locator("li.now").innerText(), /sleep 30/);
        await page.goto(`/runs/${number}`);
        page.on("dialog", (dialog) => dialog.accept());
        await page.locator("button", { hasText: /^Cancel$/ }).click();
        await page.locator('[data-part="head"] .s-cancelled').waitFor();
        await ended(number, "cancelled");
        await page.context().close();
    },

    "a person decides about an act in doubt": async () => {
        const number = await run("doubt");
        await ended(number, "running");
        await until("its act", async () => (await call("GET", `/api/v1/runs/${number}/log`)).items.some((one) => one.event === "output"));
        const ids = execFileSync("pgrep", ["-f", `execute ${number} `]).toString().split(/\s+/).filter(Boolean).map(Number);
        const own = ids.find((id) => readFileSync(`/proc/${id}/cmdline`, "utf8").includes(`${project}/.nlrun`));
        process.kill(own, "SIGKILL");
        await ended(number, "in_doubt");
        const page = await tab();
        await page.goto(`/runs/${number}`);
        await page.check('fieldset input[value="done"]');
        await page.click("text=Go on with the run");
        await page.locator('[data-part="head"] .s-done').waitFor();
        await page.context().close();
    },

    "a plan shows its forecasts and is applied": async () => {
        const page = await tab();
        await page.goto("/runbook/runbooks/files.rhai");
        await page.fill("#p-text", `planned ${Date.now()}`);
        await page.click('button[value="plan"]');
        await page.waitForURL(/\/runs\/\d+$/);
        await page.locator('[data-part="head"] .s-done').waitFor();
        await page.click('.tabs a[href$="/plan"]');
        await page.locator(".effects .changes", { hasText: "file.put" }).first().waitFor();
        await page.locator(".diff .add", { hasText: "planned" }).first().waitFor();
        page.on("dialog", (dialog) => dialog.accept());
        await page.click("text=Apply this plan");
        await page.waitForURL((address) => /\/runs\/\d+$/.test(address.pathname));
        await page.locator('[data-part="head"] .s-done').waitFor();
        await page.click("text=Replay");
        await page.locator("#replayed", { hasText: "It ended done" }).waitFor();
        await page.context().close();
    },

    "a log of a million events is quick, and every part of it can be reached": async () => {
        const page = await tab();
        await page.goto(`/runs/${long}`);
        await page.locator(".line", { hasText: "line 999990" }).first().waitFor();
        const lines = () => page.locator(".line").count();
        assert.ok((await lines()) < 250, `${await lines()} lines are in the document`);
        await page.evaluate(() => {
            const place = document.getElementById("place");
            place.value = 500000;
            place.dispatchEvent(new Event("change"));
        });
        await page.locator('.line[data-seq="500000"]').first().waitFor();
        // Backwards over the edge of what was loaded.
        await until("earlier lines", async () => {
            await page.evaluate(() => (document.getElementById("log").scrollTop = 0));
            return (await page.locator('.line[data-seq="498500"]').count()) > 0 || page.evaluate(() => Number(document.querySelector(".line").dataset.seq) < 498500);
        });
        await page.evaluate(() => {
            const place = document.getElementById("place");
            place.value = 1;
            place.dispatchEvent(new Event("change"));
        });
        await page.locator(".line", { hasText: "began: runbooks/long.rhai" }).waitFor();
        assert.ok((await lines()) < 250);
        await page.click("#follow");
        await page.locator(".line", { hasText: "line 999990" }).first().waitFor();
        await page.fill("#find input", "needle");
        await page.keyboard.press("Enter");
        await page.locator(".line.hit", { hasText: "needle" }).waitFor();
        await page.context().close();
    },

    "a million lines of output are quick as well": async () => {
        const number = await run("lines");
        await ended(number, "done");
        const page = await tab({ viewport: { width: 1280, height: 5000 } });
        await page.goto(`/runs/${number}`);
        await page.locator(".line", { hasText: "the last of them" }).first().waitFor();
        const shown = () => page.locator(".line").count();
        assert.ok((await shown()) < 400, `${await shown()} lines are in the document`);
        const place = (seq) =>
            page.evaluate((value) => {
                const place = document.getElementById("place");
                place.value = value;
                place.dispatchEvent(new Event("change"));
            }, seq);
        await place(1);
        await page.locator(".line", { hasText: "began: runbooks/lines.rhai" }).waitFor();
        // Scrolled through piece by piece, no line is lost and none comes twice.
        const seen = await page.evaluate(async () => {
            const log = document.getElementById("log");
            const numbers = new Set();
            let order = true;
            for (let round = 0; round < 4000 && numbers.size < 60000; round += 1) {
                const texts = [...document.querySelectorAll(".line.out .text")].map((one) => Number(one.textContent));
                for (let at = 1; at < texts.length; at += 1) order &&= texts[at] === texts[at - 1] + 1;
                texts.forEach((number) => numbers.add(number));
                log.scrollTop += log.clientHeight;
                await new Promise((wake) => requestAnimationFrame(() => setTimeout(wake)));
                while (log.getAttribute("aria-busy")) await new Promise((wake) => setTimeout(wake, 10));
            }
            const most = Math.max(...numbers);
            return { order, count: numbers.size, most, lines: log.querySelectorAll(".line").length };
        });
        assert.ok(seen.order && seen.count >= 60000, JSON.stringify(seen));
        assert.equal(seen.count, seen.most, "every line up to the last that was seen has been seen");
        await page.fill("#find input", "777777");
        await page.keyboard.press("Enter");
        await page.locator(".line.hit .text", { hasText: /^777777$/ }).waitFor();
        assert.ok((await shown()) < 400);
        await page.context().close();
    },

    "the editor finds mistakes, completes names and saves": async () => {
        const page = await tab();
        await page.goto("/editor/runbooks/edited.rhai");
        await page.locator(".findings .good").waitFor();
        const text = page.locator("#text");
        await text.focus();
        await page.keyboard.press("Control+End");
        await page.keyboard.type("prnt(1);");
        await page.locator(".findings .error", { hasText: "prnt" }).waitFor();
        assert.match(await page.locator(".gutter .error").innerText(), /✕/);
        await page.locator("#save").click();
        await page.locator("#said.bad", { hasText: "the check finds errors" }).waitFor();
        for (let count = 0; count < 8; count += 1) await page.keyboard.press("Backspace");
        await text.focus();
        await page.keyboard.press("Control+End");
        for (let count = 0; count < 8; count += 1) await page.keyboard.press("Backspace");
        await page.locator(".findings .good").waitFor();
        await page.keyboard.type("print(hosts_");
        await page.keyboard.press("Escape");
        await page.keyboard.press("Control+End");
        for (let count = 0; count < 12; count += 1) await page.keyboard.press("Backspace");
        await page.keyboard.type("ssh_ex");
        await page.locator('#offers [role="option"]', { hasText: "ssh_exec" }).first().waitFor();
        await page.keyboard.press("Enter");
        await page.locator("#doc", { hasText: "ssh_exec(" }).waitFor();
        await page.keyboard.type('("localhost", "true");\n');
        await page.locator(".findings .good").waitFor();
        await page.keyboard.press("Control+S");
        await page.locator("#said", { hasText: "Saved" }).waitFor();
        const file = `${project}/runbooks/edited.rhai`;
        assert.match(readFileSync(file, "utf8"), /ssh_exec\("localhost", "true"\);/);
        // Somebody else is faster.
        writeFileSync(file, `${readFileSync(file, "utf8")}// by hand\n`);
        await page.keyboard.type("// by browser\n");
        await page.keyboard.press("Control+S");
        await page.locator("#said.bad", { hasText: "has changed since you opened it" }).waitFor();
        assert.doesNotMatch(readFileSync(file, "utf8"), /by browser/);
        page.on("dialog", (dialog) => dialog.accept());
        await page.context().close();
        // That the server refused is what was asked for.
        complaints.splice(0, Infinity, ...complaints.filter((one) => !/status of (409|422)/.test(one)));
    },

    "a schedule is stopped with a reason, and goes on": async () => {
        const page = await tab();
        await page.goto("/schedule/nightly");
        await page.fill('form[data-send$="/pause"] input[name="reason"]', "the <b>site</b> moves");
        await page.click("text=Pause");
        await page.locator(".note", { hasText: "the <b>site</b> moves" }).waitFor();
        await page.goto("/schedules");
        await page.locator("tr", { hasText: "nightly" }).locator(".s-paused").waitFor();
        await page.goto("/schedule/nightly");
        await page.fill('form[data-send$="/resume"] input[name="reason"]', "it has moved");
        await page.click('form[data-send$="/resume"] button');
        await page.locator(".note", { hasText: "stands still" }).waitFor({ state: "detached" });
        await page.context().close();
    },

    "light and dark are chosen and remembered": async () => {
        const page = await tab({ colorScheme: "light" });
        const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        await page.goto("/runs");
        const light = await back();
        await page.click("#theme");
        await page.click("#theme");
        const dark = await back();
        assert.notEqual(dark, light);
        await page.goto("/runbooks");
        assert.equal(await back(), dark);
        await page.click("#theme");
        assert.equal(await back(), light);
        await page.context().close();
    },

    "a viewer sees everything and has no buttons": async () => {
        const page = await tab({}, "vera");
        await page.goto("/runbook/runbooks/form.rhai");
        assert.equal(await page.locator("form[data-run]").count(), 0);
        await page.goto("/editor/runbooks/form.rhai");
        assert.equal(await page.locator("#save").count(), 0);
        assert.equal(await page.getAttribute("#text", "readonly"), "");
        await page.goto("/runs");
        assert.equal(await page.locator("main form[data-send]").count(), 0);
        await page.context().close();
    },

    "people sign in, come back to where they wanted, and sign out": async () => {
        const context = await browser.newContext({ baseURL: url });
        const page = await context.newPage();
        await page.goto("/runs?status=bad");
        assert.equal(new URL(page.url()).pathname, "/login");
        assert.equal(await page.evaluate(() => document.activeElement.name), "name");
        await page.keyboard.type("vera");
        await page.keyboard.press("Tab");
        await page.keyboard.type("something else");
        await page.keyboard.press("Enter");
        await page.locator('[role="alert"]', { hasText: "the name or the password is wrong" }).waitFor();
        await page.fill('input[name="name"]', "vera");
        await page.fill('input[name="password"]', password);
        await page.keyboard.press("Enter");
        await page.waitForURL("**/runs?status=bad");
        await page.click("text=Sign out");
        await page.waitForURL("**/login?out=1");
        await page.goto("/queue");
        assert.equal(new URL(page.url()).pathname, "/login");
        await context.close();
    },
};

await runs(tests);
