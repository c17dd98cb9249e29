// The page that anybody may see, without a session and without JavaScript.
export const tests = {
  'the status page needs neither sign-in nor script': async ({ browser, world, ok, eq }) => {
    for (const [lang, words] of [['en', 'Service status'], ['zh', '服务状态']])
      for (const colorScheme of ['light', 'dark'])
        for (const viewport of [{ width: 1280, height: 900 }, { width: 390, height: 844 }]) {
          const context = await browser.newContext({ javaScriptEnabled: false, colorScheme, viewport });
          try {
            const page = await context.newPage();
            const answer = await page.goto(`${world.console}/public/status?lang=${lang}`);
            eq(answer.status(), 200, 'the status page');
            eq((await context.cookies()).length, 0, 'cookies of the status page');
            const text = await page.locator('body').innerText();
            ok(text.includes(words), `it is in ${lang}`);
            ok(!/bank-|postgres|decider|inc-\d|shard/i.test(text), 'nothing of the inside is on it');
            await page.screenshot({ path: `${world.out}/public-${lang}-${colorScheme}-${viewport.width}.png`, fullPage: true });
            if (world.update && lang === 'en' && colorScheme === 'light' && viewport.width === 1280) await page.screenshot({ path: `${world.update}/public.png` });
          } finally {
            await context.close();
          }
        }
  },

  'axe finds nothing serious on it': async ({ fresh, world, ok, until }) => {
    // Its policy allows no script at all, so that axe is told to pass it.
    for (const colorScheme of ['light', 'dark']) {
      const { context, page } = await fresh({ bypassCSP: true, colorScheme });
      try {
        await page.goto(`${world.console}/public/status?lang=zh`);
        const { createRequire } = await import('node:module');
        const { readFileSync } = await import('node:fs');
        await page.evaluate(readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));
        const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        const bad = violations.filter((v) => ['serious', 'critical'].includes(v.impact));
        ok(bad.length === 0, bad.map((v) => `${v.id}: ${v.nodes[0]?.target}: ${v.nodes[0]?.failureSummary}`).join('; '));
      } finally {
        await context.close();
      }
    }
    await until('a machine reads the same', async () => (await fetch(`${world.console}/public/status.json`)).json().then((p) => p.parts.length === 5 && p.days.length === 90));
  },
};
