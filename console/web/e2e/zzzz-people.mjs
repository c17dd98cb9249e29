// Who gets in, and what two people agree on: the first person by a one-time link, an
// invitation taken up with a passkey, another with pass and codes, four eyes on acts of
// the pay plane, a session that is ended. The last spec of all, by its name.
import { codeOf } from './lib/totp.mjs';

/** authenticator puts a passkey holder into the page's browser. */
async function authenticator(page) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable', { enableUI: false });
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  return { cdp, id: authenticatorId };
}

const wait = { timeout: 60_000 };

/** invite adds somebody and returns their link. */
async function invite(page, name, role, label) {
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByRole('combobox', { name: 'Role' }).click();
  await page.getByRole('option', { name: role, exact: true }).click();
  await page.getByRole('button', { name: 'Make the link' }).click();
  const code = page.locator('[data-invitation]');
  await page.getByText(label).waitFor(wait);
  return (await code.innerText()).trim();
}

async function signOut(page) {
  await page.evaluate(async () => {
    const who = await (await fetch('/api/session')).json();
    await fetch('/api/session', { method: 'DELETE', headers: { 'Moneta-Csrf': who.csrf } });
  });
}

// From here on there are two who may approve: nobody is let in by a link of this machine.
export const alone = true;

export const tests = {
  'people come in, agree in twos, and are shown out': async ({ world, fresh, link, ok }) => {
    const { page: first } = await fresh({ storageState: undefined, locale: 'en-GB' });
    await first.goto(await link());
    await first.waitForFunction(() => !location.pathname.startsWith('/signin'), null, wait);
    ok(!(await first.evaluate(() => location.href)).includes('link='), 'the link is not in the history');
    await first.goto(`${world.console}/people`);
    await first.getByText('Add a second one who may').waitFor(wait);

    // Two who may approve, one with a passkey, one with pass and codes.
    const annLink = await invite(first, 'ann', 'admin', 'ann is added.');
    const benLink = await invite(first, 'ben', 'approver', 'ben is added.');
    ok(annLink !== benLink, 'each has a link of their own');

    const { page: ann } = await fresh({ storageState: undefined });
    await authenticator(ann);
    await ann.goto(annLink);
    await ann.getByText('Welcome, ann').waitFor(wait);
    await ann.getByLabel('Name of this device').fill('laptop');
    await ann.getByRole('button', { name: 'Make the passkey' }).click();
    await ann.getByRole('heading', { name: 'People', exact: true }).waitFor(wait);
    await ann.getByText('laptop').waitFor(wait);
    await signOut(ann);
    await ann.goto(`${world.console}/approvals`);
    await ann.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await ann.getByRole('heading', { name: 'Approvals', exact: true }).waitFor(wait);
    ok((await ann.evaluate(() => location.pathname)) === '/approvals', 'the page that was asked for comes');

    const { page: ben } = await fresh({ storageState: undefined });
    await ben.goto(benLink);
    await ben.getByRole('button', { name: 'Make pass and codes' }).click();
    const pass = (await ben.locator('[data-pass]').innerText()).trim();
    const secret = (await ben.locator('[data-secret]').innerText()).trim();
    await ben.getByLabel('Code it shows now').fill(codeOf(secret));
    await ben.getByRole('button', { name: 'Confirm and sign in' }).click();
    await ben.getByRole('heading', { name: 'People', exact: true }).waitFor(wait);

    // An endpoint: made, changed, told again, stopped and let go on by who may; its secret
    // is shown once.
    await ann.goto(`${world.console}/developers?tab=webhooks`);
    await ann.getByLabel('Address (https, public)').fill('https://shop.example/moneta');
    await ann.getByRole('button', { name: 'Add it' }).click();
    await ann.locator('[data-secret]', { hasText: 'whsec_' }).waitFor(wait);
    await ann.getByRole('button', { name: 'Change…' }).click();
    await ann.getByLabel('What it is for').first().fill('order system');
    await ann.getByRole('button', { name: 'Change it' }).click();
    await ann.getByRole('cell', { name: /order system/ }).waitFor(wait);
    await ann.getByRole('button', { name: 'Tell it again since…' }).click();
    await ann.getByRole('button', { name: '24 h' }).click();
    await ann.getByRole('button', { name: 'Tell it again', exact: true }).click();
    await ann.getByRole('cell', { name: /payment\.final/ }).first().waitFor(wait); // what became final before it was there
    await ann.reload();
    await ann.getByRole('cell', { name: /order system/ }).waitFor(wait);
    ok((await ann.getByText('whsec_').count()) === 0, 'a secret is shown once');
    await ann.getByRole('button', { name: 'Stop telling…' }).click();
    await ann.getByLabel('Why').fill('their release');
    await ann.getByRole('button', { name: 'Stop telling it' }).click();
    await ann.getByText('operator ann: their release').waitFor(wait);
    await ann.getByRole('button', { name: 'Tell it again', exact: true }).click();
    await ann.getByText('operator ann: their release').waitFor({ state: 'detached', ...wait });
    await ben.goto(`${world.console}/developers?tab=webhooks`);
    await ben.getByText('is decided by an admin').waitFor(wait);

    // The local person is gone now that there are two.
    await first.goto(`${world.console}/people`);
    await first.getByRole('button', { name: 'Sign in with a passkey' }).waitFor(wait);

    // Ann proposes a third one; Ben, by keyboard, says yes with a code; Ann carries it out.
    await ann.goto(`${world.console}/people`);
    await invite(ann, 'cleo', 'approver', 'Adding cleo waits');
    await ann.goto(`${world.console}/approvals`);
    await ann.getByText('You proposed this; somebody else decides').waitFor(wait);
    const own = ann.getByRole('article').filter({ hasText: 'You proposed this' });
    ok((await own.getByRole('button', { name: 'Approve…' }).count()) === 0, 'nobody approves their own');
    await ben.goto(`${world.console}/approvals`);
    // The doctor may have acts that wait, too.
    const hers = ben.getByRole('article').filter({ hasText: 'cleo' }).first();
    await hers.getByText('counted here, fits').waitFor(wait);
    await hers.focus();
    await ben.keyboard.press('a');
    await ben.getByLabel('Note (kept)').fill('seen her contract');
    // A code counts once: the one of the next step is taken already.
    await ben.getByLabel('Code it shows now').fill(codeOf(secret, Date.now() + 30_000));
    await ben.keyboard.press('Enter');
    await ben.getByText('approved, not carried out yet').waitFor(wait);
    await ann.getByRole('button', { name: 'Carry out now' }).click(wait);
    await ann.getByText('carried out', { exact: true }).first().waitFor(wait);

    // Ben proposes, Ann says yes with her passkey: two clicks.
    await ben.goto(`${world.console}/people`);
    const row = ben.getByRole('row').filter({ hasText: 'cleo' });
    await row.getByRole('button', { name: 'Disable…' }).click();
    await row.getByRole('button', { name: 'Disable cleo for good' }).click();
    await ben.getByText('Disabling cleo is proposed').waitFor(wait);
    await ann.goto(`${world.console}/approvals`);
    await ann.getByRole('article').filter({ hasText: 'cleo' }).getByRole('button', { name: 'Approve…' }).click(wait);
    await ann.getByRole('button', { name: 'Approve with passkey' }).click();
    await ann.getByRole('button', { name: 'Carry out now' }).click(wait);
    await ann.goto(`${world.console}/people`);
    await ann.getByText('disabled by ben').waitFor(wait);

    // Ann ends Ben's sessions; his page asks who he is.
    await ann.getByRole('button', { name: 'End the session of ben' }).first().click();
    await ann.getByRole('button', { name: 'End the session of ben' }).waitFor({ state: 'detached', ...wait });
    await ben.goto(`${world.console}/people`);
    await ben.getByRole('button', { name: 'Sign in with a passkey' }).waitFor(wait);
    await ben.getByLabel('Name', { exact: true }).fill('ben');
    await ben.getByLabel('Pass', { exact: true }).fill(pass);
    await ben.getByLabel('Code', { exact: true }).fill('000000');
    await ben.getByRole('button', { name: 'Sign in', exact: true }).first().click();
    await ben.getByRole('alert').waitFor(wait);
  },
};
