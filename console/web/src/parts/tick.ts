// One clock for every age on the page, so that they all turn at once.
import { useSyncExternalStore } from 'react';

let at = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(l: () => void) {
  listeners.add(l);
  timer ??= setInterval(() => {
    at = Date.now();
    for (const f of listeners) f();
  }, 1000);
  return () => {
    listeners.delete(l);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** useTick is the time of this second, in milliseconds. */
export function useTick(): number {
  return useSyncExternalStore(subscribe, () => at);
}
