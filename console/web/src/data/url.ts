// The address is the state: what a person chose comes back with the link.
import { useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { useCallback } from 'react';

/** useParam is one name of the query, '' when it is not there. Setting '' takes it away;
 * push makes a step to go back to. */
export function useParam(name: string, fallback = ''): [string, (to: string, push?: boolean) => void] {
  const search = useSearch({ strict: false }) as Record<string, string | undefined>;
  const navigate = useNavigate();
  const set = useCallback(
    (to: string, push = false) => {
      void navigate({
        to: '.',
        search: ((old: Record<string, string>) => {
          const next = { ...old };
          if (to === '' || to === fallback) delete next[name];
          else next[name] = to;
          return next;
        }) as never,
        replace: !push,
        resetScroll: false,
      } as never);
    },
    [navigate, name, fallback],
  );
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

/** shareLink is the address of what is seen, without the language of who shares it. */
export function shareLink(): string {
  const url = new URL(location.href);
  url.searchParams.delete('lang');
  return url.href;
}
