export const tests = {
  'a link lets in once, and back to the page that was asked for': async ({ browser, world, link, ok }) => {
    const context = await browser.newContext();
    context.setDefaultTimeout(90_000);
    try {
      const page = await context.newPage();
      await page.goto(`${world.console}/doctor`);
      const url = await link();
      await page.getByRole('button', { name: 'Sign in with a one-time link' }).click();
      const paste = page.getByPlaceholder('Paste the link here');
      await paste.fill(url);
      await paste.press('Enter');
      await page.waitForSelector('nav');
      ok(page.url().endsWith('/doctor'), 'the page that was asked for');
      ok(!(await page.evaluate(() => document.cookie)), 'no script sees the cookie');

      const other = await (await browser.newContext()).newPage();
      await other.goto(url);
      await other.getByRole('alert').waitFor({ timeout: 90_000 });
      await other.context().close();
      await page.getByRole('button', { name: 'this machine' }).click();
      await page.getByRole('menuitem', { name: 'Sign out' }).click();
      await page.getByRole('heading', { name: 'Sign in to Moneta' }).waitFor();
    } finally {
      await context.close();
    }
  },

  'language and theme are remembered': async ({ page, world, settled, eq }) => {
    await page.goto(`${world.console}/doctor`);
    await settled();
    await page.getByRole('button', { name: '中文' }).click();
    await page.getByRole('button', { name: '主题' }).click();
    await page.getByRole('menuitem', { name: '深色' }).click();
    await page.reload();
    await settled();
    eq(await page.evaluate(() => document.documentElement.lang), 'zh-CN', 'language');
    eq(await page.evaluate(() => document.documentElement.dataset.mantineColorScheme), 'dark', 'theme');
  },

  'the keyboard reaches everything': async ({ page, world, settled, eq, ok }) => {
    await page.goto(`${world.console}/doctor`);
    await settled();
    await page.keyboard.press('Tab');
    eq(await page.evaluate(() => document.activeElement?.textContent), 'Skip to the content', 'the first stop');
    const reached = new Set();
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press('Tab');
      reached.add(await page.evaluate(() => document.activeElement?.getAttribute('href') ?? document.activeElement?.tagName));
    }
    const links = await page.evaluate(() => [...document.querySelectorAll('nav a')].map((a) => a.getAttribute('href')));
    for (const href of links) ok(reached.has(href), `Tab reaches ${href}`);
  },

  'any id opens, pasted anywhere or by the palette': async ({ page, world, settled, ok }) => {
    await page.goto(`${world.console}/doctor`);
    await settled();
    await page.keyboard.press('Control+k');
    const box = page.getByRole('dialog').getByRole('combobox');
    await box.fill(world.payments.held);
    await page.getByRole('option', { name: world.payments.held }).first().waitFor();
    await page.keyboard.press('Escape');
    await box.waitFor({ state: 'detached' });
    await page.evaluate((id) => {
      const data = new DataTransfer();
      data.setData('text', id);
      document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
    }, world.accounts.ann);
    await page.waitForFunction((id) => location.href.includes(id) || document.querySelector('[role=dialog] [role=combobox]')?.value === id, world.accounts.ann);
    await page.goto(`${world.console}/doctor`);
    await settled();
    await page.keyboard.press('/');
    await box.fill('doctor sees nothing like this');
    await page.getByRole('status').filter({ hasText: 'Nothing has this name' }).waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('?');
    ok(await page.getByRole('dialog').waitFor().then(() => true), 'the list of keys');
  },

  'the first sentence costs less than a second': async ({ fresh, world, until, ok }) => {
    // A browser that was never here; processor time of the page's own process, so that a
    // busy machine changes nothing: what is left of the clock's time is waiting for others.
    const { context, page } = await fresh();
    try {
      await page.goto(`${world.console}/`, { waitUntil: 'commit' });
      const cdp = await context.newCDPSession(page);
      await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
      await until('the sentence', async () => (await page.getByRole('status').first().innerText()).length > 10);
      const got = Object.fromEntries((await cdp.send('Performance.getMetrics')).metrics.map((m) => [m.name, m.value]));
      ok(got.ProcessTime > 0 && got.ProcessTime <= 1, `${got.ProcessTime} s of processor time until the first sentence, ${got.ThreadTime} s of them on the main thread; 1 s at most`);
      console.error(`first sentence: ${(1000 * got.ProcessTime).toFixed(0)} ms of processor time, ${(1000 * got.ThreadTime).toFixed(0)} ms of them on the main thread`);
    } finally {
      await context.close();
    }
  },

  'the first load is small': async ({ page, world, settled, ok }) => {
    await page.goto(`${world.console}/`);
    await settled();
    const bytes = await page.evaluate(() =>
      performance
        .getEntriesByType('resource')
        .filter((e) => /\/assets\//.test(e.name))
        .reduce((sum, e) => sum + e.encodedBodySize, 0),
    );
    ok(bytes > 10_000 && bytes <= 250_000, `${bytes} bytes of scripts and styles, compressed; 250000 at most`);
  },
};
