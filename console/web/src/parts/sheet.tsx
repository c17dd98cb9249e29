// The one table of a screen whose rows are few: all of them are in the page. A list without
// an end is Rows.
import { Table } from '@mantine/core';
import type { ReactNode } from 'react';
import { Wide } from './states';

export type Column<T> = {
  /** The heading; also the key. */
  name: string;
  of: (row: T) => ReactNode;
  right?: boolean;
  /** Most pixels of its cells. */
  max?: number;
};

/** Sheet is a table that scrolls by itself where it is wider than the screen. What columns
 * give false, null or undefined for does not stand there: { name, of } && condition. */
export function Sheet<T>({ label, least, rows, columns, keyOf, top, picked }: {
  label: string;
  /** Least pixels before it scrolls. */
  least?: number;
  rows: T[];
  columns: (Column<T> | false | null | undefined)[];
  keyOf: (row: T, i: number) => string | number;
  /** Cells begin at the top, for those of several lines. */
  top?: boolean;
  picked?: (row: T) => boolean;
}) {
  const shown = columns.filter((c) => !!c);
  return (
    <Wide label={label} least={least}>
      <Table verticalSpacing={6} styles={top ? { td: { verticalAlign: 'top' } } : undefined}>
        <Table.Thead>
          <Table.Tr>
            {shown.map((c) => (
              <Table.Th key={c.name} scope="col" ta={c.right ? 'right' : undefined}>{c.name}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((r, i) => (
            <Table.Tr key={keyOf(r, i)} aria-current={picked?.(r) || undefined}>
              {shown.map((c) => (
                <Table.Td key={c.name} ta={c.right ? 'right' : undefined} style={c.max ? { maxWidth: c.max } : undefined}>{c.of(r)}</Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Wide>
  );
}
