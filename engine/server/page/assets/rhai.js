// Colours for Rhai and YAML: a text becomes pieces with a class each. It only colours; what is right the check says.

const words =
    "let const if else switch do while loop for in continue break return throw try catch import export as fn private is step global this true false";
const keywords = new Set(words.split(" "));

const rhai =
    /(\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|(`(?:[^`\\]|\\[\s\S])*(?:`|$)|"(?:[^"\\\n]|\\[\s\S])*(?:"|$|(?=\n))|'(?:[^'\\\n]|\\.)*')|(\b\d[\w.]*)|([A-Za-z_]\w*)(\s*\()?|([\s\S])/g;

const yaml = /(#[^\n]*)|("(?:[^"\\\n]|\\.)*"|'[^'\n]*')|(^[ \t-]*)([\w.-]+)(:)(?=\s|$)|(\b\d[\w.:-]*)|([\s\S])/gm;

/** Calls `take(text, class)` for each piece of a text. */
export function pieces(text, isRhai, take) {
    if (isRhai) {
        for (const [all, comment, string, number, word, call] of text.matchAll(rhai)) {
            if (comment) take(comment, "c");
            else if (string) take(string, "s");
            else if (number) take(number, "n");
            else if (word) {
                take(word, keywords.has(word) ? "k" : /^[A-Z][A-Z_]+$/.test(word) ? "h" : call ? "f" : "");
                if (call) take(call, "");
            } else take(all, "");
        }
    } else {
        for (const [all, comment, string, blank, key, colon, number] of text.matchAll(yaml)) {
            if (comment) take(comment, "c");
            else if (string) take(string, "s");
            else if (key) {
                take(blank ?? "", "");
                take(key, "k");
                take(colon, "");
            } else if (number) take(number, "n");
            else take(all, "");
        }
    }
}

/** Returns a fragment with the text in colours. */
export function coloured(text, isRhai) {
    const fragment = document.createDocumentFragment();
    let plain = "";
    const put = () => {
        if (plain) fragment.append(plain);
        plain = "";
    };
    pieces(text, isRhai, (part, cls) => {
        if (!cls) {
            plain += part;
            return;
        }
        put();
        const span = document.createElement("span");
        span.className = `t-${cls}`;
        span.textContent = part;
        fragment.append(span);
    });
    put();
    return fragment;
}
