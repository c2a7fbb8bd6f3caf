// The text of a script as a run has pinned it, in colours, with the line that runs now.

import { pieces } from "./rhai.js";

const list = document.getElementById("source");
const codes = [...list.querySelectorAll("code")];
// In one go: a comment or a string may go over several lines.
const whole = codes.map((code) => code.textContent).join("\n");
const lines = [document.createDocumentFragment()];
pieces(whole, list.dataset.file.endsWith(".rhai"), (part, cls) => {
    part.split("\n").forEach((text, index) => {
        if (index) lines.push(document.createDocumentFragment());
        if (!text) return;
        if (!cls) return lines.at(-1).append(text);
        const span = document.createElement("span");
        span.className = `t-${cls}`;
        span.textContent = text;
        lines.at(-1).append(span);
    });
});
codes.forEach((code, index) => code.replaceChildren(lines[index] ?? ""));

function mark(isFirst) {
    const now = document.getElementById("now")?.value;
    list.querySelector(".now")?.classList.remove("now");
    const line = now && document.getElementById(`L${now}`);
    if (!line) return;
    line.classList.add("now");
    if (isFirst && !location.hash) line.scrollIntoView({ block: "center" });
}
mark(true);
document.addEventListener("fresh", () => mark(false));
