import { useQuery, useQueryClient } from '@tanstack/react-query';
import { armClient, ask } from './client';
import { learnScales } from './money';

export type Role = 'viewer' | 'operator' | 'approver' | 'admin';

export type Session = {
  signed_in: boolean;
  name?: string;
  role?: Role;
  tenant?: number;
  /** How they signed in. */
  method?: 'totp' | 'passkey' | 'ed25519';
  csrf?: string;
  expires?: string;
  /** By a one-time link: reads everything, changes nothing in the API. */
  local: boolean;
  /** Without the database: the doctor takes their word, the pay plane waits. */
  offline: boolean;
  /** The console's address; passkeys are made and used there only. */
  origin: string;
  sandbox: boolean;
  version: string;
  /** Decimals of the assets that have not 2. */
  scales: Record<string, number>;
};

const key = ['session'];

/** useSession is who is signed in; undefined until that is known. */
export function useSession() {
  const client = useQueryClient();
  const q = useQuery({
    queryKey: key,
    queryFn: async () => (await ask<Session>('/api/session')).data,
    staleTime: Infinity,
    retry: 2,
  });
  if (q.data) {
    // Before the first question of the screens, which render with this.
    learnScales(q.data.scales);
    armClient(q.data.csrf ?? '', () => void client.invalidateQueries({ queryKey: key }));
  }
  return { session: q.data, error: q.error, refetch: q.refetch };
}

/** What may the one who is signed in. */
export function may(s: Session | undefined, least: Role): boolean {
  const all: Role[] = ['viewer', 'operator', 'approver', 'admin'];
  return !!s?.role && all.indexOf(s.role) >= all.indexOf(least);
}

/** useSessionChange takes what signing in or out answered. */
export function useSessionChange() {
  const client = useQueryClient();
  return {
    signInByLink: async (link: string) => {
      const { data } = await ask<Session>('/api/session', { method: 'POST', body: { link } });
      client.setQueryData(key, data);
    },
    /** For other ways of signing in, whose answer is that of GET /api/session too. */
    become: (s: Session) => client.setQueryData(key, s),
    signOut: async () => {
      const { data } = await ask<Session>('/api/session', { method: 'DELETE' });
      client.setQueryData(key, data);
      // Nothing of what was seen stays behind for who comes next.
      client.removeQueries({ predicate: (q) => q.queryKey[0] !== key[0] });
    },
  };
}
