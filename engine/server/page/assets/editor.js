// The editor: a text with colours under it, the findings of the check as you type, and completion with documentation.

import { later, make, say, send } from "./api.js";
import { coloured } from "./rhai.js";

document.getElementById("new-file").addEventListener("submit", (event) => {
    event.preventDefault();
    const path = new FormData(event.target).get("path").trim();
    if (path) location.assign(`/editor/${path.split("/").map(encodeURIComponent).join("/")}`);
});

const pad = document.getElementById("pad");
if (pad) edit();

function edit() {
    const text = document.getElementById("text");
    const ink = pad.querySelector(".ink");
    const gutter = pad.querySelector(".gutter");
    const list = document.getElementById("findings");
    const count = document.getElementById("count");
    const state = document.getElementById("state");
    const doc = document.getElementById("doc");
    const offers = document.getElementById("offers");
    const path = pad.dataset.path;
    const isRhai = path.endsWith(".rhai");
    let hash = pad.dataset.hash;
    let saved = text.value;
    let findings = [];
    let words = [];
    let checks = 0;

    // Colours and numbers of lines.

    function paint() {
        ink.replaceChildren(coloured(`${text.value}\n`, isRhai));
        const rows = text.value.split("\n").length;
        const worst = new Map();
        for (const one of findings) {
            if (one.file === path && worst.get(one.line) !== "error") worst.set(one.line, one.severity);
        }
        const numbers = [];
        for (let row = 1; row <= rows; row += 1) {
            const severity = worst.get(row);
            numbers.push(make("div", { class: severity ?? "" }, `${severity ? (severity === "error" ? "✕ " : "! ") : ""}${row}`));
        }
        gutter.replaceChildren(...numbers);
        scroll();
        state.textContent = text.value === saved ? "" : "not saved";
    }

    function scroll() {
        ink.style.transform = `translate(${-text.scrollLeft}px, ${-text.scrollTop}px)`;
        gutter.style.transform = `translateY(${-text.scrollTop}px)`;
    }

    // Findings.

    function show() {
        count.textContent = findings.length || "";
        list.replaceChildren(
            ...findings.map((one) => {
                const at = one.line ? `${one.file === path ? "line " : `${one.file}:`}${one.line}` : "";
                const button = make("button", { type: "button", class: "link-like" }, `${one.severity === "error" ? "✕ error" : "! warning"} ${at}: ${one.message}`);
                button.addEventListener("click", () => goTo(one.line, one.column));
                const item = make("li", { class: one.severity }, button);
                if (one.hint) item.append(make("div", { class: "sub" }, one.hint));
                return item;
            }),
        );
        if (!findings.length) list.replaceChildren(make("li", { class: "good" }, "✓ The check finds nothing."));
        paint();
    }

    function goTo(line, column = 1) {
        const rows = text.value.split("\n");
        const at = rows.slice(0, line - 1).reduce((sum, row) => sum + row.length + 1, 0) + Math.max(0, column - 1);
        text.focus();
        text.setSelectionRange(at, at);
        const height = parseFloat(getComputedStyle(text).lineHeight);
        text.scrollTop = Math.max(0, (line - 4) * height);
    }

    async function check() {
        checks += 1;
        const mine = checks;
        try {
            const found = await send("POST", "/api/v1/check", { path, text: text.value });
            if (mine !== checks) return;
            findings = found.findings;
            show();
        } catch (error) {
            if (mine === checks) state.textContent = `not checked: ${error.message}`;
        }
    }
    const checkSoon = later(350, check);

    // Completion.

    let choices = [];
    let choice = 0;

    function before() {
        const upTo = text.value.slice(0, text.selectionStart);
        return /[A-Za-z_][\w:]*$/.exec(upTo)?.[0] ?? "";
    }

    function offer() {
        const word = before();
        const fits = word.length >= 2 && text.selectionStart === text.selectionEnd;
        choices = fits ? words.filter((one) => one.name.startsWith(word) && one.name !== word).slice(0, 12) : [];
        choice = 0;
        draw();
    }

    function draw() {
        offers.hidden = !choices.length;
        if (offers.hidden) {
            text.removeAttribute("aria-activedescendant");
            return;
        }
        const upTo = text.value.slice(0, text.selectionStart).split("\n");
        const style = getComputedStyle(text);
        const wide = measure("0", style);
        offers.style.top = `${upTo.length * parseFloat(style.lineHeight) - text.scrollTop + 8}px`;
        offers.style.left = `${Math.max(0, Math.min((upTo.at(-1).length - before().length) * wide - text.scrollLeft, text.clientWidth - 300))}px`;
        offers.replaceChildren(
            ...choices.map((one, index) => {
                const item = make("li", { role: "option", id: `o${index}`, "aria-selected": index === choice ? "true" : "false" }, make("b", {}, one.name), make("span", { class: "sub" }, ` ${one.doc.split("\n")[0]}`));
                item.addEventListener("mousedown", (event) => {
                    event.preventDefault();
                    choice = index;
                    take();
                });
                return item;
            }),
        );
        text.setAttribute("aria-activedescendant", `o${choice}`);
        offers.children[choice]?.scrollIntoView({ block: "nearest" });
        describe(choices[choice]);
    }

    function describe(one) {
        doc.replaceChildren();
        if (!one) return;
        const kind = one.kind ? ` · ${one.kind} ${one.effect}` : "";
        doc.append(make("code", {}, one.usage), make("span", { class: "sub" }, `${kind}${one.returns ? ` → ${one.returns}` : ""}`), make("p", {}, one.doc.split("\n\n")[0]));
        for (const option of one.options ?? []) doc.append(make("div", { class: "sub" }, make("code", {}, option.name), ` ${option.doc}`));
    }

    function measure(character, style) {
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.font = `${style.fontSize} ${style.fontFamily}`;
        return canvas.measureText(character).width;
    }

    function put(start, stop, value) {
        text.setSelectionRange(start, stop);
        // The one way to insert that undo knows about.
        if (!document.execCommand("insertText", false, value)) {
            text.setRangeText(value, start, stop, "end");
            text.dispatchEvent(new Event("input"));
        }
    }

    function take() {
        const word = before();
        const one = choices[choice];
        choices = [];
        draw();
        put(text.selectionStart - word.length, text.selectionStart, one.name);
        choices = [];
        draw();
        describe(one);
    }

    // Hands.

    let leaves = false;
    text.addEventListener("keydown", (event) => {
        if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
            event.preventDefault();
            save();
            return;
        }
        if (!offers.hidden) {
            if (event.key === "ArrowDown" || event.key === "ArrowUp") {
                event.preventDefault();
                choice = (choice + (event.key === "ArrowDown" ? 1 : choices.length - 1)) % choices.length;
                draw();
                return;
            }
            if (event.key === "Enter" || event.key === "Tab") {
                event.preventDefault();
                take();
                return;
            }
            if (event.key === "Escape") {
                choices = [];
                draw();
                return;
            }
        }
        if (event.key === "Escape") leaves = true;
        else if (event.key === "Tab" && !event.shiftKey && !leaves && !text.readOnly) {
            event.preventDefault();
            put(text.selectionStart, text.selectionEnd, "    ");
        } else if (event.key === "Enter" && !text.readOnly) {
            event.preventDefault();
            const row = text.value.slice(0, text.selectionStart).split("\n").at(-1);
            const deeper = /[{(\[]\s*$/.test(row) ? "    " : "";
            put(text.selectionStart, text.selectionEnd, `\n${/^\s*/.exec(row)[0]}${deeper}`);
        } else if (event.key !== "Shift") leaves = false;
    });
    text.addEventListener("input", () => {
        paint();
        offer();
        checkSoon();
    });
    text.addEventListener("scroll", scroll);
    text.addEventListener("blur", () => {
        choices = [];
        draw();
    });
    text.addEventListener("click", () => {
        const at = text.selectionStart;
        const from = /[A-Za-z_][\w:]*$/.exec(text.value.slice(0, at))?.[0] ?? "";
        const to = /^[\w:]*/.exec(text.value.slice(at))[0];
        describe(words.find((one) => one.name === from + to));
    });
    addEventListener("beforeunload", (event) => {
        if (text.value !== saved) event.preventDefault();
    });

    // Saving.

    function tell({ commit, commit_link: at, branch, link, trouble }) {
        const told = document.getElementById("saved");
        if (!commit) return;
        const number = make("code", { title: commit }, commit.slice(0, 10));
        told.replaceChildren(branch ? "Saved as commit " : "Nothing has changed since commit ", at ? make("a", { href: at }, number) : number);
        if (branch) told.append(" on ", make("code", {}, branch));
        if (link) told.append(" · merge request ", make("a", { href: link }, link));
        if (trouble) told.append(` · ${trouble}`);
        told.className = trouble ? "note warn" : "note";
        told.hidden = false;
    }

    async function save() {
        if (text.readOnly) return;
        const value = text.value;
        const message = document.getElementById("why")?.value ?? "";
        try {
            const query = new URLSearchParams({ path });
            if (pad.dataset.branch) query.set("branch", pad.dataset.branch);
            const answer = await send("PUT", `/api/v1/file?${query}`, { text: value, before: hash, message });
            hash = answer.hash;
            saved = value;
            paint();
            say(`✓ Saved in ${answer.place}`);
            tell(answer);
        } catch (error) {
            say(`✕ ${error.message}`, "bad");
            if (error.status === 422 && error.problem?.errors) {
                findings = error.problem.errors;
                show();
            }
        }
    }
    document.getElementById("save")?.addEventListener("click", save);

    paint();
    check();
    if (isRhai) {
        send("GET", "/api/v1/words")
            .then((page) => (words = page.items))
            .catch(() => {});
    }
}
