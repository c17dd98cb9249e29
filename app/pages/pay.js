// The page of one payment works without this. With it, it follows the payment, copies
// the reference, and writes times as this device does.
(() => {
  'use strict';
  const lang = document.documentElement.lang || 'en';
  const zoned = /\b(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d) UTC\b/g;
  const tag = lang.startsWith('zh') ? 'zh-CN' : 'en-GB';
  const day = new Intl.DateTimeFormat(tag, { day: 'numeric', month: 'short', year: 'numeric' });
  const time = new Intl.DateTimeFormat(tag, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  const zone = new Intl.DateTimeFormat(tag, { timeZoneName: 'short' });
  const write = (at) => `${day.format(at)} ${time.format(at)} ${zone.formatToParts(at).find((p) => p.type === 'timeZoneName').value}`;
  // local writes every time below node in the zone of this device.
  const local = (node) => {
    const walk = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    for (let n = walk.nextNode(); n; n = walk.nextNode()) {
      if (zoned.test(n.data)) {
        zoned.lastIndex = 0;
        n.data = n.data.replace(zoned, (_, y, mo, d, h, m, s) => write(Date.UTC(y, mo - 1, d, h, m, s)));
      }
      zoned.lastIndex = 0;
    }
  };
  local(document.body);

  for (const b of document.querySelectorAll('[data-copy]')) {
    if (!navigator.clipboard) continue;
    b.hidden = false;
    const says = b.textContent;
    b.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(b.dataset.copy);
        b.textContent = b.dataset.done;
        setTimeout(() => { b.textContent = says; }, 2000);
      } catch { /* it can be marked and copied by hand */ }
    });
  }

  const every = Number(document.body.dataset.every) * 1000;
  if (!every) return;
  const page = location.pathname.replace(/\/appeal$/, '') + location.search;
  // busy: somebody writes to us, or has something open there.
  const busy = (el) => el.contains(document.activeElement) && document.activeElement !== document.body || [...el.querySelectorAll('textarea')].some((t) => t.value);
  const shown = new Map();
  for (const el of document.querySelectorAll('[data-live]')) shown.set(el.id, null);
  const take = (next) => {
    for (const el of document.querySelectorAll('[data-live]')) {
      const to = next.getElementById(el.id);
      if (!to || busy(el)) continue;
      local(to);
      const html = to.innerHTML.replace(/name="key" value="[^"]*"/, '');
      if (shown.get(el.id) === html) continue;
      const first = shown.get(el.id) === null && el.innerHTML.replace(/name="key" value="[^"]*"/, '') === html;
      shown.set(el.id, html);
      if (first) continue;
      el.innerHTML = to.innerHTML;
      if ('class' in el.dataset) el.className = to.className;
    }
    if (next.title) document.title = next.title;
    if (next.body && next.body.dataset.every) document.body.dataset.every = next.body.dataset.every;
  };
  let fails = 0;
  const follow = async () => {
    if (!document.hidden) {
      try {
        const res = await fetch(page, { headers: { Accept: 'text/html' }, cache: 'no-store' });
        if (res.status === 404) { location.reload(); return; }
        if (res.ok) { take(new DOMParser().parseFromString(await res.text(), 'text/html')); fails = 0; } else fails++;
      } catch { fails++; }
    }
    setTimeout(follow, Math.min(Number(document.body.dataset.every) * 1000 * 2 ** Math.min(fails, 4), 60000));
  };
  setTimeout(follow, every);
  document.addEventListener('visibilitychange', () => { if (!document.hidden && fails) fails = 0; });
})();
