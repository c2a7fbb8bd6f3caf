// Before the page is drawn, so that it does not flash in the other colours.
try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
    // Without storage the system decides.
}
