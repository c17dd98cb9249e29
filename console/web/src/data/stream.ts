// One stream for the whole page: what is now each second, and each line of the journal.
import { useSyncExternalStore } from 'react';
import type { Entry, Now } from './doctor';

export type Live = {
  now: Now | undefined;
  /** The map of this second, as its screen reads it. */
  map: unknown;
  /** Lines since the page was opened, the newest last; bounded. */
  lines: Entry[];
  state: 'connecting' | 'live' | 'lost';
  /** When it was heard last, in milliseconds; 0: never. */
  heard: number;
};

const linesMost = 500;
/** Silence that means that nobody is there: the server speaks each second. */
const silent = 8_000;

let live: Live = { now: undefined, map: undefined, lines: [], state: 'connecting', heard: 0 };
const listeners = new Set<() => void>();
let source: EventSource | undefined;
let again: ReturnType<typeof setTimeout> | undefined;
let watchdog: ReturnType<typeof setInterval> | undefined;
let delay = 1000;

function set(change: Partial<Live>) {
  live = { ...live, ...change };
  for (const l of listeners) l();
}

function open() {
  source?.close();
  const s = new EventSource('/api/watch/stream');
  source = s;
  s.addEventListener('now', (e) => {
    delay = 1000;
    set({ now: JSON.parse((e as MessageEvent<string>).data) as Now, state: 'live', heard: Date.now() });
  });
  s.addEventListener('map', (e) => set({ map: JSON.parse((e as MessageEvent<string>).data) as unknown, heard: Date.now() }));
  s.addEventListener('line', (e) => {
    const line = JSON.parse((e as MessageEvent<string>).data) as Entry;
    if (live.lines.some((l) => l.seq === line.seq)) return;
    set({ lines: [...live.lines, line].slice(-linesMost), heard: Date.now() });
  });
  s.onerror = () => {
    // The browser comes back by itself, unless the answer was none: then we do.
    if (s.readyState === EventSource.CLOSED && source === s) {
      source = undefined;
      clearTimeout(again);
      again = setTimeout(open, delay);
      delay = Math.min(delay * 2, 10_000);
    }
    if (live.state !== 'lost' && Date.now() - live.heard > silent) set({ state: 'lost' });
  };
}

/** startStream follows the watch while somebody is signed in. */
export function startStream(): () => void {
  const began = Date.now();
  open();
  watchdog = setInterval(() => {
    if (live.state !== 'lost' && Date.now() - Math.max(live.heard, began) > silent) set({ state: 'lost' });
  }, 1000);
  return () => {
    clearTimeout(again);
    clearInterval(watchdog);
    source?.close();
    source = undefined;
    live = { now: undefined, map: undefined, lines: [], state: 'connecting', heard: 0 };
  };
}

function subscribe(l: () => void) {
  listeners.add(l);
  return () => listeners.delete(l);
}

const all = () => live;

/** useLive is everything of the stream. */
export function useLive(): Live {
  return useSyncExternalStore(subscribe, all);
}

/** useNow is what the doctor says at this moment; undefined until it was heard. */
export function useNow(): Now | undefined {
  return useSyncExternalStore(subscribe, () => live.now);
}

/** useLiveMap is the map of this second; undefined until it was heard. */
export function useLiveMap<T>(): T | undefined {
  return useSyncExternalStore(subscribe, () => live.map) as T | undefined;
}

/** useLines are the lines of the journal since the page was opened. */
export function useLines(): Entry[] {
  return useSyncExternalStore(subscribe, () => live.lines);
}

/** useStreamState is whether the watch is heard. */
export function useStreamState(): Live['state'] {
  return useSyncExternalStore(subscribe, () => live.state);
}
