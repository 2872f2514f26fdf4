// One tab of the page. Whoever answers keeps the latents of images under tokens; everything else is here. The answers come
// from a server on this machine, or from a worker of this very browser: transport.js knows.

import { GONE, send } from "./transport.js";

const byId = (id) => document.getElementById(id);
const IDENTITY = "as the image was encoded";
const ANNOUNCE_AFTER = 700; // ms without a newer picture
const WAITING_AFTER = 300; // ms until a picture is greyed
const AT_MOST = 1000; // classes that a list can show

let model = null;
const slots = { image: null, other: null }; // what was answered about each
const sources = { image: null, other: null }; // where each came from, to open it again when it has been forgotten
const openings = { image: null, other: null }; // the request that opens it
let shown = null; // the last answer to a decode
let shownOf = null; // the image that it is of
let news = ""; // what was opened and not told yet
let epoch = 0; // answers to questions of an earlier one are thrown away
let wanted = false;
let running = false;
let decoding = null;
let held = false;
const sliders = []; // {input, output, neutral, row, apply}
const KEPT_PICTURE = 1 << 20; // bytes of a picture file that are kept for a reload

// --- talking to whoever answers

class Refused extends Error {
  constructor(message, kind) { super(message); this.kind = kind; }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await send(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(GONE, "gone");
  }
  if (answer.ok) return answer;
  let told = {};
  try { told = await answer.json(); } catch { /* not from our server */ }
  throw new Refused(told.error || `the server answered ${answer.status}`, told.kind || "");
}

const post = (path, value, signal) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value), signal });

function complain(text) {
  const place = byId("message");
  if (!text) { place.hidden = true; place.textContent = ""; return; }
  place.textContent = text[0].toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? "" : ".");
  place.hidden = false;
}

let announcing = 0;
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => { byId("announcement").textContent = text; news = ""; }, ANNOUNCE_AFTER);
}

// --- opening images

const slotNow = () => document.querySelector("input[name=slot]:checked").value;

function classWanted() {
  const chosen = byId("encode-class").value;
  return model.classes === null || chosen === "" ? null : Number(chosen);
}

// Kept, for the file may have changed or gone when it is opened again. Folders are dropped as files that cannot be read.
async function bytesOf(source) {
  try {
    source.bytes ??= await source.file.arrayBuffer();
  } catch {
    throw new Refused(`${source.name} cannot be read; give a picture file that is still where it was`, "unreadable");
  }
  return source.bytes;
}

async function request(source, signal) {
  const label = source.label;
  if (source.kind === "file") {
    const body = await bytesOf(source);
    const query = new URLSearchParams({ name: source.name });
    if (label !== null) query.set("class", label);
    return ask(`api/image?${query}`, {
      method: "POST", headers: { "content-type": "application/octet-stream" }, body, signal,
    });
  }
  if (source.kind === "golden") return post("api/golden", { index: source.index, class: label }, signal);
  return post("api/sample", { seed: source.seed, temperature: source.temperature, class: label }, signal);
}

// A server may have been started again with another bundle, which this page knows nothing of.
async function opened(source, signal) {
  const found = await (await request(source, signal)).json();
  if (found.model !== model.id) throw new Refused("another bundle is served here now; reload the page", "other");
  return found;
}

async function open(slot, source) {
  openings[slot]?.abort();
  const own = new AbortController();
  openings[slot] = own;
  const late = setTimeout(() => byId("change").classList.add("waiting"), WAITING_AFTER);
  try {
    const found = await opened(source, own.signal);
    if (openings[slot] !== own) return;
    slots[slot] = found;
    sources[slot] = source;
    complain("");
    news = `${found.name} is open${slot === "image" ? `, ${found.bits_per_dim.toFixed(3)} bits/dim` : " as the second image"}. `;
    if (slot === "image") showImage(found); else showOther(found);
    forget();
    schedule();
  } catch (error) {
    if (error.name !== "AbortError" && openings[slot] === own) complain(error.message);
  } finally {
    clearTimeout(late);
    if (openings[slot] === own) {
      openings[slot] = null;
      markGolden();
    }
    if (!openings.image && !openings.other) byId("change").classList.remove("waiting");
  }
}

function openFile(slot, file) {
  if (!file) return;
  if (file.size > model.upload.bytes) {
    complain(`${file.name} has ${memory(file.size)}, more than the ${memory(model.upload.bytes)} that are taken`);
    return;
  }
  open(slot, { kind: "file", file, name: file.name || "pasted.png", label: classWanted() });
}

function forget() {
  epoch += 1;
  decoding?.abort();
}

// --- decoding: one question at a time, always with the sliders as they stand

function change() {
  const asked = { temperature: 1, temperatures: [], share: 0, attributes: {} };
  for (const slider of sliders) if (!slider.input.disabled) slider.apply(asked, valueOf(slider));
  asked.mode = document.querySelector("input[name=mode]:checked").value;
  const label = byId("decode-class").value;
  asked.label = model.classes === null || label === "" ? null : Number(label);
  return asked;
}

function question() {
  const asked = held ? { mode: "linear" } : change();
  return { token: slots.image.token, other: slots.other?.token ?? null, change: asked };
}

function schedule() {
  wanted = true;
  remember();
  if (!running) requestAnimationFrame(run);
}

async function run() {
  if (running) return;
  running = true;
  let reopened = false;
  while (wanted && slots.image) {
    wanted = false;
    const asked = epoch;
    const image = slots.image;
    decoding = new AbortController();
    const late = setTimeout(() => byId("shown-figure").classList.add("waiting"), WAITING_AFTER);
    try {
      const answer = await (await post("api/decode", question(), decoding.signal)).json();
      if (asked === epoch) { shownOf = image; showDecoded(answer); complain(""); }
    } catch (error) {
      if (error.name === "AbortError") {
        // A newer image is there; `wanted` says so.
      } else if (error.kind === "forgotten" && !reopened) {
        reopened = true;
        wanted = await openAgain();
      } else if (asked === epoch) {
        complain(error.message);
        if (shownOf !== image) showNothing();
      }
    } finally {
      clearTimeout(late);
      byId("shown-figure").classList.remove("waiting");
    }
  }
  running = false;
  if (wanted && slots.image) schedule();
}

async function openAgain() {
  try {
    for (const slot of ["image", "other"]) {
      if (sources[slot]) slots[slot].token = (await opened(sources[slot])).token;
    }
    return true;
  } catch (error) {
    complain(error.message);
    return false;
  }
}

// --- showing

function figure(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(1).replace("e+", "e");
  return String(Number(value.toPrecision(3)));
}

const memory = (bytes) => (bytes < 2 ** 20 ? `${figure(bytes / 2 ** 10)} kB` : `${figure(bytes / 2 ** 20)} MB`);

// Never 100 % short of all, nor 0 % of some.
function percent(part, whole) {
  const value = (100 * part) / whole;
  if (part === 0 || part === whole) return String(value);
  return String(Math.min(Math.max(value < 1 || value > 99 ? Number(value.toFixed(2)) : Math.round(value), 0.01), 99.99));
}

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

function put(id, uri, description) {
  const image = byId(id);
  image.src = uri;
  image.alt = description;
  image.width = model.image.width;
  image.height = model.image.height;
  image.hidden = false;
}

function write(id, text) { byId(id).textContent = text; }

function card(id, verdict) {
  byId(id).classList.toggle("good", verdict === true);
  byId(id).classList.toggle("bad", verdict === false);
}

function showImage(found) {
  const depth = `${model.image.n_bits} ${model.image.n_bits === 1 ? "bit" : "bits"}`;
  put("picture", found.picture, `${found.name}, as the model sees it`);
  write("picture-note", [`${found.name}, as the model sees it: ${depth} a channel.`, ...found.notes.map((note) => `Was ${note}.`)].join(" "));
  put("reconstruction", found.reconstruction, `${found.name}, encoded and decoded again`);
  put("difference", found.difference, "Reconstruction minus image, enlarged");
  write("difference-note", found.difference_steps === null
    ? "none that float32 resolves"
    : `grey is none; black and white are ${figure(found.difference_steps)} pixel steps`);
  const error = found.error;
  const lost = error.non_finite;
  write("exact", `${percent(error.exact, error.values)} %`);
  write("exact-note", `${error.exact.toLocaleString("en")} of ${plural(error.values, "value")} of all pixels and channels`);
  // A picture that the model does not know comes back too; that is no praise for it.
  const known = found.familiar !== "foreign";
  card("card-exact", error.exact === error.values ? known || null : false);
  write("error", lost ? "not finite" : figure(error.max_steps));
  write("error-note", lost
    ? `${plural(lost, "value")} of the reconstruction are not finite, in magenta`
    : `pixel steps; root mean square ${figure(error.rms_steps)}. Below 0.5 every pixel is exact.`);
  card("card-error", !lost && error.max_steps < 0.5 ? known || null : false);
  write("bits", found.bits_per_dim.toFixed(3));
  showFamiliar(found);
  write("bits-note", `averaged over ${plural(found.draws, "draw")} of dequantisation noise; ${found.bits_per_dim_centre.toFixed(3)} at the bin centre`);
  if (found.label !== null) {
    write("class", String(found.label));
    write("class-note", found.likeliest.length
      ? `the likeliest: ${found.likeliest.map((one) => `${one.label} (${(100 * one.share).toFixed(1)} %)`).join(", ")}`
      : "given, not chosen by likelihood");
    byId("decode-class").options[0].textContent = `${IDENTITY} (${found.label})`;
  }
  showLevels(found.levels);
  byId("verdict").classList.remove("damped");
  for (const slider of sliders) setEnabled(slider);
  showNotes();
}

const FAMILIAR = {
  typical: "as typical as the golden images",
  unusual: "unusual: outside the range of the golden images",
  foreign: "foreign: far outside the range of the golden images, so no likelihood or edit of it means much",
};

// Where the picture lies among the golden images, at bin centres, where both are measured.
function showFamiliar(found) {
  const range = model.golden_range;
  byId("bits-range").hidden = range === null;
  card("card-bits", found.familiar === "foreign" ? false : found.familiar === "typical" ? true : null);
  if (range === null) {
    write("bits-familiar", "This bundle has no golden images to compare with.");
    return;
  }
  const bits = found.bits_per_dim_centre;
  const [low, high] = [Math.min(range.low, bits), Math.max(range.high, bits)];
  const place = (value) => (high > low ? (value - low) / (high - low) : 0.5);
  const bar = byId("bits-range");
  bar.style.setProperty("--from", `${100 * place(range.low)}%`);
  bar.style.setProperty("--wide", `${Math.max(1, 100 * (place(range.high) - place(range.low)))}%`);
  bar.style.setProperty("--at", `${100 * place(bits)}%`);
  const words = `Golden images: ${range.low.toFixed(2)} to ${range.high.toFixed(2)} at the bin centre; this picture: ${bits.toFixed(2)}`;
  const verdict = range.of_data ? FAMILIAR[found.familiar] : "they are samples of the model, which cost less than pictures do";
  bar.setAttribute("aria-label", `${words}, ${verdict}`);
  write("bits-familiar", `${words}, ${verdict}.`);
}

// A phone has no room for them beside the pictures, which stay in sight there.
function showNotes() {
  write("phone-note", `${byId("picture-note").textContent} ${byId("shown-note").textContent}`.trim());
}

// Rather than a picture decoded from another image.
function showNothing() {
  shown = null;
  byId("shown").hidden = true;
  byId("verdict").classList.remove("damped");
  for (const id of ["shown-note", "verdict", "command"]) write(id, "");
  for (const id of ["save-picture", "save-latents", "copy"]) byId(id).disabled = true;
  byId("save-image").disabled = false;
  showNotes();
}

function placeOf(index, levels) {
  if (levels === 1) return "";
  return index === 0 ? ", the finest" : index === levels - 1 ? ", the coarsest" : "";
}

function showLevels(levels) {
  const rows = levels.map((level, index) => {
    const section = document.createElement("section");
    section.className = "level";
    const heading = document.createElement("h3");
    heading.textContent = `z${index + 1}${placeOf(index, levels.length)}`;
    const words = document.createElement("p");
    const [channels, height, width] = level.shape;
    const beyond = level.beyond ? `${level.beyond} of ${level.count.toLocaleString("en")} values beyond ${model.latent_scale}` : `none of ${level.count.toLocaleString("en")} values beyond ${model.latent_scale}`;
    words.append(`${channels} channels of ${width}x${height}; mean z\u00b2 ${level.mean_square.toFixed(2)}`);
    const after = document.createElement("span");
    after.className = "after";
    words.append(after, `; ${beyond}`);
    const picture = document.createElement("picture");
    const dark = document.createElement("source");
    dark.media = "(prefers-color-scheme: dark)";
    dark.srcset = level.pictures.dark;
    const image = document.createElement("img");
    image.src = level.pictures.light;
    image.width = level.width;
    image.height = level.height;
    image.alt = `Latents of z${index + 1}, ${channels} channels side by side`;
    picture.append(dark, image);
    section.append(heading, words, picture);
    return section;
  });
  byId("levels").replaceChildren(...rows);
}

function showOther(found) {
  put("other", found.picture, found.name);
  write("other-note", found.name);
  write("other-open", "Open another");
  const slider = sliders.find((one) => one.name === "share");
  setEnabled(slider);
  if (valueOf(slider) === 0) { slider.input.value = "0.5"; refresh(slider); }
}

function showDecoded(answer) {
  shown = answer;
  const part = Math.floor(100 * answer.kept);
  const damped = answer.kept < 1;
  put("shown", answer.picture, damped ? `Decoded, with ${part} % of the change` : answer.changed_values ? "Decoded with the change" : "Decoded, the same as the image");
  const differing = `${percent(answer.changed_values, answer.values)} % of its values differ from the image's.`;
  write("shown-note", answer.clipped ? `${figure(100 * answer.clipped)} % of values leave the range, by up to ${figure(answer.overshoot_steps)} steps.` : "");
  const verdict = byId("verdict");
  verdict.classList.toggle("damped", damped);
  verdict.replaceChildren();
  if (damped) {
    const strong = document.createElement("b");
    strong.textContent = `Damped to ${part} % of the change.`;
    verdict.append(strong, ` All of it ${answer.fault}.`);
  } else {
    verdict.append(answer.changed_values ? `All of the change is shown. ${differing}` : "Every value is as in the image.");
  }
  const levels = document.querySelectorAll(".level .after");
  answer.mean_square.forEach((value, index) => {
    const before = slots.image.levels[index].mean_square.toFixed(2);
    levels[index].textContent = value.toFixed(2) === before ? "" : ` (${value.toFixed(2)} as changed)`;
  });
  write("command", answer.command);
  const command = answer.command.split(" ")[1];
  write("command-note", {
    decode: "No single command does all of this; save the latents, and decode them:",
    encode: "Nothing is changed; this gives the latents of the image:",
    interpolate: "The whole way on the command line:",
  }[command] ?? "The same on the command line:");
  for (const id of ["save-picture", "save-latents", "save-image", "copy"]) byId(id).disabled = false;
  showNotes();
  announce(news + verdict.textContent);
}

// --- sliders

function addSlider(place, { name, label, hint = "", low, high, neutral, step = 0.05, apply }) {
  const row = document.createElement("div");
  row.className = "slider";
  const input = document.createElement("input");
  Object.assign(input, { type: "range", id: `slider-${sliders.length}`, min: low, max: high, step, value: neutral, name });
  input.defaultValue = String(neutral);
  const words = document.createElement("label");
  words.htmlFor = input.id;
  words.textContent = label;
  if (hint) {
    const small = document.createElement("small");
    small.textContent = hint;
    words.append(" ", small);
  }
  const output = document.createElement("output");
  output.htmlFor = input.id;
  output.setAttribute("aria-live", "off"); // the slider says its value itself
  row.append(words, output, input);
  place.append(row);
  const slider = { name, row, input, output, neutral, apply, low, high };
  sliders.push(slider);
  input.addEventListener("input", () => { keepWithin(slider); refresh(slider); schedule(); });
  refresh(slider);
  setEnabled(slider);
  return slider;
}

function refresh(slider) {
  const { input, output, neutral } = slider;
  const value = valueOf(slider);
  output.textContent = value.toFixed(2);
  slider.row.classList.toggle("moved", value !== neutral);
  const [low, high] = [Number(input.min), Number(input.max)];
  const place = (at) => (high > low ? (at - low) / (high - low) : 0.5);
  input.style.setProperty("--place", place(neutral));
  if (slider.attribute) {
    const open = byId("beyond").checked;
    input.style.setProperty("--from", open ? 0 : place(slider.low));
    input.style.setProperty("--to", open ? 1 : place(slider.high));
  }
}

// Attributes share one scale, so that their zeros stand below each other; each moves within its own measured range.
function keepWithin(slider) {
  if (!slider.attribute || byId("beyond").checked) return;
  const value = Math.min(Math.max(Number(slider.input.value), slider.low), slider.high);
  if (value !== Number(slider.input.value)) slider.input.value = String(value);
}

function setEnabled(slider) {
  const wide = slider.attribute && !byId("beyond").checked ? slider.high > slider.low : true;
  const usable = slots.image && !slots.image.trouble && wide && Number(slider.input.max) > Number(slider.input.min);
  slider.input.disabled = !usable || (slider.name === "share" && !slots.other);
}

// Steps are counted from the least value: ends on whole steps keep 0 among them.
const inward = (value) => (value < 0 ? -1 : 1) * Math.floor(Math.abs(value) / 0.05 + 1e-9) / 20;

// Without the last digits of sums of steps, and without -0.
const valueOf = (slider) => Number(Number(slider.input.value).toFixed(2)) || 0;

function buildSliders() {
  const heat = byId("temperatures");
  addSlider(heat, {
    name: "temperature", label: "All levels", low: 0, high: 1.5, neutral: 1,
    apply: (asked, value) => { asked.temperature = value; },
  });
  model.levels.forEach((_, index) => {
    if (model.levels.length === 1) return;
    const where = index === 0 ? "finest" : index === model.levels.length - 1 ? "coarsest" : "";
    addSlider(heat, {
      name: "temperatures", label: `z${index + 1}`, hint: where, low: 0, high: 1.5, neutral: 1,
      apply: (asked, value) => { asked.temperatures[index] = value; },
    });
  });
  const share = addSlider(byId("way"), {
    name: "share", label: "Share of the way", low: 0, high: 1, neutral: 0, step: 0.01,
    apply: (asked, value) => { asked.share = value; },
  });
  byId("way").querySelector(".second").after(share.row);
  const directions = model.directions;
  byId("beyond-row").hidden = directions === null;
  if (directions === null) {
    write("attributes-note", "none were given; glow-deploy directions makes a file of them, for --directions FILE");
    return;
  }
  write("attributes-note", `from ${directions.source}; 1 is the distance between the means with and without; AUC is how well held-out pictures are told apart, 0.5 by chance`);
  for (const one of directions.attributes) {
    const slider = addSlider(byId("attribute-sliders"), {
      name: one.name, label: one.name.replaceAll("_", " "), hint: `AUC ${one.auc.toFixed(2)}`,
      low: -inward(directions.limit), high: inward(directions.limit), neutral: 0,
      apply: (asked, value) => { if (value) asked.attributes[one.name] = value; },
    });
    Object.assign(slider, { attribute: true, low: inward(one.low), high: inward(one.high) });
    slider.input.title = `${slider.low} to ${slider.high} were measured to be sound`;
    setEnabled(slider);
    refresh(slider);
  }
}

function setRanges() {
  for (const slider of sliders.filter((one) => one.attribute)) {
    keepWithin(slider);
    refresh(slider);
    setEnabled(slider);
  }
  schedule();
}

// --- a reload keeps what is open and how it is changed; another tab has its own

const memoryKey = () => `glow-deploy explore ${model.id}`;

function rememberedSource(source) {
  if (!source) return null;
  const { kind, index, seed, temperature, label, name } = source;
  if (kind !== "file") return { kind, index, seed, temperature, label };
  const bytes = source.bytes;
  if (!bytes || bytes.byteLength > KEPT_PICTURE) return { kind, name, label, gone: true };
  let text = "";
  for (const byte of new Uint8Array(bytes)) text += String.fromCharCode(byte);
  return { kind, name, label, data: btoa(text) };
}

function remember() {
  if (!slots.image) return;
  const kept = {
    image: rememberedSource(sources.image),
    other: rememberedSource(sources.other),
    sliders: sliders.map((slider) => valueOf(slider)),
    mode: document.querySelector("input[name=mode]:checked").value,
    label: byId("decode-class").value,
    beyond: byId("beyond").checked,
  };
  try {
    sessionStorage.setItem(memoryKey(), JSON.stringify(kept));
  } catch { /* full, or forbidden: then a reload begins anew */ }
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(memoryKey()));
  } catch {
    return null;
  }
}

function sourceOf(kept) {
  if (!kept || kept.gone) return null;
  if (kept.kind !== "file") return kept;
  const text = atob(kept.data);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  return { kind: "file", name: kept.name, label: kept.label, bytes: bytes.buffer };
}

async function restore(kept) {
  const image = sourceOf(kept.image);
  if (image) await open("image", image);
  if (!slots.image) await openFirst();
  const other = sourceOf(kept.other);
  if (other && slots.image) await open("other", other);
  byId("beyond").checked = kept.beyond === true;
  kept.sliders?.forEach((value, index) => {
    if (!sliders[index]) return;
    sliders[index].input.value = String(value);
    keepWithin(sliders[index]);
    refresh(sliders[index]);
    setEnabled(sliders[index]);
  });
  const mode = document.querySelector(`input[name=mode][value="${kept.mode === "spherical" ? "spherical" : "linear"}"]`);
  mode.checked = true;
  if ([...byId("decode-class").options].some((option) => option.value === kept.label)) byId("decode-class").value = kept.label;
  if (kept.image?.gone) complain(`${kept.image.name} is too large to be kept over a reload; open it again`);
  schedule();
}

const openFirst = () =>
  open("image", model.golden ? { kind: "golden", index: 0, label: null } : { kind: "sample", seed: 0, temperature: 0.7, label: null });

// --- the page's own parts

function buildClasses() {
  if (model.classes === null) return;
  byId("encode-class-row").hidden = false;
  byId("classes").hidden = false;
  byId("card-class").hidden = false;
  for (const [id, first] of [["encode-class", "its own, or the likeliest"], ["decode-class", IDENTITY]]) {
    const options = [new Option(first, "")];
    for (let label = 0; label < Math.min(model.classes, AT_MOST); label += 1) options.push(new Option(String(label), String(label)));
    byId(id).replaceChildren(...options);
  }
  byId("encode-class").addEventListener("change", () => {
    const slot = slotNow();
    if (sources[slot]) open(slot, { ...sources[slot], label: classWanted() });
  });
  byId("decode-class").addEventListener("change", schedule);
}

// One number, or one for each level, z1 first.
function sampleTemperature() {
  const values = [...document.querySelectorAll("#level-temperatures input")].map((input) => Number(input.value));
  const all = Number(byId("sample-temperature").value);
  return values.every((value) => value === all) ? all : values;
}

function buildLevelTemperatures() {
  if (model.levels.length === 1) return;
  const all = byId("sample-temperature");
  byId("level-temperatures").replaceChildren(...model.levels.map((_, index) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "number", min: all.min, max: all.max, step: all.step, required: true });
    input.value = all.value;
    label.append(`z${index + 1}${placeOf(index, model.levels.length)} `, input);
    return label;
  }));
  all.addEventListener("input", () => {
    for (const input of document.querySelectorAll("#level-temperatures input")) input.value = all.value;
  });
  byId("by-level").hidden = false;
}

function buildGolden() {
  if (!model.golden) return;
  const words = { samples: "samples of the model", data: "of the data given at export", checkpoint: "validation images" };
  write("golden-note", words[model.golden_source] ?? "");
  const labels = [];
  for (let index = 0; index < model.golden; index += 1) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "golden", value: String(index) });
    input.setAttribute("aria-label", `Golden image ${index}`);
    input.addEventListener("change", () => open(slotNow(), { kind: "golden", index, label: classWanted() }));
    const image = document.createElement("img");
    Object.assign(image, { loading: "lazy", src: `golden/${index}.png`, alt: "", width: 48, height: 48 });
    label.append(input, image);
    labels.push(label);
  }
  byId("thumbs").replaceChildren(...labels);
  byId("golden").hidden = false;
}

function markGolden() {
  const source = sources[slotNow()];
  for (const input of document.querySelectorAll("input[name=golden]")) {
    input.checked = source?.kind === "golden" && Number(input.value) === source.index;
  }
}

function save(name, href) {
  const link = document.createElement("a");
  link.href = href;
  link.download = name;
  link.click();
}

const stem = (file) => file.replace(/\.[^.]*$/, "");

async function saveLatents() {
  try {
    let answer;
    try {
      answer = await post("api/latents", question());
    } catch (error) {
      if (error.kind !== "forgotten") throw error;
      if (!(await openAgain())) return; // it has said why
      answer = await post("api/latents", question());
    }
    const url = URL.createObjectURL(await answer.blob());
    save("latents.npz", url);
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  } catch (error) {
    complain(error.message);
  }
}

async function copyCommand() {
  const button = byId("copy");
  try {
    await navigator.clipboard.writeText(byId("command").textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(byId("command"));
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

function hold(down) {
  if (held === down || !slots.image) return;
  held = down;
  byId("hold").classList.toggle("down", down);
  schedule();
}

function listen() {
  byId("file").accept = model.upload.formats.map((format) => `image/${format.toLowerCase()}`).join(",");
  byId("file").addEventListener("change", (event) => { openFile(slotNow(), event.target.files[0]); event.target.value = ""; });
  byId("sample").addEventListener("submit", (event) => {
    event.preventDefault();
    open(slotNow(), {
      kind: "sample", seed: Number(byId("seed").value), temperature: sampleTemperature(), label: classWanted(),
    });
  });
  for (const input of document.querySelectorAll("input[name=slot]")) input.addEventListener("change", markGolden);
  for (const input of document.querySelectorAll("input[name=mode]")) input.addEventListener("change", schedule);
  byId("sliders").addEventListener("submit", (event) => event.preventDefault());
  byId("sliders").addEventListener("reset", () => setTimeout(() => {
    if (model.directions) setRanges();
    sliders.forEach(refresh);
    schedule();
  }));
  byId("beyond").addEventListener("change", setRanges);
  byId("other-open").addEventListener("click", () => {
    document.querySelector("input[name=slot][value=other]").checked = true;
    markGolden();
    byId("file").focus();
    byId("open-title").scrollIntoView({ block: "start" });
  });
  const button = byId("hold");
  button.addEventListener("pointerdown", () => hold(true));
  for (const name of ["pointerup", "pointerleave", "blur"]) button.addEventListener(name, () => hold(false));
  button.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") hold(true); });
  button.addEventListener("keyup", () => hold(false));
  byId("save-picture").addEventListener("click", () => save(`${stem(slots.image.file)}-changed.png`, shown.picture));
  byId("save-image").addEventListener("click", () => save(`${stem(slots.image.file)}.png`, slots.image.picture));
  byId("save-latents").addEventListener("click", saveLatents);
  byId("copy").addEventListener("click", copyCommand);

  // What has the focus is never scrolled under the pictures.
  const views = document.querySelector(".views");
  new ResizeObserver(() => byId("change").style.setProperty("--views", `${views.offsetHeight}px`)).observe(views);

  let inside = 0;
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragenter", (event) => { if (files(event)) { inside += 1; document.body.classList.add("dragging"); } });
  document.addEventListener("dragleave", () => { inside = Math.max(0, inside - 1); if (!inside) document.body.classList.remove("dragging"); });
  document.addEventListener("dragover", (event) => { event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    document.body.classList.remove("dragging");
    const file = event.dataTransfer?.files[0];
    if (file) openFile(slotNow(), file); else complain("that was no picture file; save it first and drop the file");
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) { event.preventDefault(); openFile(slotNow(), file); }
  });
}

async function start() {
  for (const id of ["save-picture", "save-latents", "save-image", "copy"]) byId(id).disabled = true;
  window.addEventListener("progress", (event) => { if (!model) write("facts", event.detail); });
  try {
    model = await (await ask("api/model")).json();
  } catch (error) {
    write("facts", "");
    complain(error.message);
    return;
  }
  document.title = `${model.name}: ${document.querySelector(".kicker").textContent}`;
  write("name", model.name);
  const { image, engine, levels } = model;
  const kind = image.channels === 1 ? "grey" : "RGB";
  write("facts", [
    `${image.width}x${image.height} ${kind}`,
    `${image.n_bits} bit`,
    `${plural(levels.length, "level")}`,
    ...(model.classes === null ? [] : [plural(model.classes, "class").replace("classs", "classes")]),
    `${engine.backend} (${engine.provider}, ${engine.device}), ${engine.precision}`,
  ].join(" \u00b7 "));
  if (model.checked) {
    write("checked", model.checked);
    byId("checked").hidden = false;
  }
  write("scale-low", `\u2212${model.latent_scale}`);
  write("scale-high", `${model.latent_scale}; farther out has the colour of the end`);
  buildClasses();
  buildSliders();
  buildGolden();
  buildLevelTemperatures();
  listen();
  const kept = remembered();
  if (kept) await restore(kept); else await openFirst();
}

start();
