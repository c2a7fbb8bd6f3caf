// The form of a runbook: what is typed is tried against the server's own rules before anything is asked for.

import { later, say, send } from "./api.js";

const form = document.querySelector("form[data-run]");

if (form) {
    const runbook = form.dataset.run;
    // A second press of the button is the same run.
    const key = crypto.randomUUID();
    const touched = new Set();
    let isAll = false;

    const fields = () => [...form.querySelectorAll("[data-field]")];

    const params = () => {
        const given = {};
        for (const field of fields()) {
            const input = field.querySelector("input, select, textarea");
            // What is left empty is not given: its default counts, or that it is missing.
            if (input.value !== "" || (field.dataset.type === "string" && input.defaultValue)) given[input.name] = input.value;
        }
        return given;
    };

    const show = (wrong) => {
        const rest = [];
        const known = new Map(fields().map((field) => [field.dataset.field, field]));
        for (const one of wrong) if (!known.has(one.name)) rest.push(one.message);
        for (const [name, field] of known) {
            const found = wrong.find((one) => one.name === name);
            const isSeen = found && (isAll || touched.has(name));
            const error = field.querySelector(".error");
            error.textContent = isSeen ? `✕ ${found.message}` : "";
            error.hidden = !isSeen;
            field.querySelector("input, select, textarea").setAttribute("aria-invalid", isSeen ? "true" : "false");
        }
        const error = form.querySelector("#e-");
        error.textContent = rest.join("; ");
        error.hidden = !rest.length;
    };

    const check = async () => {
        const found = await send("POST", "/api/v1/check", { path: runbook, params: params() });
        show(found.params);
        return found.params;
    };

    const soon = later(300, () => check().catch(() => {}));
    form.addEventListener("input", (event) => {
        touched.add(event.target.name);
        soon();
    });

    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const mode = event.submitter?.value === "plan" ? "plan" : "apply";
        isAll = true;
        try {
            const wrong = await check();
            if (wrong.length) {
                form.querySelector('[aria-invalid="true"]')?.focus();
                return;
            }
            const asked = await send("POST", "/api/v1/runs", { runbook, params: params(), mode }, { "idempotency-key": `${key}-${mode}` });
            location.assign(`/runs/${asked.run}`);
        } catch (error) {
            say(`✕ ${error.message}`, "bad");
        }
    });
}
