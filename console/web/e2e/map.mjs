// The map of a good day. The stall is in zz-stall.mjs, which changes the world for others.
const drawn = ({ page }) => page.waitForSelector('[data-hop="dispatch"]');

export const looks = [
  { name: 'map', path: '/', ready: drawn },
  { name: 'map-hop', path: (w) => `/?hop=${w.channel}`, ready: async (t) => { await drawn(t); await t.page.waitForSelector('section dl dt'); } },
];

export const tests = {
  'the river says what the server counts': async ({ page, world, api, until, ok, settled }) => {
    await page.goto(`${world.console}/?lang=en`);
    await settled(page);
    await drawn({ page });
    const look = await page.evaluate(async () => (await fetch('/api/look/map')).json());
    ok(look.hops.some((h) => h.name === world.channel), 'the channel that was paid through is on the map');
    ok(/payments a second|quiet|wait|waits|heard|held|past/.test(await page.getByRole('status').first().innerText()), 'a sentence says how it is');
    // What people see is what the server says at that moment, once both are the same second.
    await until('the figure of what is under way', async () => {
      const [shown, said] = await page.evaluate(async () => {
        const dd = [...document.querySelectorAll('dl dd')][0]?.textContent;
        const m = await (await fetch('/api/look/map')).json();
        return [dd, String(m.open?.items + m.hops.reduce((n, h) => n + (h.held ?? 0), 0))];
      });
      return shown === said;
    });
    await page.getByText('The same as a table').click();
    ok((await page.locator('details table tbody tr').count()) === look.hops.length, 'the table has every hop of the picture');
    await api('GET', '/v1/accounts?limit=1');
  },

  'a hop opens with the keyboard, has its link, and closes': async ({ page, world, settled, ok, until }) => {
    await page.goto(`${world.console}/?lang=en`);
    await settled(page);
    await drawn({ page });
    await page.locator('[data-hop="dispatch"]').focus();
    await page.keyboard.press('Enter');
    const heading = page.getByRole('heading', { name: 'Dispatch' });
    await heading.waitFor();
    ok(new URL(page.url()).searchParams.get('hop') === 'dispatch', 'the address names the hop');
    ok(await page.getByText('moneta diagnose').isVisible(), 'its command stands beside it');
    await page.reload();
    await heading.waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    await until('the address without it', () => !new URL(page.url()).searchParams.has('hop'));
  },

  'the last quarter of an hour can be gone back to': async ({ page, world, settled, ok, until }) => {
    await page.goto(`${world.console}/?lang=en`);
    await settled(page);
    const handle = page.getByRole('slider');
    await handle.waitFor();
    await handle.focus();
    await page.keyboard.press('Home');
    await page.getByText('You look at').waitFor();
    const at = new URL(page.url()).searchParams.get('at');
    ok(at && !Number.isNaN(Date.parse(at)), 'the address has the moment');
    await page.getByRole('button', { name: 'Back to now' }).click();
    await until('now again', () => !new URL(page.url()).searchParams.has('at'));
  },

  'nothing moves for who asked for that': async ({ fresh, world, eq }) => {
    const offsets = async (reducedMotion) => {
      const { context, page } = await fresh({ reducedMotion });
      await page.goto(`${world.console}/?lang=en`);
      await drawn({ page });
      const moved = await page.evaluate(() => [...document.querySelectorAll('svg path')].some((p) => p.style.strokeDashoffset !== ''));
      await context.close();
      return moved;
    };
    eq(await offsets('reduce'), false, 'drops move although motion is to be reduced');
  },
};
