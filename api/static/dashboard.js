// Asks for the numbers once a second and draws them. Text from the shop only ever becomes text, never markup.

const POLL_MS = 1000;
const HISTORY_MAX = 120;
const SVG = "http://www.w3.org/2000/svg";

// Drawn from the bottom up; what is in none of them is "Other".
const BANDS = [
  { label: "Products viewed", events: ["view_item"] },
  { label: "Suggestions seen", events: ["view_item_list"] },
  { label: "Suggestions clicked", events: ["select_item"] },
  { label: "Put into a cart", events: ["add_to_cart"] },
  { label: "Purchases", events: ["purchase"] },
];
const RUNGS = { blend: "for this visitor", neighbours: "fitting the page's product", trending: "trending now", popular: "popular", none: "nothing to show" };

const history = [];
let lastAt = 0;

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const count = (n) => (n >= 100000 ? compact : whole).format(n);
const rate = (n) => (n === 0 ? "0" : n < 10 ? n.toFixed(1) : count(Math.round(n)));
const percent = (share) => (share * 100).toFixed(share < 0.1 ? 1 : 0) + " %";
const ms = (value) => (value == null ? "–" : value < 10 ? value.toFixed(1) : count(Math.round(value)));

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function price(properties) {
  if (properties.price == null) return "";
  try {
    return new Intl.NumberFormat("en", properties.currency ? { style: "currency", currency: properties.currency } : {}).format(properties.price);
  } catch {
    return String(properties.price);
  }
}

// Only addresses of the web: a catalogue is the shop's word, but `javascript:` is nobody's.
function webAddress(text) {
  try {
    const address = new URL(text, location.href);
    return ["http:", "https:"].includes(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

function picture(product, title) {
  const source = product.image && webAddress(product.image);
  const letter = element("span", { class: "picture", "aria-hidden": "true" }, title.slice(0, 1).toUpperCase());
  if (!source) return letter;
  const image = element("img", { class: "picture", src: source, alt: "", loading: "lazy", referrerpolicy: "no-referrer" });
  image.addEventListener("error", () => image.replaceWith(letter));
  return image;
}

function productCell(item) {
  const facts = item.properties ?? {};
  const title = facts.title || item.item_id;
  const address = facts.url && webAddress(facts.url);
  const name = address ? element("a", { href: address, target: "_blank", rel: "noreferrer" }, title) : element("strong", {}, title);
  name.title = title;
  const details = [price(facts), facts.category].filter(Boolean).join(" · ") || (facts.title ? item.item_id : "not in the catalogue");
  return element("td", {}, element("div", { class: "product" }, picture(facts, title), element("div", {}, name, element("small", {}, details))));
}

const numberCell = (text, kind = "") => element("td", { class: `number ${kind}` }, text);

// A table is drawn again only when it changed: else a reader's selection, focus and images would flicker each second.
const drawn = new Map();
function fill(id, rows, row, empty) {
  const now = JSON.stringify(rows);
  if (drawn.get(id) === now) return;
  drawn.set(id, now);
  const none = element("tr", { class: "empty" }, element("td", { colspan: "4" }, empty));
  $(id).replaceChildren(...(rows.length ? rows.map((r) => element("tr", {}, ...row(r))) : [none]));
}

function bandsOf(kinds) {
  const perSecond = new Map(kinds.map((kind) => [kind.event, kind.per_second]));
  const total = kinds.reduce((sum, kind) => sum + kind.per_second, 0);
  const values = BANDS.map((band) => band.events.reduce((sum, name) => sum + (perSecond.get(name) ?? 0), 0));
  return [...values, Math.max(0, total - values.reduce((a, b) => a + b, 0))];
}

const NICE = [1, 2, 5, 10];
function niceTop(value) {
  const scale = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return NICE.find((step) => step * scale >= value) * scale;
}

function drawChart() {
  const chart = $("chart");
  const top = niceTop(Math.max(...history.map((bands) => bands.reduce((a, b) => a + b, 0))));
  $("chart-top").textContent = rate(top);
  $("chart-half").textContent = rate(top / 2);
  const x = (i) => 600 - (history.length - 1 - i) * (600 / (HISTORY_MAX - 1));
  const y = (value) => 150 - (value / top) * 150;
  const shapes = [0.5, 1].map((share) => {
    const line = document.createElementNS(SVG, "line");
    for (const [key, value] of Object.entries({ x1: 0, x2: 600, y1: y(top * share), y2: y(top * share) })) line.setAttribute(key, value);
    return line;
  });
  const below = history.map(() => 0);
  for (let band = 0; band <= BANDS.length; band++) {
    const floor = history.map((_, i) => `${x(i)},${y(below[i])}`).reverse();
    history.forEach((bands, i) => { below[i] += bands[band]; });
    const roof = history.map((_, i) => `${x(i)},${y(below[i])}`);
    const area = document.createElementNS(SVG, "polygon");
    area.setAttribute("points", [...roof, ...floor].join(" "));
    area.setAttribute("fill", `var(--k${band})`);
    shapes.push(area);
  }
  chart.replaceChildren(...shapes);
  const now = history.at(-1);
  const said = [...BANDS.map((band) => band.label), "Other"].map((label, i) => `${label} ${rate(now[i])}`).join(", ");
  chart.setAttribute("aria-label", `Events a second, at most ${rate(top)}; now: ${said}`);
}

function drawLegend(bands) {
  const rows = [...BANDS.map((band) => band.label), "Other"].map((label, i) =>
    element("li", {}, element("i"), element("span", {}, label), element("b", {}, rate(bands[i]))));
  rows.forEach((row, i) => { row.firstChild.style.background = `var(--k${i})`; });
  $("legend").replaceChildren(...rows.reverse());
}

function drawTiles(numbers) {
  const hour = new Map(numbers.kinds.map((kind) => [kind.event, kind.count_1h]));
  const views = hour.get("view_item") ?? 0;
  const adds = hour.get("add_to_cart") ?? 0;
  const sold = hour.get("purchase") ?? 0;
  $("tile-rate").textContent = rate(numbers.kinds.reduce((sum, kind) => sum + kind.per_second, 0));
  $("tile-views").textContent = count(views);
  $("tile-adds").textContent = count(adds);
  $("tile-adds-share").textContent = views ? `${percent(adds / views)} of views` : "last hour";
  $("tile-purchases").textContent = count(sold);
  $("tile-purchases-share").textContent = adds ? `${percent(sold / adds)} of carts` : "last hour";
  const shown = numbers.placements.reduce((sum, p) => sum + p.shown_1h, 0);
  const clicked = numbers.placements.reduce((sum, p) => sum + p.clicked_1h, 0);
  $("tile-ctr").textContent = shown ? percent(clicked / shown) : "–";
  $("tile-ctr-of").textContent = shown ? `of ${count(shown)} shown` : "none shown yet";
}

function ctrCell(placement, best) {
  if (placement.ctr == null) return numberCell("–");
  const fillBar = element("i");
  fillBar.style.width = `${best ? (placement.ctr / best) * 100 : 0}%`;
  return element("td", { class: "number" }, element("span", { class: "bar", "aria-hidden": "true" }, fillBar), percent(placement.ctr));
}

function drawSpeed(numbers) {
  const { answers, freshness } = numbers;
  const rows = [
    { title: "Suggestions answered", note: `${rate(answers.per_second)} a second, last ${Math.round(answers.window_s)} s`, of: answers },
    { title: "A click in the visitor's profile", note: `${count(freshness.events)} clicks, last 5 min`, of: freshness },
  ];
  fill("speed", rows, (row) => [
    element("td", {}, element("strong", {}, row.title), element("br"), element("small", { class: "quiet" }, row.note)),
    numberCell(ms(row.of.p50_ms)), numberCell(ms(row.of.p95_ms)), numberCell(ms(row.of.p99_ms)),
  ], "");
  const total = Object.values(numbers.served_by).reduce((a, b) => a + b, 0);
  if (!total) {
    $("rungs").replaceChildren(element("p", { class: "quiet" }, "Nobody asked for suggestions in the last minute."));
    return;
  }
  const share = element("div", { class: "share", "aria-hidden": "true" });
  const list = element("ul", { class: "legend" });
  Object.entries(numbers.served_by).forEach(([rung, answered], i) => {
    const part = element("i");
    part.style.cssText = `width:${(answered / total) * 100}%;background:var(--k${i})`;
    share.append(part);
    const key = element("i");
    key.style.background = `var(--k${i})`;
    list.append(element("li", {}, key, element("span", {}, RUNGS[rung] ?? rung), element("b", {}, percent(answered / total))));
  });
  $("rungs").replaceChildren(share, list);
}

function draw(numbers) {
  const happened = numbers.kinds.some((kind) => kind.count_1h > 0) || numbers.answers.answers > 0;
  $("page").hidden = !happened;
  $("welcome").hidden = happened;
  if (!happened) {
    $("known-products").textContent = numbers.products_known ? `${count(numbers.products_known)} are known already.` : "";
    return;
  }
  const bands = bandsOf(numbers.kinds);
  history.push(bands);
  if (history.length > HISTORY_MAX) history.shift();
  drawTiles(numbers);
  drawChart();
  drawLegend(bands);
  fill("top", numbers.top, (item) =>
    [productCell(item), numberCell(count(item.views_1h)), numberCell(count(item.adds_1h)), numberCell(count(item.purchases_1h))],
    "No product was viewed in the last hour.");
  fill("rising", numbers.rising, (item) =>
    [productCell(item), numberCell(`+${count(item.change)}`, "up"), numberCell(count(item.views_1h)), numberCell(count(item.purchases_1h))],
    "No product is viewed more than in the hour before.");
  const first = numbers.top.length > 0 && numbers.top.every((item) => item.change === item.views_1h);
  $("rising-note").textContent = first ? "this is the first hour; nothing to compare it with yet" : "against the hour before";
  const best = Math.max(0, ...numbers.placements.map((p) => p.ctr ?? 0));
  $("placements-empty").hidden = numbers.placements.length > 0;
  fill("placements", numbers.placements, (p) =>
    [element("td", {}, element("strong", {}, p.placement)), numberCell(count(p.shown_1h)), numberCell(count(p.clicked_1h)), ctrCell(p, best)], "None yet.");
  drawSpeed(numbers);
}

function say(kind, text) {
  $("status").className = `status ${kind}`;
  // A screen reader is told of changes only, not of every second.
  if ($("status-text").textContent !== text) $("status-text").textContent = text;
}

async function poll() {
  try {
    const response = await fetch("/dashboard/data", { credentials: "same-origin", cache: "no-store" });
    if (response.status === 401) return location.reload();
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.next_step);
    lastAt = answer.at_ms;
    draw(answer);
    say("live", "Live");
  } catch (error) {
    const ago = lastAt ? `; last numbers ${Math.round((Date.now() - lastAt) / 1000)} s old` : "";
    say("lost", `No numbers now (${error.message})${ago}`);
  }
  setTimeout(poll, POLL_MS);
}

for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
poll();
