export const looks = [{ name: 'repair', path: '/repair', ready: ({ page }) => page.getByText(/Outcome not known|结果未定/).first().waitFor(), picture: 'repair' }];

export const tests = {
  'a dry run says how many, why not the others, and moves nothing': async ({ page, world, until, ok, eq, api }) => {
    const before = await api('GET', `/v1/payments/${world.payments.processing}`);
    await page.goto(`${world.console}/repair?lang=en`);
    await page.getByRole('radio', { name: /Outcome not known bank-cd/ }).check();
    await page.getByRole('row').nth(1).waitFor();
    await page.getByRole('button', { name: 'What would happen?' }).click();
    const diff = page.getByRole('region', { name: 'What would happen' });
    await diff.getByText('would be asked for').waitFor();
    ok(/[0-9a-f]{24}…/.test(await diff.innerText()), 'the run is bound to what was looked at');
    const after = await api('GET', `/v1/payments/${world.payments.processing}`);
    eq(after.status, before.status, 'nothing moved');
    // Asking the bank moves nothing either; it is done, counted, and proved at its end.
    const go = page.getByRole('button', { name: 'Bring forward' });
    ok(await go.isDisabled(), 'nothing goes before somebody says that they looked');
    await diff.getByRole('checkbox').check();
    await go.click();
    await page.getByText(/batch \d+ of \d+/).waitFor();
    await page.getByRole('button', { name: 'Stop', exact: true }).click();
    await page.getByText('stopped', { exact: true }).first().waitFor();
    await until('its proof', async () => (await page.getByRole('link', { name: 'Download the proof' }).count()) > 0);
  },
};
