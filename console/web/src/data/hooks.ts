// How screens get what they show. Every answer has its age; nothing is made up meanwhile.
import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { ask, type AskOptions, type Problem } from './client';

export type Result<T> = {
  /** The last answer, also while a newer one fails. */
  data: T | undefined;
  /** Why the newest question has no answer. */
  problem: Problem | null;
  /** Seconds; set when the pay plane is gone and data is what it said last. */
  age: number | null;
  /** The first answer is not there yet. */
  loading: boolean;
  /** When data was got, in milliseconds. */
  at: number;
  refetch: () => void;
};

export type ReadOptions = {
  /** Milliseconds between two looks while the page is seen; none when left out. */
  every?: number;
  /** Show what the former path gave until the new one answers. */
  keep?: boolean;
};

/** useRead asks for a path of this server; null asks nothing. */
export function useRead<T>(path: string | null, o: ReadOptions = {}): Result<T> {
  const q = useQuery({
    queryKey: ['read', path],
    queryFn: ({ signal }) => ask<T>(path as string, { signal }),
    enabled: path !== null,
    refetchInterval: o.every ?? false,
    placeholderData: o.keep ? keepPreviousData : undefined,
    retry: false,
  });
  return {
    data: q.data?.data,
    problem: q.error as Problem | null,
    age: q.data?.age ?? null,
    loading: q.isPending && path !== null,
    at: q.dataUpdatedAt,
    refetch: () => void q.refetch(),
  };
}

/** usePay asks the API as who is signed in: usePay('/v1/payments/pay_1'). */
export const usePay = <T,>(path: string | null, o?: ReadOptions) => useRead<T>(path && `/api/pay${path}`, o);

/** useWatch asks the doctor: useWatch('/incidents'). */
export const useWatch = <T,>(path: string | null, o?: ReadOptions) => useRead<T>(path && `/api/watch${path}`, o);

/** useLook asks what only the console needs: useLook('/map'). */
export const useLook = <T,>(path: string | null, o?: ReadOptions) => useRead<T>(path && `/api/look${path}`, o);

/** useDo changes something, and has everything below the paths that are named looked at
 * anew afterwards; without paths, everything. */
export function useDo<T, V = void>(request: (v: V) => { path: string } & AskOptions, refresh?: string[]) {
  const client = useQueryClient();
  return useMutation<T, Problem, V>({
    mutationFn: async (v) => {
      const { path, ...rest } = request(v);
      return (await ask<T>(path, { method: 'POST', ...rest })).data;
    },
    onSettled: () =>
      client.invalidateQueries({
        predicate: (q) => q.queryKey[0] === 'read' && (!refresh || refresh.some((p) => String(q.queryKey[1]).startsWith(p))),
      }),
    retry: false,
  });
}

/** freshKey is an Idempotency-Key for one intention: make it when a form opens, not when
 * it is sent, so that a second click is the same. */
export function freshKey(): string {
  return crypto.randomUUID();
}
