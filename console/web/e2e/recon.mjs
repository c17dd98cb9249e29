// A statement file with a planted difference: it is taken, classified, explained and shown
// side by side with ours.
let made;

/** planted imports a file whose line quotes a deposit and has another amount than it. */
function planted({ world, api, until }) {
  made ??= (async () => {
    const deposit = await api('POST', '/v1/payments', { kind: 'deposit', to: world.accounts.bob, channel: 'bank-gh', amount: '500000', asset: 'CZK' }, 'recon spec deposit');
    const { reference } = await until('the reference of the deposit', async () => {
      const p = await api('GET', `/v1/payments/${deposit.id}`);
      return p.reference ? p : undefined;
    });
    const day = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
    const file = [
      'record,line_id,booking_date,booked_at,direction,reference,amount,fee,asset,remittance,return_reason,balance,lines',
      `open,,${day},,,,,,CZK,,,0.00,`,
      `line,SPEC-1,${day},${day}T09:00:00Z,in,${reference},5000.01,0.00,CZK,salary,,,`,
      `close,,${day},,,,,,CZK,,,5000.01,1`,
      '',
    ].join('\n');
    const res = await fetch(`${world.api}/v1/recon/statements?channel=bank-gh`, { method: 'POST', headers: { Authorization: `Bearer ${world.admin}` }, body: file });
    if (res.status !== 201) throw new Error(`import: ${res.status} ${await res.text()}`);
    return until('the difference', async () => {
      await api('POST', '/v1/recon/run', {}, undefined, 'admin').catch(() => {});
      const { data } = await api('GET', '/v1/recon/breaks?state=open&channel=bank-gh&class=amount_mismatch', undefined, undefined, 'admin');
      return data.find((b) => b.reference === reference);
    });
  })();
  return made;
}

export const early = planted;

export const looks = [
  { name: 'recon', path: () => `/recon?from=${new Date(Date.now() - 6 * 86_400_000).toISOString().slice(0, 10)}`, picture: 'recon', ready: async (o) => { await planted(o); await o.page.getByRole('link', { name: /^#\d+$/ }).first().waitFor(); await o.page.locator('svg[role=img]').first().waitFor(); } },
  {
    name: 'difference',
    path: (world, tools) => planted({ world, ...tools }).then((b) => `/recon/breaks/${b.id}`),
    picture: 'difference',
    ready: ({ page }) => page.locator('dl').nth(1).waitFor(),
  },
];

export const tests = {
  'a planted difference is classified, explained and shown side by side': async (o) => {
    const { page, world, ok, eq } = o;
    const b = await planted(o);
    eq(b.severity, 1, 'money may be lost');
    await page.goto(`${world.console}/recon?lang=en&class=amount_mismatch`);
    await page.getByRole('link', { name: `#${b.id}`, exact: true }).click();
    await page.getByRole('region', { name: 'Our ledger' }).getByText('5,000.00 CZK').waitFor();
    await page.getByRole('region', { name: 'The statement' }).getByText('5,000.01 CZK').waitFor();
    await page.getByText('Ask the channel to correct the line.', { exact: false }).waitFor();
    await page.getByText('needs a person').waitFor();
    ok((await page.getByText('≠ the other side').count()) === 2, 'both amounts are marked');
    await page.getByText('opened', { exact: true }).waitFor();
  },
  'one class and one channel come back with the link': async (o) => {
    const { page, world, until } = o;
    const b = await planted(o);
    await page.goto(`${world.console}/recon?lang=en&channel=bank-gh&state=all`);
    await page.getByRole('link', { name: `#${b.id}`, exact: true }).waitFor();
    await page.getByRole('button', { name: 'Another amount than ours' }).click();
    await page.waitForURL('**class=amount_mismatch**');
    await page.reload();
    await page.getByText('Only amount_mismatch.').waitFor();
    await until('the filter', async () => (await page.getByRole('link', { name: /^#\d+$/ }).count()) >= 1);
  },
};
