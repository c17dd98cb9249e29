// The page that anybody may see, without a session and without JavaScript.
export const tests = {
  'the status page needs neither sign-in nor script': async ({ browser, world, ok, eq }) => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    try {
      const page = await context.newPage();
      for (const [lang, words] of [['en', 'Service status'], ['zh', '服务状态']]) {
        const answer = await page.goto(`${world.console}/public/status?lang=${lang}`);
        eq(answer.status(), 200, 'the status page');
        eq((await context.cookies()).length, 0, 'cookies of the status page');
        const text = await page.locator('body').innerText();
        ok(text.includes(words), `it is in ${lang}`);
        ok(!/bank-|postgres|decider|inc-\d|shard/i.test(text), 'nothing of the inside is on it');
        for (const colorScheme of ['light', 'dark'])
          for (const viewport of [{ width: 1280, height: 900 }, { width: 390, height: 844 }, { width: 1920, height: 1080 }]) {
            await page.emulateMedia({ colorScheme });
            await page.setViewportSize(viewport);
            if (world.keep) await page.screenshot({ path: `${world.out}/public-${lang}-${colorScheme}-${viewport.width}.png`, fullPage: true });
            if (world.update && lang === 'en' && colorScheme === 'light' && viewport.width === 1280) await page.screenshot({ path: `${world.update}/public.png` });
          }
      }
    } finally {
      await context.close();
    }
  },

  'axe finds nothing serious on it': async ({ fresh, world, ok, until, audited }) => {
    // Its policy allows no script at all, so that axe is told to pass it.
    const { context, page } = await fresh({ bypassCSP: true });
    try {
      let width = 390;
      for (const lang of ['en', 'zh']) {
        await page.goto(`${world.console}/public/status?lang=${lang}`);
        for (const colorScheme of ['light', 'dark']) {
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize({ width, height: 900 });
          width = { 390: 1280, 1280: 1920, 1920: 390 }[width];
          const bad = await audited(page);
          ok(bad.length === 0, `${lang}, ${colorScheme}: ${bad.join('; ')}`);
          ok(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth <= 1), 'nothing is wider than the window');
        }
      }
    } finally {
      await context.close();
    }
    await until('a machine reads the same', async () => (await fetch(`${world.console}/public/status.json`)).json().then((p) => p.parts.length === 5 && p.days.length === 90));
  },
};
