export const looks = [{ name: 'drills', path: '/drills', ready: ({ page }) => page.locator('li svg').first().waitFor(), picture: 'drills' }];

export const tests = {
  'a drill is started and cancelled': async ({ page, world, until, ok }) => {
    await page.goto(`${world.console}/drills?lang=en`);
    await page.getByRole('button', { name: 'Run control-batch' }).waitFor();
    ok((await page.getByRole('button', { name: /^Run / }).count()) >= 10, 'drills have cards');
    await page.getByRole('button', { name: 'Run control-batch' }).click();
    await page.getByText('in a world of its own.').first().waitFor();
    const log = page.getByRole('log');
    await until('a line of the run', async () => /making a world/.test(await log.innerText()));
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('cancelled', { exact: true }).first().waitFor();
    ok(await page.getByText('Ended').first().isVisible(), 'it says when it ended');
  },
};

// A drill takes both processors.
export const alone = true;
