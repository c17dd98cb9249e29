import { Fragment } from 'react';
import { Money } from '../../parts';

/** Worth is what a pile is worth, asset by asset: sums of two assets are none. */
export function Worth({ value, most = 2 }: { value: Record<string, string>; most?: number }) {
  const all = Object.entries(value).sort(([a], [b]) => a.localeCompare(b));
  return (
    <>
      {all.slice(0, most).map(([asset, amount], i) => (
        <Fragment key={asset}>
          {i > 0 && ' + '}
          <Money amount={amount} asset={asset} />
        </Fragment>
      ))}
      {all.length > most && ' + …'}
    </>
  );
}
