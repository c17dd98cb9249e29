// A long list of which only the rows that are seen are in the page.
import { useInfiniteQuery } from '@tanstack/react-query';
import { useEffect, useState, type ReactNode } from 'react';
import { ask, type Problem } from '../data';
import classes from './rows.module.css';

type Page<T> = { data: T[]; has_more: boolean; next?: string };

/** usePages reads a list of the API page after page: more() asks for the next. */
export function usePages<T>(path: string | null, every?: number) {
  const q = useInfiniteQuery({
    queryKey: ['read', path && `/api/pay${path}`, 'pages'],
    queryFn: async ({ pageParam, signal }) =>
      (await ask<Page<T>>(`/api/pay${path}${pageParam ? `${path?.includes('?') ? '&' : '?'}after=${encodeURIComponent(pageParam)}` : ''}`, { signal })).data,
    initialPageParam: '',
    getNextPageParam: (last) => (last.has_more ? last.next : undefined),
    enabled: path !== null,
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 0) > 1 ? false : (every ?? false)),
    retry: false,
  });
  return {
    rows: q.data?.pages.flatMap((p) => p.data),
    problem: q.error as Problem | null,
    loading: q.isPending && path !== null,
    refetch: () => void q.refetch(),
    more: () => {
      if (q.hasNextPage && !q.isFetching) void q.fetchNextPage();
    },
    hasMore: q.hasNextPage,
  };
}

export type RowColumn<T> = { name: string; width: string; right?: boolean; of: (row: T) => ReactNode };

/** Rows is a table with rows of one height; onEnd is called when its end comes near. */
export function Rows<T>({ rows, columns, rowHeight = 34, height = 420, label, least, keyOf, onEnd, picked }: {
  rows: T[];
  columns: RowColumn<T>[];
  rowHeight?: number;
  height?: number;
  label: string;
  least?: number;
  keyOf: (row: T) => string | number;
  onEnd?: () => void;
  picked?: (row: T) => boolean;
}) {
  const [top, setTop] = useState(0);
  const seen = Math.ceil(height / rowHeight) + 8;
  const first = Math.max(0, Math.floor(top / rowHeight) - 4);
  const part = rows.slice(first, first + seen);
  const nearEnd = first + seen >= rows.length;
  useEffect(() => {
    if (nearEnd) onEnd?.();
  }, [nearEnd, rows.length]); // eslint-disable-line
  const grid = { gridTemplateColumns: columns.map((c) => c.width).join(' '), minWidth: least };
  return (
      <div className={classes.box} style={{ maxHeight: height }} tabIndex={0} role="table" aria-label={label} aria-rowcount={rows.length} onScroll={(e) => setTop(e.currentTarget.scrollTop)}>
        <div role="rowgroup" className={classes.head}>
          <div role="row" className={classes.row} style={grid}>
            {columns.map((c) => (
              <span key={c.name} role="columnheader" className={c.right ? classes.right : undefined}>{c.name}</span>
            ))}
          </div>
        </div>
        <div role="rowgroup" style={{ height: rows.length * rowHeight, position: 'relative', minWidth: least }}>
          {part.map((r, i) => (
            <div key={keyOf(r)} role="row" aria-rowindex={first + i + 1} className={`${classes.row} ${classes.line} ${picked?.(r) ? classes.picked : ''}`} style={{ ...grid, top: (first + i) * rowHeight, height: rowHeight }}>
              {columns.map((c) => (
                <span key={c.name} role="cell" className={c.right ? classes.right : undefined}>{c.of(r)}</span>
              ))}
            </div>
          ))}
        </div>
      </div>
  );
}
