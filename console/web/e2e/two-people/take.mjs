// A refund in part and a capture in whole, asked for on the payment's screen by ben, agreed
// to by ann on her own machine, carried out by ben, and seen where it was asked for.
import { enter, key, moneta, person } from '../lib/people.mjs';

// Ben comes in once at a time: a code counts once.
export const alone = true;

export const tests = {
  'what remains of a payment is refunded and captured by two people': async ({ page, world, api, until, ok, eq }) => {
    person(world, 'ann');
    const ben = person(world, 'ben', '--totp');
    await page.context().clearCookies();
    await page.goto(`${world.console}/payments/${world.payments.deposited}?lang=en`);
    await enter(page, ben, until);

    const take = async (id, act, amount, moves) => {
      await page.goto(`${world.console}/payments/${id}?lang=en`);
      await page.getByRole('button', { name: `${act}…`, exact: true }).click();
      const dialog = page.getByRole('dialog');
      if (amount) {
        await dialog.getByLabel(/^Amount/).fill('99999999');
        await dialog.getByText('no more than remains').waitFor();
        await dialog.getByLabel(/^Amount/).fill(amount);
      }
      await dialog.getByLabel('Why, for who approves it').fill('case 7');
      await dialog.getByRole('button', { name: 'See what it would do' }).click();
      await dialog.getByText(moves).waitFor();
      eq((await api('GET', '/v1/approvals?state=proposed', undefined, undefined, 'admin')).data.filter((a) => a.parameters.payment === id).length, 0, 'a look keeps nothing');
      await dialog.getByRole('button', { name: 'Propose to a second person' }).click();
      await dialog.getByText('nothing has moved').waitFor();
      await dialog.getByRole('button', { name: 'Close' }).last().click();
      const proposal = page.getByTestId('proposal');
      await proposal.getByText('Somebody else approves it').waitFor();
      const [{ id: approval }] = (await api('GET', '/v1/approvals?state=proposed', undefined, undefined, 'admin')).data.filter((a) => a.parameters.payment === id);
      moneta(world, 'approve', 'yes', approval, '--sure', '--as', key(world, 'ann'));
      await proposal.getByRole('button', { name: 'Carry it out' }).click();
      const made = await until('what was made', async () => {
        const a = await api('GET', `/v1/approvals/${approval}`, undefined, undefined, 'admin');
        return a.outcome === 'done' && /pay_[0-9A-Z]+/.exec(a.result)?.[0];
      });
      await proposal.locator(`a[href*="${made}"]`).waitFor(); // it is shown where it was asked for
      return until('it has happened', async () => {
        const p = await api('GET', `/v1/payments/${made}`);
        return p.status === 'succeeded' && p;
      });
    };

    const before = await api('GET', `/v1/payments/${world.payments.deposited}`);
    const said = moneta(world, 'approve', 'propose', 'refund', '--set', `payment=${before.id}`, '--set', 'asset=CZK', '--set', 'amount=10000', '--reason', 'r', '--dry-run', '--as', key(world, 'ann'));
    ok(/100\.00 CZK\s+from:av \(acct_\w+\) → from:held/.test(said), `the command shows the same: ${said}`);
    const refund = await take(before.id, 'Refund', '100.00', /available of the payer .* → held of the payer/);
    eq(refund.amount, '10000', 'the refund');
    const after = await api('GET', `/v1/payments/${before.id}`);
    eq(BigInt(before.remaining) - BigInt(after.remaining), 10000n, 'what remains of the deposit');
    await page.locator(`a[href*="${refund.id}"]`).first().waitFor();

    const capture = await take(world.payments.held, 'Capture', '', /held of the payer .* → available of the payee/);
    eq(capture.amount, '250000', 'all that was held');
    const hold = await api('GET', `/v1/payments/${world.payments.held}`);
    eq(hold.status, 'succeeded', 'the hold');
    await page.goto(`${world.console}/payments/${world.payments.held}?lang=en`);
    await page.getByTestId('proposal').getByText('Done', { exact: true }).waitFor();
    eq(await page.getByRole('button', { name: 'Capture…' }).count(), 0, 'captures that are left');
  },
};
