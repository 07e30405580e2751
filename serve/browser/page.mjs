// Drives the page of qvitc serve in a headless browser.
//
//   node page.mjs URL SCREENSHOT [IMAGE...]      CHROMIUM names the browser's program
//
// The server must run with --teacher. Without IMAGE a drawn picture is dropped.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { chromium } from "playwright-core";

const [url, shot, ...images] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
let passed = 0, failed = 0;
const check = (what, ok, seen) => {
  ok ? passed++ : failed++;
  if (!ok) console.log(`FAIL ${what}: ${seen}`);
};

const page = await browser.newPage({ viewport: { width: 1120, height: 1060 } });
const trouble = [], requests = [];
page.on("console", (m) => m.type() === "error" && trouble.push(m.text()));
page.on("pageerror", (e) => trouble.push(e.message));
page.on("request", (r) => requests.push(r.url()));
await page.goto(url);
await page.waitForFunction(() => document.getElementById("model").textContent.includes("·"));
check("the page names the model", (await page.textContent("#model")).includes("classes"), await page.textContent("#model"));

// a picture: stripes and a disc, or the first file given
const drawn = await page.evaluate(() => {
  const c = document.createElement("canvas");
  c.width = 320; c.height = 240;
  const g = c.getContext("2d");
  for (let x = 0; x < 320; x += 20) { g.fillStyle = `hsl(${x} 60% ${30 + (x % 40)}%)`; g.fillRect(x, 0, 20, 240); }
  g.fillStyle = "white"; g.beginPath(); g.arc(190, 110, 60, 0, 7); g.fill();
  return c.toDataURL("image/png").split(",")[1];
});
const first = images.length ? { name: basename(images[0]), mimeType: "image/jpeg", buffer: readFileSync(images[0]) }
  : { name: "drawn.png", mimeType: "image/png", buffer: Buffer.from(drawn, "base64") };
await page.setInputFiles("#file", first);
await page.waitForFunction(() => document.querySelectorAll("#top li").length > 0 && !document.getElementById("right").hidden);
const rows = await page.$$eval("#top li", (l) => l.map((e) => e.textContent));
check("five classes", rows.length === 5 && rows.every((r) => /\d+\.\d %/.test(r)), rows.join(" | "));
check("latency", /\d ms/.test(await page.textContent("#times")), await page.textContent("#times"));

await page.waitForFunction(() => !document.getElementById("maps").hidden, null, { timeout: 60000 });
const maps = () => page.$$eval("#pair canvas", (l) => l.map((c) => {
  const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  const seen = new Set();
  let sum = 0;
  for (let i = 0; i < d.length; i += 4 * 997) { seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]); sum = (sum * 31 + d[i] + d[i + 1] * 7) >>> 0; }
  return { colours: seen.size, sum };
}));
const two = await maps();
check("two attention maps that show something", two.length === 2 && two.every((m) => m.colours > 20), JSON.stringify(two));
const names = await page.$$eval("#pair .what", (l) => l.map((e) => e.textContent));
check("of two models", names.length === 2 && names[0] !== names[1], names.join(" "));
await page.screenshot({ path: shot, fullPage: true });

await page.locator("#block").fill("0");
const other = await maps();
check("another block, another map", other.every((m, i) => m.sum !== two[i].sum), await page.textContent("#which"));

// something that is no image
await page.setInputFiles("#file", { name: "no.png", mimeType: "image/png", buffer: Buffer.from("hello") });
await page.waitForFunction(() => document.getElementById("status").className === "bad");
check("a bad file is refused in words", /no image/.test(await page.textContent("#status")), await page.textContent("#status"));
const known = trouble.filter((t) => !/status of 400/.test(t));
check("no error in the console", known.length === 0, known.join(" | "));

// dropping a file
await page.evaluate((b64) => {
  const bytes = Uint8Array.from(atob(b64), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}, drawn);
await page.waitForFunction(() => !document.getElementById("maps").hidden && document.querySelectorAll("#top li").length === 5, null, { timeout: 60000 });
check("a dropped image", true);

// narrow, as on a telephone
await page.setViewportSize({ width: 390, height: 800 });
const wide = await page.evaluate(() => document.documentElement.scrollWidth);
check("no sideways scrolling on a narrow screen", wide <= 390, wide);
check("nothing comes from elsewhere", requests.every((r) => r.startsWith(url) || r.startsWith("blob:") || r.startsWith("data:")), requests.join(" "));
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
