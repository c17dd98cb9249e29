// What was promised, and how much of what may go wrong has.
export const looks = [{ name: 'slo', path: '/slo', ready: ({ page }) => page.getByText('30').first().waitFor(), picture: 'slo' }];

export const tests = {
  'each promise has its budget, or says that nothing came yet': async ({ page, world, ok }) => {
    await page.goto(`${world.console}/slo?lang=en`);
    await page.getByText('99 % are durable and answered within 500 ms').waitFor();
    await page.getByText(/of the error budget of 30 days is left|Nothing has come yet that it could|is overspent/).first().waitFor();
    ok((await page.getByText('moneta slo').count()) > 0, 'its command');
  },
};
