// Ten thousand payments are on their way: the page must stay as quick as with none.
export const alone = true;

const many = 10_000;
const batch = 1000;

/** What the page's main thread was busy with, task by task, in milliseconds of its own
 * processor time: what others do on the machine does not count. */
function tasks(trace) {
  const events = JSON.parse(trace.toString()).traceEvents;
  const mains = new Set(events.filter((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain').map((e) => `${e.pid}:${e.tid}`));
  return events.filter((e) => e.ph === 'X' && /RunTask$/.test(e.name) && mains.has(`${e.pid}:${e.tid}`)).map((e) => (e.tdur ?? e.dur) / 1000);
}

export const tests = {
  'with 10,000 live payments the main thread stays free': async ({ page, browser, world, api, until, ok, settled }) => {
    const open = async () => Number((await page.request.get(`${world.console}/api/pay/v1/payments?status=processing&limit=1`)).ok());
    await open();
    for (let i = 0; i < many; i += batch) {
      const payments = Array.from({ length: batch }, (_, k) => ({ idempotency_key: `many-${i + k}`, kind: 'payout', from: world.accounts.ann, channel: 'bank-cd', payee: { account: '70044' }, amount: '1', asset: 'CZK' }));
      const answers = await until(`payments ${i} to ${i + batch}`, () => api('POST', '/v1/payments/batch', { payments }), 200_000);
      ok(answers.data.every((a) => a.payment), `all are taken: ${JSON.stringify(answers.data.find((a) => !a.payment))}`);
    }
    for (const path of ['/', '/payments?status=processing', '/doctor']) {
      await page.goto(world.console + path);
      await settled();
      await browser.startTracing(page, { categories: ['toplevel', 'disabled-by-default-devtools.timeline', 'devtools.timeline', '__metadata'] });
      // Six looks of the stream, whatever the machine takes for them.
      await page.evaluate(
        () =>
          new Promise((done) => {
            let n = 0;
            const s = new EventSource('/api/watch/stream');
            s.addEventListener('now', () => ++n > 6 && (s.close(), done()));
          }),
      );
      const all = tasks(await browser.stopTracing());
      const work = all.filter((ms) => ms >= 1).sort((a, b) => a - b);
      ok(all.length > 50, `the trace has tasks of the page: ${all.length}`);
      const p95 = work[Math.floor(work.length * 0.95)] ?? 0;
      console.error(`${path}: ${work.length} tasks of 1 ms or more, p95 ${p95.toFixed(1)} ms, longest ${(work.at(-1) ?? 0).toFixed(1)} ms`);
      ok(p95 <= 50, `${path}: p95 of the main thread's tasks is ${p95.toFixed(1)} ms, 50 at most`);
    }
  },
};
