// A difference from the file to its end: ben drops the statement, reconciliation names what
// is wrong with it and what would heal it, ben proposes, ann approves on her own machine,
// ben carries it out. What a file lacks, what somebody is given, what the holder gets from our
// own money, and the end of a period are asked for on the same screens; ben stays signed in.
import { enter, key, moneta, person } from '../lib/people.mjs';

/** state is ben's session, once he has come in: a code counts once. */
let state;

/** asBen is a browser in which ben is signed in. */
function asBen(fresh) {
  if (!state) throw new Error('ben never came in');
  return fresh({ storageState: state });
}

const yesterday = () => new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
const header = 'record,line_id,booking_date,booked_at,direction,reference,amount,fee,asset,remittance,return_reason,balance,lines';

/** drop gives the screen a file of a channel's. */
async function drop(page, channel, text) {
  await page.locator('input[type=file]').setInputFiles({ name: 'statement.csv', mimeType: 'text/csv', buffer: Buffer.from(text) });
  const whose = page.getByRole('combobox', { name: 'Whose statement it is' });
  if ((await whose.inputValue()) !== channel) { // to choose it again would take it back
    await whose.click();
    await page.getByRole('option', { name: channel, exact: true }).click();
  }
  await page.getByRole('button', { name: 'Import', exact: true }).click();
}

export const tests = {
  'a planted difference is imported, classified, proposed, approved by a second person, and closed': async ({ page, world, api, until, ok }) => {
    person(world, 'ann');
    const ben = person(world, 'ben', '--totp');

    const deposit = await api('POST', '/v1/payments', { kind: 'deposit', to: world.accounts.bob, channel: 'bank-gh', amount: '500000', asset: 'CZK' }, 'two people');
    const { reference } = await until('the reference of the deposit', async () => {
      const p = await api('GET', `/v1/payments/${deposit.id}`);
      return p.reference ? p : undefined;
    });
    const day = yesterday();
    const file = `${header}
open,,${day},,,,,,CZK,,,0.00,
line,TWO-1,${day},${day}T09:00:00Z,in,${reference},5000.01,0.00,CZK,salary,,,
close,,${day},,,,,,CZK,,,5000.01,1
`;

    // Somebody is signed in by a link; from two people on, only they are.
    await page.context().clearCookies();
    await page.goto(`${world.console}/recon?lang=en`);
    await enter(page, ben, until);
    state = await page.context().storageState();

    await page.getByText('Drop a statement file here').first().waitFor();
    await drop(page, 'bank-gh', file);
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
  'a file that is none or does not add up is refused, and taken only for a reason': async ({ fresh, world, api, until, eq, ok }) => {
    const { page, context } = await asBen(fresh);
    const kept = async () => (await api('GET', '/v1/recon/statements?channel=bank-kl', undefined, undefined, 'admin')).data;
    await page.goto(`${world.console}/recon?lang=en`);
    await page.getByText('Drop a statement file here').first().waitFor();
    await drop(page, 'bank-kl', 'this is a letter, and no statement\n');
    const alert = page.getByRole('alert');
    await alert.waitFor();
    eq((await kept()).length, 0, 'what is kept of no statement');

    const day = yesterday();
    const file = `${header}
open,,${day},,,,,,CZK,,,0.00,
line,KL-1,${day},${day}T09:00:00Z,in,NOBODY-KNOWS,70.00,0.00,CZK,who is it,,,
close,,${day},,,,,,CZK,,,99.00,1
`;
    await drop(page, 'bank-kl', file);
    const why = page.getByLabel('Take it all the same, because');
    await why.waitFor();
    ok(/99|70/.test(await alert.innerText()), `it says what does not add up: ${await alert.innerText()}`);
    eq((await kept()).length, 0, 'what is kept of one that was refused');
    await why.fill('their letter of today says so');
    await page.getByRole('button', { name: 'Import', exact: true }).click();
    await page.getByText('is taken: 1 lines').waitFor();
    await page.getByText('taken although it does not add up: their letter of today says so').waitFor();
    const [statement] = await kept();
    ok(/ben/.test(statement.imported_by), `who took it is on record: ${statement.imported_by}`);
    await until('the line that nobody knows is a difference', async () => {
      await api('POST', '/v1/recon/run', undefined, undefined, 'admin').catch(() => {});
      return (await api('GET', '/v1/recon/breaks?state=open&channel=bank-kl', undefined, undefined, 'admin')).data.some((b) => b.reference === 'NOBODY-KNOWS');
    });
    await context.close();
  },
  'a difference is given to somebody, and its holder compensated from our own money by two': async ({ fresh, world, api, until, eq, ok }) => {
    const { page, context } = await asBen(fresh);
    const [found] = (await api('GET', '/v1/recon/breaks?state=open&channel=bank-kl', undefined, undefined, 'admin')).data.filter((b) => b.reference === 'NOBODY-KNOWS');
    const now = () => api('GET', `/v1/recon/breaks/${found.id}`, undefined, undefined, 'admin');
    await page.goto(`${world.console}/recon/breaks/${found.id}?lang=en`);
    const give = page.locator('form').filter({ has: page.getByRole('heading', { name: 'Give it to somebody' }) });
    await give.getByLabel('Owner').fill('finance');
    eq(await give.getByRole('button', { name: 'Give', exact: true }).isDisabled(), true, 'without a reason nothing is given');
    await give.getByLabel('Why, in your words').fill('they know the bank');
    await give.getByRole('button', { name: 'Give', exact: true }).click();
    await page.getByText('given', { exact: true }).waitFor();
    await until('finance has it', async () => (await now()).owner === 'finance');
    const told = (await now()).history.find((h) => h.what === 'assigned');
    ok(/ben/.test(told.who) && /they know the bank/.test(told.note), `who gave it, and why: ${JSON.stringify(told)}`);

    const before = BigInt((await api('GET', `/v1/accounts/${world.accounts.bob}/balances`)).available);
    const form = page.locator('form').filter({ has: page.getByRole('heading', { name: 'Propose', exact: true }) });
    await form.getByRole('combobox', { name: 'What', exact: true }).click();
    await page.getByRole('option', { name: 'Compensate the holder from our own money' }).click();
    await form.getByLabel('To account').fill(world.accounts.bob);
    await form.getByLabel('Amount (CZK)').fill('1.234');
    await form.getByText('this is no amount of the asset').waitFor();
    await form.getByLabel('Why, in your words').fill('she waited for a week');
    const propose = form.getByRole('button', { name: 'Propose to a second person' });
    eq(await propose.isDisabled(), true, 'no amount, no proposal');
    await form.getByLabel('Amount (CZK)').fill('1.23');
    await propose.click();
    await page.getByText('Somebody else approves it').waitFor();
    const [{ id }] = (await api('GET', '/v1/approvals?state=proposed', undefined, undefined, 'admin')).data.filter((a) => a.kind === 'compensate');
    eq(BigInt((await api('GET', `/v1/accounts/${world.accounts.bob}/balances`)).available), before, 'nothing is posted before somebody else agrees');
    moneta(world, 'approve', 'yes', id, '--sure', '--as', key(world, 'ann'));
    await page.getByRole('button', { name: 'Carry it out' }).click();
    await until('she has it', async () => BigInt((await api('GET', `/v1/accounts/${world.accounts.bob}/balances`)).available) === before + 123n);
    await context.close();
  },
  'a period is closed for good, once': async ({ fresh, world, api, until, eq }) => {
    const { page, context } = await asBen(fresh);
    await page.goto(`${world.console}/finance?lang=en`);
    const form = page.locator('form').filter({ has: page.getByRole('heading', { name: 'Close the books' }) });
    const close = form.getByRole('button', { name: 'Close', exact: true });
    await form.getByLabel('Through day (UTC)').fill('2020-01-31');
    eq(await close.isDisabled(), true, 'nobody closes by accident');
    await form.getByLabel('I want to close CZK through 2020-01-31, for good').check();
    await close.click();
    await form.getByText('It is closed.').waitFor();
    await page.getByRole('cell', { name: '2020-01-31' }).first().waitFor();
    const [period] = await until('its seal', async () => {
      const all = (await api('GET', '/v1/periods', undefined, undefined, 'admin')).data;
      return all.length > 0 && all[0].trial_balance_sha256 && all;
    });
    eq(`${period.asset} ${period.through}`, 'CZK 2020-01-31', 'what is closed');
    await form.getByLabel('Through day (UTC)').fill('2019-12-31');
    await form.getByLabel('I want to close CZK through 2019-12-31, for good').check();
    await close.click();
    await form.getByRole('alert').waitFor(); // what is closed already is not closed again
    await context.close();
  },
};
