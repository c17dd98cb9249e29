// A difference from the file to its end: ben drops the statement, reconciliation names what
// is wrong with it and what would heal it, ben proposes, ann approves on her own machine,
// ben carries it out.
import { enter, key, moneta, person } from '../lib/people.mjs';

export const tests = {
  'a planted difference is imported, classified, proposed, approved by a second person, and closed': async ({ page, world, api, until, ok }) => {
    person(world, 'ann');
    const ben = person(world, 'ben', '--totp');

    const deposit = await api('POST', '/v1/payments', { kind: 'deposit', to: world.accounts.bob, channel: 'bank-gh', amount: '500000', asset: 'CZK' }, 'two people');
    const { reference } = await until('the reference of the deposit', async () => {
      const p = await api('GET', `/v1/payments/${deposit.id}`);
      return p.reference ? p : undefined;
    });
    const day = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
    const file = `record,line_id,booking_date,booked_at,direction,reference,amount,fee,asset,remittance,return_reason,balance,lines
open,,${day},,,,,,CZK,,,0.00,
line,TWO-1,${day},${day}T09:00:00Z,in,${reference},5000.01,0.00,CZK,salary,,,
close,,${day},,,,,,CZK,,,5000.01,1
`;

    // Somebody is signed in by a link; from two people on, only they are.
    await page.context().clearCookies();
    await page.goto(`${world.console}/recon?lang=en`);
    await enter(page, ben, until);

    await page.getByText('Drop a statement file here').first().waitFor();
    await page.locator('input[type=file]').setInputFiles({ name: 'statement.csv', mimeType: 'text/csv', buffer: Buffer.from(file) });
    await page.getByRole('combobox', { name: 'Whose statement it is' }).click();
    await page.getByRole('option', { name: 'bank-gh', exact: true }).click();
    await page.getByRole('button', { name: 'Import', exact: true }).click();
    await page.getByText('is taken: 1 lines').waitFor();

    const found = await until('the difference', async () => {
      await api('POST', '/v1/recon/run', undefined, undefined, 'admin').catch(() => {});
      const { data } = await api('GET', '/v1/recon/breaks?state=open&channel=bank-gh', undefined, undefined, 'admin');
      return data.find((b) => b.reference === reference);
    });
    ok(found.class === 'amount_mismatch' && found.suggestion.confidence === 'needs_person', `it is classified: ${JSON.stringify(found)}`);

    await page.goto(`${world.console}/recon/breaks/${found.id}?lang=en`);
    await page.getByText('Ask the channel to correct the line.', { exact: false }).waitFor();
    ok((await page.getByRole('button', { name: 'Close now' }).count()) === 0, 'nobody closes alone what may be lost money');
    await page.getByLabel('Why, in your words').first().fill('their letter of today');
    await page.getByRole('button', { name: 'Propose to a second person' }).click();
    await page.getByText('Somebody else approves it').waitFor();
    ok((await page.getByRole('button', { name: 'Carry it out' }).count()) === 0, 'nothing is carried out before');

    const [proposal] = (await api('GET', '/v1/approvals?state=proposed', undefined, undefined, 'admin')).data;
    moneta(world, 'approve', 'yes', proposal.id, '--sure', '--as', key(world, 'ann'));
    await page.getByRole('button', { name: 'Carry it out' }).click();
    await page.getByText(/resolved by approval/).first().waitFor();
    const closed = await api('GET', `/v1/recon/breaks/${found.id}`, undefined, undefined, 'admin');
    ok(closed.state === 'resolved' && closed.code === 'channel_corrected', `closed with its code: ${JSON.stringify(closed)}`);
  },
};
