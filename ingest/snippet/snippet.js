// Afterclick's snippet: tells the collector what a visitor does and fills the shop's suggestion boxes. See docs/snippet.md.
// Served without its comment lines and indentation (ingest/snippet/__init__.py), so comments stand on lines of their own.
(function (window, document) {
  'use strict';
  const stub = window.afterclick || {};
  if (stub.version) return;

  // Every limit, in milliseconds (_MS), events or characters, in one place.
  const IDLE_MS = 18e5, SESSION_MS = 864e5, WAIT_MS = 3000, WAIT_EVENTS = 10, QUEUE_EVENTS = 1000;
  // A UTF-16 character is at most 3 bytes of UTF-8: a post stays under 40 kB, a beacon under 64 kB.
  const POST_CHARS = 13e3, BEACON_CHARS = 2e4;
  const BACKOFF_MS = 3000, BACKOFF_MS_MAX = 18e5, TRIES_MAX = 10, POST_MS = 1e4, ANSWER_MS = 3000, ORPHAN_MS = 6e4;
  const HOPELESS = [400, 401, 403, 410, 413, 422];
  // What a visitor merely sees may wait for company; what they do is sent at once.
  const PATIENT = ['page_view', 'view_item_list', 'view_promotion'];
  // Names in the visitor's browser: one cookie, and storage keys under one prefix.
  const COOKIE = 'afterclick_id', PREFIX = 'afterclick.', ID = PREFIX + 'id', USER = PREFIX + 'user',
    SESSION = PREFIX + 'session', RETRY = PREFIX + 'retry', TAB = PREFIX + 'tab', QUEUE = PREFIX + 'q.';

  const memory = new Map(), reported = new Set(), onTheWay = new Set();
  let filled = new WeakMap(), watched = new WeakMap(), early = [];
  let config, endpoint, level, anonymousId, pageViewId, path, currentItem = '', started;
  let sequence = 1e6, patient = 0, timer, timerAt, scanTimer, busy, again, tab, gone;

  // Nothing we do may reach the shop as an error: every way in goes through this.
  const safely = (act) => function (...args) {
    try {
      const result = act.apply(this, args);
      return result && result.catch ? result.catch(complain) : result;
    } catch (error) { complain(error); }
  };
  const complain = (error) => { if (!config || config.debug) console.warn('afterclick:', error); };
  const later = (act, ms) => setTimeout(safely(act), ms);
  const newId = () => window.crypto && crypto.randomUUID ? crypto.randomUUID()
    : 'x'.repeat(32).replace(/x/g, () => (Math.random() * 16 | 0).toString(16));
  const drop = (count) => { entry.dropped += count; };

  // --- Storage that never throws: the browser's where it lets us, else this page's memory.
  const area = () => level === 'full' ? localStorage : level === 'session' && sessionStorage;
  const attempt = (act) => { try { return act(); } catch {} };
  const read = (key) => memory.get(key) || attempt(() => area().getItem(key));
  const write = (key, text) => { if (!attempt(() => { area().setItem(key, text); return true; })) memory.set(key, text); };
  const erase = (key) => { memory.delete(key); attempt(() => area().removeItem(key)); };
  const queued = () => [...memory.keys(), ...attempt(() => Object.keys(area())) || []].filter((key) => key.startsWith(QUEUE)).sort();

  // --- Who: a first-party cookie, storage where cookies are closed, nothing without consent.
  const cookie = () => (document.cookie.match('(?:^|; )' + COOKIE + '=([\\w-]{8,64})') || [])[1];
  const bake = (value, days) => attempt(() => {
    document.cookie = `${COOKIE}=${value}; Path=/; Max-Age=${days * 86400}; SameSite=Lax` +
      (config.cookieDomain ? '; Domain=' + config.cookieDomain : '') + (location.protocol === 'https:' ? '; Secure' : '');
  });
  function remember() {
    if (level !== 'none') tab = attempt(() => sessionStorage[TAB] = sessionStorage[TAB] || newId()) || newId();
    anonymousId = level === 'full' && attempt(cookie) || read(ID) || anonymousId || newId();
    if (level === 'full') bake(anonymousId, config.cookieDays || 365);
    if (level === 'session' || level === 'full' && attempt(cookie) !== anonymousId) write(ID, anonymousId);
  }
  function forget() {
    for (const name of ['localStorage', level === 'none' && 'sessionStorage']) {
      attempt(() => Object.keys(window[name]).forEach((key) => key.startsWith(PREFIX) && window[name].removeItem(key)));
    }
    memory.clear();
    anonymousId = '';
    bake('', 0);
  }
  function consent(wanted, initial) {
    const before = level, forbidden = config.gpc !== false && navigator.globalPrivacyControl;
    level = !forbidden && (wanted === 'full' || wanted === 'session') ? wanted : 'none';
    // At init "none" may only mean "not asked yet": what an earlier page was allowed to keep stays until a real no.
    if (level !== 'full' && (!initial || forbidden)) forget();
    remember();
    if (started && before === 'none' && level !== 'none') page();
  }
  function sessionId(now) {
    let [id, start, last] = (read(SESSION) || '').split(' ');
    if (!id || now - last > IDLE_MS || now - start > SESSION_MS) [id, start] = [newId(), now];
    write(SESSION, [id, start, now].join(' '));
    return id;
  }
  // Without a user it is a logout: what comes after belongs to nobody until the next.
  function identify(userId) {
    if (level === 'none' || read(USER) == (userId || null)) return;
    erase(USER);
    if (userId) write(USER, userId);
    track('identify');
  }
  function reset() {
    identify();
    erase(SESSION);
    erase(ID);
    anonymousId = '';
    bake('', 0);
    remember();
  }

  // --- The queue: one storage key an event and tab, so that tabs never overwrite each other's.
  function track(name, fields) {
    if (level === 'none') return;
    const now = Date.now();
    const text = JSON.stringify({
      message_id: newId(), event: name, anonymous_id: anonymousId, user_id: read(USER) || undefined, session_id: sessionId(now),
      page_view_id: pageViewId, timestamp: now, consent: level, ...fields,
    });
    if (text.length >= POST_CHARS) return drop(1);
    write(QUEUE + now + '.' + sequence++ + '.' + tab, text);
    const keys = queued(), excess = keys.length - QUEUE_EVENTS;
    if (excess > 0) { keys.slice(0, excess).forEach(erase); drop(excess); }
    flushIn(PATIENT.includes(name) && ++patient < WAIT_EVENTS ? WAIT_MS : 0);
  }
  function flushIn(ms) {
    const at = Date.now() + ms;
    if (timer && timerAt <= at) return;
    clearTimeout(timer);
    timerAt = at;
    timer = later(() => { timer = 0; flush(); }, ms);
  }
  async function flush() {
    if (busy) { again = true; return; }
    busy = true;
    await send().catch(complain);
    busy = false;
    if (again) { again = false; flushIn(0); }
  }
  // Each tab sends its own, and what a closed tab left; were two tabs to send the same, message_id would tell.
  function next(chars) {
    const batch = { keys: [], texts: [] };
    for (const key of queued()) {
      const [, , at, , owner] = key.split('.'), text = (owner === tab || Date.now() - at > ORPHAN_MS) && !onTheWay.has(key) && read(key);
      if (!text) continue;
      chars -= text.length + 1;
      if (chars < 0) break;
      batch.keys.push(key);
      batch.texts.push(text);
    }
    return batch;
  }
  const bodyOf = (batch) => `{"events":[${batch.texts.join()}],"sent_at":${Date.now()}}`;
  // The key in the address and a text/plain body make it a "simple" request: no preflight before a click, and beacons can do it too.
  const address = (what) => endpoint + '/v1/' + what + '?key=' + encodeURIComponent(config.key);
  const retryState = () => (read(RETRY) || '0 0').split(' ').map(Number);
  async function send() {
    for (;;) {
      const batch = next(POST_CHARS), [tries, at] = retryState(), wait = at - Date.now();
      patient = 0;
      if (!batch.keys.length) return;
      if (wait > 0) return flushIn(wait);
      batch.keys.forEach((key) => onTheWay.add(key));
      const reply = await request(address('events'), POST_MS, { method: 'POST', body: bodyOf(batch), keepalive: true }).catch(() => ({}));
      // Leaving breaks off what is on the way; that says nothing of the collector, so the next page need not wait.
      if (gone) return;
      batch.keys.forEach((key) => onTheWay.delete(key));
      const hopeless = HOPELESS.includes(reply.status);
      if (!reply.ok && !hopeless) return retryLater(tries, reply.headers && reply.headers.get('Retry-After'));
      if (hopeless) drop(batch.keys.length);
      batch.keys.forEach(erase);
      erase(RETRY);
    }
  }
  // The wait is shared with every tab and the next page, so that a collector in trouble is left alone.
  function retryLater(tries, after) {
    const wait = Math.min(1000 * after || BACKOFF_MS * 2 ** tries * (0.5 + Math.random() / 2), BACKOFF_MS_MAX);
    write(RETRY, (tries + 1) % TRIES_MAX + ' ' + (Date.now() + wait));
    // After the last try we rest; the events stay, and the next event or page begins anew.
    if (tries + 1 < TRIES_MAX) flushIn(wait);
  }
  function leave() {
    const batch = next(BEACON_CHARS);
    if (!batch.keys.length || retryState()[1] > Date.now()) return;
    // A beacon has no answer: its events stay queued until a 202, and message_id keeps them single.
    if (navigator.sendBeacon(address('events'), bodyOf(batch))) batch.keys.forEach((key) => onTheWay.add(key));
  }
  function comeBack() {
    onTheWay.clear();
    flushIn(0);
  }
  function request(url, ms, options) {
    const limit = new AbortController();
    setTimeout(() => limit.abort(), ms);
    return fetch(url, { signal: limit.signal, ...options });
  }

  // --- Pages and items, also in shops that never reload.
  function page() {
    if (path) pageViewId = newId();
    path = location.pathname + location.search;
    currentItem = '';
    track('page_view');
    scanSoon();
  }
  function moved() {
    if (location.pathname + location.search === path) return;
    // The old page's markup may still stand: only an item other than it is a view.
    const item = currentItem;
    page();
    currentItem = item;
  }
  const scanSoon = () => { scanTimer = scanTimer || later(scan, 20); };
  function scan() {
    scanTimer = 0;
    const marked = document.querySelector('[data-afterclick-item]'), item = marked ? marked.dataset.afterclickItem : '';
    if (item !== currentItem) {
      currentItem = item;
      if (item) trackItem('view_item', marked, item);
    }
    document.querySelectorAll('[data-afterclick-placement]').forEach(safely(tend));
  }
  function trackItem(name, element, id, fields) {
    const { afterclickPrice, afterclickQuantity } = element.dataset;
    track(name, { items: [{ item_id: id, price: +afterclickPrice || undefined, quantity: +afterclickQuantity || 1 }], currency: config.currency, ...fields });
  }

  // --- Suggestions: fetch, draw, report what was seen and clicked.
  async function recommend(options, callback) {
    const wanted = { visitor: anonymousId, item: currentItem, return_properties: true, ...options };
    const query = Object.entries(wanted).map((pair) => pair[1] ? '&' + pair.map(encodeURIComponent).join('=') : '').join('');
    const reply = await request(address('recommendations') + query, ANSWER_MS).catch(() => ({}));
    safely(callback)(reply.ok ? await reply.json().catch(() => null) : null);
  }
  function tend(box) {
    const { afterclickPlacement: placement, afterclickN: n, afterclickCart: cart, afterclickRecommendation: drawn } = box.dataset;
    // A box that came with a recommendation is the shop's own drawing: we only watch it.
    if (drawn && !filled.has(box)) return watch(box, drawn);
    const wish = [pageViewId, placement, currentItem, cart].join(' ');
    if (filled.get(box) === wish) return;
    filled.set(box, wish);
    return recommend({ placement, n: n || 6, cart }, (answer) => { if (filled.get(box) === wish) draw(box, answer || { items: [] }); });
  }
  function draw(box, answer) {
    const list = box.querySelector('[data-afterclick-items]') || box, template = box.querySelector('template');
    box.querySelectorAll('[data-afterclick-product]').forEach((old) => old.remove());
    box.hidden = true;
    for (const item of answer.items) {
      const card = config.render ? config.render(item, answer, box) : fillIn(template.content.firstElementChild.cloneNode(true), item);
      card.dataset.afterclickProduct = item.id;
      list.append(card);
    }
    if (!answer.items.length) return;
    box.hidden = false;
    box.dataset.afterclickRecommendation = answer.recommendation_id;
    watch(box, answer.recommendation_id);
    box.dispatchEvent(new CustomEvent('afterclick:shown', { bubbles: true, detail: answer }));
  }
  function fillIn(card, item) {
    const facts = { title: item.id, ...item.properties };
    for (const place of [card, ...card.querySelectorAll('[data-afterclick-field]')]) {
      const field = place.dataset.afterclickField, fact = facts[field], target = { url: 'href', image: 'src' }[field];
      if (fact == null) continue;
      // Never an address that runs code.
      if (target) { if (/^https?:/.test(new URL(fact, document.baseURI))) place[target] = fact; }
      else place.textContent = field === 'price' && facts.currency ? fact.toLocaleString(undefined, { style: 'currency', currency: facts.currency }) : fact;
    }
    return card;
  }
  const eyes = new IntersectionObserver(safely((sights) => sights.forEach(({ target, isIntersecting, intersectionRatio, intersectionRect }) => {
    // Half of the box, or half a screen of it: a box taller than two screens is seen too.
    if (isIntersecting && (intersectionRatio >= 0.5 || intersectionRect.height >= innerHeight / 2)) seen(target);
  })), { threshold: [0.1, 0.2, 0.3, 0.4, 0.5] });
  function watch(box, id) {
    if (watched.get(box) === id) return;
    watched.set(box, id);
    eyes.unobserve(box);
    eyes.observe(box);
  }
  const cardsOf = (box) => [...box.querySelectorAll('[data-afterclick-product]')].map((card, index) => ({ item_id: card.dataset.afterclickProduct, index }));
  const sourceOf = (box) => box && { recommendation_id: box.dataset.afterclickRecommendation, placement: box.dataset.afterclickPlacement };
  function seen(box) {
    const source = sourceOf(box), items = cardsOf(box).slice(0, 200);
    if (!items.length) return;
    eyes.unobserve(box);
    if (reported.has(source.recommendation_id)) return;
    if (reported.size >= QUEUE_EVENTS) reported.clear();
    reported.add(source.recommendation_id);
    track('view_item_list', { ...source, items });
  }
  function clicked({ target, button }) {
    if (button > 1) return;
    const add = target.closest('[data-afterclick-add]'), card = target.closest('[data-afterclick-product]');
    const box = card && card.closest('[data-afterclick-recommendation]');
    if (add) return trackItem('add_to_cart', add, add.dataset.afterclickAdd, sourceOf(box));
    if (box) track('select_item', { ...sourceOf(box), items: cardsOf(box).filter((item) => item.item_id === card.dataset.afterclickProduct) });
  }

  // --- The way in.
  function init(options) {
    if (config) return;
    if (!options.key || !options.endpoint) throw 'wanted init with {key, endpoint}';
    config = options;
    endpoint = config.endpoint.replace(/\/$/, '');
    consent(config.consent || 'full', true);
    pageViewId = newId();
    // A page drawn ahead of time is not seen until it is shown. Calls already waiting come first: one may be `identify`.
    const shown = document.prerendering ? 'prerenderingchange' : document.readyState === 'loading' && 'DOMContentLoaded';
    if (shown) document.addEventListener(shown, safely(start), { once: true });
    else later(start, 0);
    early.forEach((args) => entry(...args));
  }
  function start() {
    started = true;
    const on = (target, names, act) => names.forEach((name) => target.addEventListener(name, safely(act), true));
    on(document, ['click', 'auxclick'], clicked);
    on(document, ['visibilitychange'], () => document.visibilityState === 'hidden' ? leave() : comeBack());
    on(window, ['pagehide'], () => { gone = true; leave(); });
    // Back and forward may restore a page as it stood: the visit counts again, and its suggestions are out of date.
    on(window, ['pageshow'], (event) => { if (event.persisted) { gone = false; comeBack(); page(); } });
    on(window, ['online'], () => { erase(RETRY); flushIn(0); });
    on(window, ['popstate'], moved);
    ['pushState', 'replaceState'].forEach((name) => {
      const original = history[name];
      history[name] = (...args) => {
        original.apply(history, args);
        safely(moved)();
      };
    });
    const attributeFilter = ['item', 'placement', 'cart', 'recommendation'].map((name) => 'data-afterclick-' + name);
    new MutationObserver(safely(scanSoon)).observe(document, { childList: true, subtree: true, attributeFilter });
    page();
    scan();
  }
  function refresh() {
    filled = new WeakMap();
    scan();
  }
  const commands = { init, track, consent, identify, reset, recommend, refresh };
  const entry = safely((name, ...args) => {
    if (config || name === 'init') return commands[name](...args);
    if (early.length < QUEUE_EVENTS) early.push([name, ...args]);
  });
  entry.version = 1;
  entry.dropped = 0;
  window.afterclick = entry;
  for (const args of stub.q || []) entry(...args);
})(window, document);
