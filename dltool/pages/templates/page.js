"use strict";
// What moves on a page of dltool. Without it the page shows what it shows first; names are only ever set as text.

const byId = (id) => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const data = JSON.parse(byId("data").textContent);
const files = data.files || [];
const selected = new Set();
const on = (target, event, act) => target && target.addEventListener(event, act);

// Tiles: an image with its name, as the templates draw them.
function tile(item) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "tile", title: `${files[item]}, ${data.notes[item]}` });
  button.dataset.item = item;
  button.setAttribute("aria-pressed", selected.has(item));
  const source = data.images && data.images[item];
  const image = button.appendChild(document.createElement(source ? "img" : "span"));
  if (source) Object.assign(image, { loading: "lazy", decoding: "async", alt: files[item], src: source });
  else Object.assign(image, { className: "gone", textContent: "no image" });
  for (const [name, text] of [["name", files[item].split("/").pop()], ["note", data.kind === "cluster" ? "" : data.notes[item]]]) {
    if (text) Object.assign(button.appendChild(document.createElement("span")), { className: name, textContent: text });
  }
  return button;
}
// Long lists are cut into chunks of whole rows, which have their tiles only while they are near what is seen.
const chunks = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting, boundingClientRect } of seen) {
    target.style.height = isIntersecting ? "" : `${boundingClientRect.height}px`;
    for (const image of all("img", target)) image.removeAttribute("src"); // or they stay in memory for a while
    target.replaceChildren(...(isIntersecting ? target.items.map(tile) : []));
  }
}, { rootMargin: "40% 0px" });
function fill(place, items) {
  const columns = getComputedStyle(place).gridTemplateColumns.split(" ").length;
  const size = columns * Math.ceil(60 / columns);
  if (items.length <= 2 * size) { place.replaceChildren(...items.map(tile)); return; }
  const height = 8 + (place.firstElementChild ? place.firstElementChild.offsetHeight : 150);
  place.replaceChildren();
  for (let start = 0; start < items.length; start += size) {
    const chunk = Object.assign(document.createElement("div"), { className: "tiles chunk", items: items.slice(start, start + size) });
    chunk.style.height = `${Math.ceil(chunk.items.length / columns) * height}px`;
    chunks.observe(place.appendChild(chunk));
  }
}

// Selecting, and lists of files to copy.
const toggle = (item) => { selected.has(item) ? selected.delete(item) : selected.add(item); showSelection(); };
function showSelection() {
  for (const button of all("[data-item]")) button.setAttribute("aria-pressed", selected.has(Number(button.dataset.item)));
  byId("tray").hidden = selected.size === 0;
  byId("selected").textContent = `${selected.size} selected`;
  drawMap();
}
async function offer(items) {
  const list = byId("list");
  const area = list.querySelector("textarea");
  area.value = items.map((item) => files[item]).join("\n");
  list.showModal();
  area.select();
  let copied = false;
  try { await navigator.clipboard.writeText(area.value); copied = true; } catch { copied = document.execCommand("copy"); }
  byId("list-title").textContent = `${items.length} files${copied ? ", copied" : ": copy them from here"}`;
}
on(byId("clear"), "click", () => { selected.clear(); showSelection(); });
on(document, "click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.item) toggle(Number(button.dataset.item));
  if (button.dataset.cell) openCell(button);
  const group = button.closest("[data-group]");
  if (button.dataset.copy === "selected") offer([...selected]);
  if (button.dataset.copy === "spare") offer(files.map((_, item) => item).filter((item) => data.spare[item]));
  if (button.dataset.copy === "filtered") offer(files.map((_, item) => item).filter(passes));
  if (button.dataset.copy === "group") offer(itemsOf(group));
  if ("more" in button.dataset) { fill(group.querySelector(".tiles"), itemsOf(group)); button.hidden = true; }
});

// Groups, and the filter on them and on the map.
const [groupFilter, nameFilter] = [byId("filter-group"), byId("filter-name")];
const firstTiles = new Map(all("[data-group] .tiles").map((tiles) => [tiles, [...tiles.children]]));
const named = (item) => files[item].toLowerCase().includes(nameFilter.value.toLowerCase());
const passes = (item) => (!groupFilter.value || data.groups[item] === Number(groupFilter.value)) && named(item);
const itemsOf = (group) => files.map((_, item) => item).filter((item) => data.groups[item] === Number(group.dataset.group) && passes(item));
function applyFilter() {
  let count = 0;
  for (const group of all("[data-group]")) {
    const items = itemsOf(group);
    const tiles = group.querySelector(".tiles");
    const more = group.querySelector("[data-more]");
    group.hidden = items.length === 0;
    if (nameFilter.value) fill(tiles, items.slice(0, 300));
    else tiles.replaceChildren(...firstTiles.get(tiles));
    if (more) more.hidden = Boolean(nameFilter.value);
    count += items.length;
  }
  byId("filter-count").textContent = `${count} shown`;
  showSelection();
}
on(groupFilter, "change", applyFilter);
on(nameFilter, "input", applyFilter);
on(byId("filter"), "submit", (event) => event.preventDefault());

// The map: every item a point at its place.
const map = byId("map");
const onMap = map ? files.map((_, item) => item).filter((item) => data.places[item]) : [];
let current = -1;
function spot(item) {
  const margin = 12;
  return [margin + data.places[item][0] * (map.clientWidth - 2 * margin), margin + (1 - data.places[item][1]) * (map.clientHeight - 2 * margin)];
}
function drawMap() {
  if (!map) return;
  const scale = window.devicePixelRatio || 1;
  Object.assign(map, { width: map.clientWidth * scale, height: map.clientHeight * scale });
  const pen = map.getContext("2d");
  pen.scale(scale, scale);
  const radius = Math.max(2.5, Math.min(7, 160 / Math.sqrt(onMap.length)));
  pen.strokeStyle = getComputedStyle(map).color;
  for (const item of onMap) {
    const [x, y] = spot(item);
    pen.globalAlpha = passes(item) ? 0.85 : 0.08;
    pen.fillStyle = data.colors[data.groups[item]];
    pen.beginPath();
    pen.arc(x, y, item === current ? radius + 4 : radius, 0, 7);
    pen.fill();
    if (item === current || selected.has(item)) pen.stroke();
  }
}
function show(item) {
  current = item;
  const image = byId("detail").querySelector("img");
  const source = data.images && data.images[item];
  if (image) Object.assign(image, { hidden: !source, src: source || "data:,", alt: files[item] });
  byId("detail").querySelector("figcaption").textContent = `${files[item]}: group ${data.groups[item]}, ${data.notes[item]}`;
  drawMap();
}
function nearest(event) {
  let [best, least] = [-1, 15 ** 2];
  for (const item of onMap.filter(passes)) {
    const [x, y] = spot(item);
    const distance = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
    if (distance < least) [best, least] = [item, distance];
  }
  return best;
}
on(map, "pointermove", (event) => { const item = nearest(event); if (item >= 0 && item !== current) show(item); });
on(map, "click", (event) => { const item = nearest(event); if (item >= 0) { show(item); toggle(item); } });
on(map, "keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const shown = onMap.filter(passes);
  if (step && shown.length) show(shown.at((shown.indexOf(current) + step) % shown.length));
  else if (event.key === "Enter" && current >= 0) toggle(current);
  else return;
  event.preventDefault();
});
if (map) new ResizeObserver(drawMap).observe(map);

// A classifier's answers: the images of a cell, and tables by column.
function openCell(button) {
  const [truth, answer] = button.dataset.cell.split(" ").map(Number);
  const items = files.map((_, item) => item).filter((item) => data.truth[item] === truth && data.answer[item] === answer);
  const title = byId("cell-title");
  title.textContent = `${data.classes[truth]}, answered ${data.classes[answer]}: ${items.length} of ${button.textContent.trim()} images`;
  fill(byId("cell"), items);
  title.focus();
}
for (const button of all("th button")) on(button, "click", () => {
  const head = button.closest("th");
  const down = head.getAttribute("aria-sort") !== "descending";
  for (const other of all("th", head.parentElement)) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => { const cell = row.cells[head.cellIndex]; return cell.dataset.value ? Number(cell.dataset.value) : cell.textContent.trim(); };
  const body = head.closest("table").tBodies[0];
  const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
  body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * order(value(a), value(b))));
});

// Epochs under a slider, with a mark in every chart.
function slide() {
  const entry = data.slides[byId("slide").value];
  Object.assign(byId("slide-image"), { src: entry.image, alt: entry.text });
  byId("slide-text").textContent = entry.text;
  for (const chart of all("svg[data-first]")) {
    const [first, last] = [Number(chart.dataset.first), Number(chart.dataset.last)];
    const x = 58 + (410 * (entry.epoch - first)) / (last - first);
    for (const mark of all(".mark", chart)) for (const [name, value] of [["x1", x], ["x2", x], ["visibility", "visible"]]) mark.setAttribute(name, value);
  }
}
on(byId("slide"), "input", slide);
if (byId("slide")) slide();

// Two images with a divider, and choices of which is shown.
for (const range of all(".divide")) on(range, "input", () => range.parentElement.style.setProperty("--at", `${range.value}%`));
for (const select of all("[data-side]")) on(select, "change", () => {
  const image = select.closest("figure").querySelector(`.${select.dataset.side}`);
  Object.assign(image, { src: select.value, alt: select.selectedOptions[0].textContent });
});
const choose = (radio) => all(`[name="${radio.name}"]`).forEach((other) => { byId(other.value).hidden = !other.checked; });
for (const radio of all("input[type=radio]")) { on(radio, "change", () => choose(radio)); if (radio.checked) choose(radio); }
