export const looks = [{ name: 'doctor', path: '/doctor', ready: ({ page }) => page.waitForSelector('table tbody tr') }];

export const tests = {
  'what the collectors see is live': async ({ page, world, until, ok }) => {
    await page.goto(`${world.console}/doctor`);
    const looked = () => page.evaluate(() => Number(document.querySelector('table tbody tr td:last-child')?.textContent.split(' ')[0]));
    const first = await until('a collector', looked);
    await until('a further look', async () => (await looked()) > first);
    ok(/collectors look|broken|see nothing/.test(await page.getByRole('status').first().innerText()), 'a sentence says how it is');
  },
};
