export const looks = [
  { name: 'channels', path: '/channels', ready: ({ page }) => page.waitForSelector('button:has-text("bank-ab")') },
  { name: 'channel', path: (w) => `/channels?name=${w.channel}`, ready: ({ page }) => page.waitForSelector('table tbody tr'), picture: 'channels' },
];

export const tests = {
  'a channel says how it does and what it promises': async ({ page, world, settled, ok, until }) => {
    await page.goto(`${world.console}/channels?lang=en`);
    await settled(page);
    await page.locator(`[data-channel="${world.channel}"]`).click();
    await until('the address', () => new URL(page.url()).searchParams.get('name') === world.channel);
    await page.getByText('What it promises').waitFor();
    ok(await page.getByText('One reference moves money once').isVisible(), 'its claims');
    ok(await page.getByText(`moneta channel test ${world.channel}`).isVisible(), 'how to verify them');
    ok(await page.getByText('Nothing yet: what is claimed counts as not shown.').isVisible(), 'what was never shown is not called proven');
  },
};
