// A wallet in which next to nothing happened: every screen says so, and none is blank.
import { walk, whole } from '../lib/walk.mjs';

export const tests = {
  'every screen with nothing in it says what it is for': async ({ page, world, until, ok, visit, settled }) => {
    await page.goto(`${world.console}/?lang=en`);
    await settled();
    const seen = await walk({ page, world, visit, until, name: 'empty' });
    whole(seen, ok);
    ok(seen.length >= 10, `${seen.length} screens`);
    for (const { path, text } of seen) ok(!/does not answer|Try again/.test(text), `${path} has a problem: ${text.slice(0, 400)}`);
  },
};

// No incident yet, and nobody in the way.
export const alone = true;
