// Live updates and keys. Without this script every page still shows everything.
//
// - The inventory tells over server-sent events what changed; the page that is open is fetched again
//   and only what differs is put in: focus, scroll position, open details and fields stay.
// - What the page looks at is told by attributes of its body; nothing is guessed from its address.
'use strict';
(() => {
  const body = document.body;
  const live = document.getElementById('live');
  const say = document.getElementById('say');
  const help = document.getElementById('help');
  const looksAt = body.dataset.live;
  const of = (name) => decodeURIComponent(body.dataset[name] || '');

  // Times: ages are told anew from the server's clock, so that a wrong clock here does not matter.
  let ahead = 0;
  const span = (s) => {
    const two = (a, n, b, m) => (b ? `${a} ${n} ${b} ${m}` : `${a} ${n}`);
    const f = Math.floor;
    if (s < 60) return `${f(s)} s`;
    if (s < 3600) return `${f(s / 60)} min`;
    if (s < 86400) return two(f(s / 3600), 'h', f((s % 3600) / 60), 'min');
    if (s < 8640000) return two(f(s / 86400), 'd', f((s % 86400) / 3600), 'h');
    return `${f(s / 86400)} d`;
  };
  const age = (s) => (Math.abs(s) < 1 ? 'just now' : s < 0 ? `in ${span(-s)}` : `${span(s)} ago`);
  const tick = () => {
    const now = Date.now() + ahead;
    for (const time of document.querySelectorAll('main time')) {
      const told = time.querySelector('.age');
      const text = age((now - Date.parse(time.dateTime)) / 1000);
      if (told && told.textContent !== text) told.textContent = text;
    }
  };
  const setClock = (text) => { const at = Date.parse(text); if (at) ahead = at - Date.now(); };
  setClock(body.dataset.now);
  setInterval(tick, 5000);

  // Putting in what differs.
  const key = (node) => node.id
    || (node.nodeName === 'TR' && node.querySelector('a') && node.querySelector('a').getAttribute('href'))
    || '';
  const same = (a, b) => a.nodeName === b.nodeName && (a.nodeType !== 1 || key(a) === key(b));
  const attributes = (have, want) => {
    for (const { name } of [...have.attributes]) {
      if (!want.hasAttribute(name) && !(name === 'open' && have.nodeName === 'DETAILS') && name !== 'class') have.removeAttribute(name);
    }
    for (const { name, value } of want.attributes) {
      if (name === 'open' && have.nodeName === 'DETAILS') continue;
      if (have.getAttribute(name) !== value) have.setAttribute(name, value);
    }
    if (have.hasAttribute('class') && !want.hasAttribute('class')) have.removeAttribute('class');
  };
  const put = (have, want) => {
    if (have.nodeType !== 1) {
      if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
      return;
    }
    if (have.isEqualNode(want)) return;
    attributes(have, want);
    if (have.nodeName === 'INPUT' || have.nodeName === 'SELECT') return;
    const keyed = new Map();
    for (const child of have.children) if (key(child)) keyed.set(key(child), child);
    let at = have.firstChild;
    for (const child of [...want.childNodes]) {
      const known = child.nodeType === 1 && key(child) ? keyed.get(key(child)) : null;
      if (known && known.nodeName === child.nodeName) {
        if (known !== at) have.insertBefore(known, at); else at = at.nextSibling;
        put(known, child);
      } else if (at && same(at, child)) {
        const next = at.nextSibling;
        put(at, child);
        at = next;
      } else {
        const added = document.importNode(child, true);
        if (added.nodeName === 'TR') added.classList.add('fresh');
        have.insertBefore(added, at);
      }
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  };

  // Fetching the page again: at once after a quiet time, else at most once in `least`.
  const least = looksAt === 'fleet' ? 1000 : looksAt === 'any' ? 5000 : 500;
  let fetching = false, again = false, failed = false, timer = 0, last = 0, good = Date.now();
  const spoken = () => [...document.querySelectorAll('main [data-say]')].map((e) => e.textContent.trim()).join('. ');
  const refresh = async () => {
    if (fetching) { again = true; return; }
    fetching = true; again = false; last = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: 'text/html', 'X-Cupel-Refresh': '1' }, cache: 'no-store' });
      if (answer.status === 401 || answer.status === 403 || (answer.redirected && new URL(answer.url).pathname === '/login')) {
        location.assign('/login?next=' + encodeURIComponent(location.pathname + location.search));
        return;
      }
      if (!answer.ok && answer.status !== 404) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const main = page.querySelector('main');
      if (!main) throw new Error('no main');
      const before = spoken();
      const here = document.querySelector('main');
      const inside = here.contains(document.activeElement);
      put(here, main);
      // What had the focus may be gone: then its place is the page, not nowhere.
      if (inside && !here.contains(document.activeElement)) here.focus({ preventScroll: true });
      document.title = page.title;
      setClock(page.body.dataset.now);
      tick();
      good = Date.now(); failed = false;
      if (source && source.readyState === EventSource.OPEN) show('live');
      const after = spoken();
      if (after !== before) say.textContent = after;
    } catch (error) {
      failed = true;
      show('stale');
      setTimeout(want, 5000);
    } finally {
      fetching = false;
      if (again) want();
    }
  };
  const want = () => {
    if (document.hidden) { again = true; return; }
    if (timer) return;
    timer = setTimeout(() => { timer = 0; refresh(); }, Math.max(60, last + least - Date.now()));
  };

  // How fresh the page is, in a symbol and words.
  const show = (state) => {
    if (!live) return;
    const since = new Date(good + ahead).toISOString().slice(11, 19);
    const [symbol, words] = { live: ['●', 'live'], reconnecting: ['○', 'reconnecting'], stale: ['▲', `stale since ${since} UTC`] }[state];
    live.hidden = false;
    live.dataset.state = state;
    live.children[0].textContent = symbol;
    live.children[1].textContent = words;
  };

  // Events.
  const concerns = (change) => {
    const report = change.what === 'report';
    if (looksAt === 'node') return !change.node || change.node === of('node');
    if (looksAt === 'rack') {
      return !report && ['region', 'site', 'row', 'rack'].every((part) => !change[part] || change[part] === of(part));
    }
    return !report;
  };
  // The stream is there and nothing that concerns the page is missing: what is shown is what is.
  const alive = () => { if (!failed) { good = Date.now(); show('live'); } };
  let source = null, heard = 0, pings = false, wait = 1000;
  const close = () => { if (source) source.close(); source = null; };
  const open = () => {
    close();
    const node = looksAt === 'node' ? '?node=' + encodeURIComponent(of('node')) : '';
    source = new EventSource('/v1/events' + node);
    const first = heard === 0;
    source.onopen = () => {
      heard = Date.now(); wait = 1000;
      alive();
      if (!first) want();
    };
    source.onerror = () => {
      const closed = !source || source.readyState === EventSource.CLOSED;
      show(Date.now() - good > 15000 && heard && Date.now() - heard > 15000 ? 'stale' : 'reconnecting');
      heard = heard || 1;
      if (closed && !document.hidden) {
        // An answer other than 200 ends the source for good: asking for the page tells why.
        close();
        setTimeout(() => { if (!document.hidden && !source) { open(); want(); } }, wait);
        wait = Math.min(wait * 2, 30000);
      }
    };
    const take = (event) => {
      heard = Date.now();
      let change = {};
      try { change = JSON.parse(event.data) || {}; } catch (error) { change = {}; }
      alive();
      if (concerns(change)) want();
    };
    // `reset`: what was missed is no longer kept, so that everything is read again.
    for (const kind of ['node', 'finding', 'reset']) source.addEventListener(kind, take);
    source.addEventListener('ping', () => { heard = Date.now(); pings = true; alive(); });
  };
  if (live && looksAt !== 'never') {
    show('reconnecting');
    open();
    setInterval(() => {
      if (document.hidden || !source) return;
      if (pings && Date.now() - heard > 40000) { show('stale'); pings = false; open(); }
    }, 5000);
    // A hidden page holds no connection: browsers allow few to one server.
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) close(); else { open(); want(); }
    });
    addEventListener('pagehide', close);
    addEventListener('pageshow', (event) => { if (event.persisted) { open(); want(); } });
  }

  // Keys.
  const rows = () => [...document.querySelectorAll('main tbody tr')].map((row) => row.querySelector('a')).filter((a) => a && a.offsetParent);
  const step = (by) => {
    const all = rows();
    if (!all.length) return;
    const row = document.activeElement && document.activeElement.closest('tr');
    const now = all.findIndex((a) => a === document.activeElement || (row && a.closest('tr') === row));
    all[now < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, now + by))].focus();
  };
  const keys = document.getElementById('keys');
  if (keys) { keys.hidden = false; keys.addEventListener('click', () => help.showModal()); }
  let g = 0;
  document.addEventListener('keydown', (event) => {
    const field = event.target.closest('input, select, textarea');
    if (event.key === 'Escape' && field) { field.blur(); return; }
    if (field || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const find = document.getElementById('q');
    if (event.key === '/' && find) { find.focus(); find.select(); }
    else if (event.key === 'j') step(1);
    else if (event.key === 'k') step(-1);
    else if (event.key === '?') help.showModal();
    else if (event.key === 'f' && Date.now() - g < 1500) location.assign('/');
    else if (event.key === 'g') { g = Date.now(); return; }
    else return;
    event.preventDefault();
  });
  // A choice is a filter at once.
  document.addEventListener('change', (event) => {
    if (event.target.matches('.filters select')) event.target.form.requestSubmit();
  });
})();
