// A session goes on while somebody is there, not while a page is open: what the page asks
// by itself does not count.
import { ask } from './client';

const every = 60_000;

/** startPresence tells the watch, at most once a minute, that the person did something. */
export function startPresence(): () => void {
  let told = Date.now();
  const here = () => {
    if (Date.now() - told < every) return;
    told = Date.now();
    // When it is over the next question says so.
    void ask('/api/session/alive', { method: 'POST', body: {} }).catch(() => {});
  };
  const of = ['pointerdown', 'keydown', 'wheel'] as const;
  for (const what of of) addEventListener(what, here, { passive: true });
  return () => of.forEach((what) => removeEventListener(what, here));
}
