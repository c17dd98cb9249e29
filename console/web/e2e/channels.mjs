export const looks = [
  { name: 'channels', path: '/channels', ready: ({ page }) => page.waitForSelector('button:has-text("bank-ab")') },
  { name: 'channel', path: (w) => `/channels?name=${w.channel}`, ready: ({ page }) => page.waitForSelector('table tbody tr'), picture: 'channels' },
];

/** A bank that executes one reference as often as it comes is put to the test at once: that
 * takes half a minute, most of it waiting. */
const liar = 'ij';
async function verified({ world, link, bank }) {
  await bank('PATCH', `/banks/${liar.toUpperCase()}/behaviour`, { dedup: false });
  const ask = (path, body, cookie = '', csrf = '') => fetch(world.console + path, { method: 'POST', headers: { 'Content-Type': 'application/json', Cookie: cookie, 'Moneta-Csrf': csrf }, body: JSON.stringify(body), signal: AbortSignal.timeout(20_000) });
  const came = await ask('/api/session', { link: (await link()).split('#link=').at(-1) });
  const cookie = came.headers.getSetCookie().map((c) => c.split(';')[0]).join('; ');
  const began = await ask(`/api/look/channels/bank-${liar}/verify`, {}, cookie, (await came.json()).csrf);
  if (began.status !== 202) throw new Error(`${began.status} ${await began.text()}`);
}
let begun;
export const early = (tools) => (begun = verified(tools));

export const tests = {
  'a channel that lies is found from its screen, and a test is broken off': async ({ page, world, settled, ok }) => {
    await begun;
    await page.goto(`${world.console}/channels?lang=en&name=bank-${liar}`);
    await settled(page);
    await page.locator('[data-verify="lies"]').waitFor();
    ok((await page.locator('[data-verify]').getByRole('status').first().innerText()).includes('One reference moves money once'), 'which claim is false');
    await page.locator('[data-proof="failed"]').first().waitFor();
    ok(await page.getByText(/ordered \d+ times and moved money \d+ times|taken with another amount/).first().isVisible(), 'what was seen');
    if (world.keep) await page.screenshot({ path: `${world.out}/verified.png`, fullPage: true });
    await page.goto(`${world.console}/channels?lang=en&name=bank-gh`);
    await settled(page);
    await page.getByLabel('Smallest units').fill('250');
    await page.getByLabel('Smallest units').press('Enter');
    await page.getByText('Claims put to the test').waitFor();
    if (world.keep) await page.screenshot({ path: `${world.out}/verifying.png`, fullPage: true });
    await page.getByRole('button', { name: 'Break off' }).click();
    await page.getByText('Broken off, nothing is kept').waitFor();
  },
  'a channel says how it does and what it promises': async ({ page, world, settled, ok, until }) => {
    await page.goto(`${world.console}/channels?lang=en`);
    await settled(page);
    await page.locator(`[data-channel="${world.channel}"]`).click();
    await until('the address', () => new URL(page.url()).searchParams.get('name') === world.channel);
    await page.getByText('What it promises').waitFor();
    ok(await page.getByText('One reference moves money once').isVisible(), 'its claims');
    ok(await page.getByText(`moneta channel test --channel ${world.channel}`).isVisible(), 'how to verify them');
    ok(await page.getByText('Nothing yet: what is claimed counts as not shown.').isVisible(), 'what was never shown is not called proven');
  },
};
