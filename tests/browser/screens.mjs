// Takes pictures of every page for docs/screens: `node screens.mjs FOLDER PATH=NAME …`, with NLRUN_URL, NLRUN_TOKEN and NLRUN_CHROMIUM.
//
// A name that begins with `dark-` is taken in dark, one with `phone-` at the width of a phone.

import { chromium } from "playwright-core";

const { NLRUN_URL: baseURL, NLRUN_TOKEN: token, NLRUN_CHROMIUM: executablePath } = process.env;
const [folder, ...pages] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
for (const wanted of pages) {
    const cut = wanted.lastIndexOf("=");
    const [address, name] = [wanted.slice(0, cut), wanted.slice(cut + 1)];
    const context = await browser.newContext({
        baseURL,
        colorScheme: name.startsWith("dark-") ? "dark" : "light",
        viewport: name.startsWith("phone-") ? { width: 390, height: 844 } : { width: 1280, height: 860 },
        extraHTTPHeaders: address.startsWith("/login") ? {} : { authorization: `Bearer ${token}` },
        timezoneId: "Europe/Amsterdam",
    });
    const page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && console.log(`${address}: ${message.text()}`));
    page.on("pageerror", (error) => console.log(`${address}: ${error}`));
    await page.goto(address);
    await page.waitForTimeout(1200);
    await page.screenshot({ path: `${folder}/${name}.png` });
    await context.close();
}
await browser.close();
