"use strict";
const $ = (id) => document.getElementById(id);
let model = null; // what /v1/model says
let picture = null; // ImageBitmap of the whole image
let found = null; // what /v1/attention answered
let turn = 0; // answers to earlier images are dropped

const mb = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1) + " MB";
const ms = (v) => (v < 10 ? v.toFixed(2) : v.toFixed(1)) + " ms";
const percent = (p) => (100 * p).toFixed(1) + " %";

function element(tag, text, kind) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (kind) e.className = kind;
  return e;
}

function say(text, bad) {
  $("status").textContent = text;
  $("status").className = bad ? "bad" : "";
}

async function start() {
  try {
    model = await (await fetch("v1/model")).json();
  } catch {
    say("The server does not answer.", true);
    return;
  }
  const parts = [model.name, mb(model.bytes), model.input.join("×"), model.classes + " classes"];
  if (model.kernels) parts.push(model.kernels);
  if (model.float) parts.push("beside " + model.float + " (" + mb(model.float_bytes) + ")");
  $("model").textContent = parts.join(" · ");
}

// draws the part of the image that the model sees: the crop from the centre, after the shorter side is resized
function drawSeen(canvas) {
  const c = canvas.getContext("2d"), n = canvas.width;
  c.fillStyle = "#000";
  c.fillRect(0, 0, n, n);
  const [, height, width] = model.input;
  const inner = n * (1 - (2 * model.pad) / width), edge = (n - inner) / 2;
  let w = picture.width, h = picture.height, x = 0, y = 0;
  if (model.resize || model.crop) {
    const crop = model.crop || Math.min(width, height);
    const side = Math.min(w, h) * (model.resize ? crop / model.resize : Math.min(1, crop / Math.min(w, h)));
    x = (w - side) / 2; y = (h - side) / 2; w = h = side;
  }
  c.imageSmoothingQuality = "high";
  c.filter = model.input[0] === 1 ? "grayscale(1)" : "none";
  c.drawImage(picture, x, y, w, h, edge, edge, inner, inner);
  c.filter = "none";
}

async function take(file) {
  if (!file || !model) return;
  const mine = ++turn;
  $("right").hidden = $("maps").hidden = true;
  if (file.size > model.max_body) { say("The file has " + mb(file.size) + "; the server takes " + mb(model.max_body) + ".", true); return; }
  say("Looking…");
  try {
    picture = await createImageBitmap(file, { imageOrientation: "none" });
    drawSeen($("view"));
    $("view").hidden = false; $("hint").hidden = true; $("drop").classList.add("full");
  } catch {
    picture = null; // the server will say what is wrong with it
  }
  try {
    const began = performance.now();
    const answer = await post("v1/classify", file);
    const trip = performance.now() - began;
    if (mine !== turn) return;
    showTop(answer, trip);
    say("");
    const maps = await post("v1/attention", file);
    if (mine !== turn) return;
    found = maps;
    showMaps();
  } catch (e) {
    if (mine === turn) say(e.message, true);
  }
}

async function post(path, body) {
  let r;
  try {
    r = await fetch(path, { method: "POST", body });
  } catch {
    throw new Error("The server does not answer.");
  }
  const v = await r.json().catch(() => ({ error: "The server answers " + r.status + "." }));
  if (!r.ok) throw new Error(v.error);
  return v;
}

const nameOf = (c) => c.name || "class " + c.class;

function showTop(answer, trip) {
  $("top").replaceChildren(...answer.top.map((c) => {
    const li = element("li");
    const bar = element("progress");
    bar.max = 1; bar.value = c.p;
    li.append(bar, element("span", nameOf(c), "name"), element("span", percent(c.p), "p"));
    return li;
  }));
  const rows = [["model", ms(answer.run_ms) + (answer.batch > 1 ? " for a batch of " + answer.batch : "")], ["server", ms(answer.total_ms)], ["round trip", ms(trip)]];
  $("times").replaceChildren(...rows.flatMap(([k, v]) => [element("dt", k), element("dd", v)]));
  $("right").hidden = false;
}

// blocks that every model has a map of
function blocks() {
  return found.models[0].blocks.map((b) => b.block).filter((n) => found.models.every((m) => m.blocks.some((b) => b.block === n)));
}

function showMaps() {
  const list = blocks();
  if (!list.length || !picture) return;
  $("block").max = list.length - 1;
  $("block").value = list.length - 1;
  // the float original to the left
  const order = [...found.models].reverse();
  $("pair").replaceChildren(...order.map((m) => {
    const f = element("figure"), caption = element("figcaption"), canvas = element("canvas");
    canvas.width = canvas.height = 448;
    f.dataset.model = m.name;
    caption.append(element("span", m.name, "what"), element("span", nameOf(m.top[0]) + " " + percent(m.top[0].p), "say"));
    f.append(caption, canvas);
    return f;
  }));
  $("maps").hidden = false;
  drawMaps();
}

function drawMaps() {
  const list = blocks(), n = list[$("block").value];
  $("which").textContent = n + 1 + " of " + (list[list.length - 1] + 1);
  const order = [...found.models].reverse();
  [...$("pair").querySelectorAll("canvas")].forEach((canvas, i) => {
    const b = order[i].blocks.find((b) => b.block === n);
    drawMap(canvas, b);
    $("note").textContent = b.kind === "class token"
      ? "What the class token looks at, mean over the heads; the brightest 3 % of each map are cut off."
      : "What each patch receives from the patches of its window, mean over the heads; the brightest 3 % are cut off. Blocks with shifted windows are left out.";
  });
}

// dark blue over teal to yellow
const stops = [[13, 22, 48], [24, 74, 110], [35, 138, 132], [118, 196, 96], [250, 226, 60]];
function colour(v) {
  const t = Math.min(Math.max(v, 0), 1) * (stops.length - 1), i = Math.min(Math.floor(t), stops.length - 2), f = t - i;
  return stops[i].map((a, k) => a + (stops[i + 1][k] - a) * f);
}

function drawMap(canvas, b) {
  const raw = $("raw").checked, small = element("canvas");
  small.width = small.height = b.side;
  const s = small.getContext("2d"), data = s.createImageData(b.side, b.side);
  b.map.forEach((v, i) => {
    const t = Math.sqrt(v), [r, g, bl] = colour(t);
    data.data.set([r, g, bl, raw ? 255 : 205 - 115 * t], 4 * i); // what is looked at stays clear
  });
  s.putImageData(data, 0, 0);
  const c = canvas.getContext("2d");
  if (!raw) drawSeen(canvas);
  c.imageSmoothingEnabled = !raw;
  c.imageSmoothingQuality = "high";
  c.drawImage(small, 0, 0, canvas.width, canvas.height);
}

$("file").addEventListener("change", (e) => { take(e.target.files[0]); e.target.value = ""; });
$("drop").addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); $("file").click(); } });
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (e) => {
    e.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take([...e.dataTransfer.files][0]);
  });
}
document.addEventListener("paste", (e) => take([...e.clipboardData.files][0]));
$("block").addEventListener("input", drawMaps);
$("raw").addEventListener("change", drawMaps);
start();
