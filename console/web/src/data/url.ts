// The address is the state: what a person chose comes back with the link.
import { useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { useCallback } from 'react';

/** useSetParams sets names of the query, several in one step; '' takes one away, and push
 * makes a step to go back to. */
export function useSetParams(): (to: Record<string, string>, push?: boolean) => void {
  const navigate = useNavigate();
  return useCallback(
    (to: Record<string, string>, push = false) => {
      void navigate({
        to: '.',
        search: ((old: Record<string, string>) => Object.fromEntries(Object.entries({ ...old, ...to }).filter(([, v]) => v !== ''))) as never,
        replace: !push,
        resetScroll: false,
      } as never);
    },
    [navigate],
  );
}

/** useParam is one name of the query, '' when it is not there. Setting '' takes it away;
 * push makes a step to go back to. */
export function useParam(name: string, fallback = ''): [string, (to: string, push?: boolean) => void] {
  const search = useSearch({ strict: false }) as Record<string, string | undefined>;
  const setAll = useSetParams();
  const set = useCallback((to: string, push = false) => setAll({ [name]: to === fallback ? '' : to }, push), [setAll, name, fallback]);
  return [search[name] ?? fallback, set];
}

/** usePathParam is a $name of the screen's path. */
export function usePathParam(name: string): string {
  return (useParams({ strict: false }) as Record<string, string | undefined>)[name] ?? '';
}

/** useGo goes to a path of the console: go('/payments/pay_1'). */
export function useGo(): (to: string) => void {
  const navigate = useNavigate();
  return useCallback(
    (to: string) => {
      const [path = '/', query = ''] = to.split('?');
      void navigate({ to: path, search: Object.fromEntries(new URLSearchParams(query)) } as never);
    },
    [navigate],
  );
}

/** rangeSeconds reads how far back a range goes: '15m', '24h', '7d'. */
export function rangeSeconds(text: string): number | undefined {
  const m = /^(\d{1,4})([mhd])$/.exec(text);
  return m ? Number(m[1]) * { m: 60, h: 3600, d: 86_400 }[m[2] as 'm' | 'h' | 'd'] : undefined;
}

/** shareLink is the address of what is seen, without the language of who shares it. "The
 * last hour" becomes the hour that it is now: whoever opens it later sees the same. */
export function shareLink(now = Date.now()): string {
  const url = new URL(location.href);
  url.searchParams.delete('lang');
  const seconds = rangeSeconds(url.searchParams.get('range') ?? '');
  if (seconds !== undefined) {
    url.searchParams.delete('range');
    url.searchParams.set('from', new Date(now - seconds * 1000).toISOString());
    url.searchParams.set('to', new Date(now).toISOString());
  }
  return url.href;
}
