import { Text } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { amountText } from '../../data';
import { Id, Money, State } from '../../parts';
import { useWords } from '../../words/words';
import classes from './payments.module.css';
import type { Timeline } from './types';
import words from './words.json';

type Book = { name: string; sum: bigint; passed: bigint };

/** booksOf adds the postings up by book, exactly. */
function booksOf(of: Timeline): Book[] {
  const all = new Map<string, Book>();
  const book = (name: string) => {
    let b = all.get(name);
    if (!b) all.set(name, (b = { name, sum: 0n, passed: 0n }));
    return b;
  };
  for (const m of of.moves)
    for (const p of m.postings) {
      const n = BigInt(p.amount);
      book(p.debit).sum -= n;
      const to = book(p.credit);
      to.sum += n;
      to.passed += n;
    }
  return [...all.values()];
}

/** Flow draws which books the money left and which it reached; together it is zero. */
export function Flow({ of }: { of: Timeline }) {
  const t = useWords(words);
  const { ref, width } = useElementSize();
  const books = booksOf(of);
  const asset = of.payment.asset;
  if (books.length === 0) return <Text size="sm" c="dimmed">{t('flow_none')}</Text>;
  const left = books.filter((b) => b.sum < 0n);
  const reached = books.filter((b) => b.sum > 0n);
  const through = books.filter((b) => b.sum === 0n);
  const zero = books.reduce((n, b) => n + b.sum, 0n) === 0n;
  const total = reached.reduce((n, b) => n + b.sum, 0n);
  const says = left.length === 0 ? t('flow_back', { n: through.length }) : t('flow_says', { amount: amountText(total, asset), from: left.map((b) => b.name).join(', '), to: reached.map((b) => b.name).join(', ') });
  const high = 64;
  const part = (n: bigint) => (total === 0n ? 0 : (Number((n * 10_000n) / total) / 10_000) * high);
  const w = Math.max(width, 200);
  const bands: { y1: number; y2: number; h: number; key: string }[] = [];
  // What left is laid against what was reached, in order.
  let i = 0, j = 0, leftOver = left[0] ? -left[0].sum : 0n, wanted = reached[0]?.sum ?? 0n, y1 = 0, y2 = 0;
  while (i < left.length && j < reached.length) {
    const n = leftOver < wanted ? leftOver : wanted;
    const h = Math.max(2, part(n));
    bands.push({ y1: y1 + i * 22, y2: y2 + j * 22, h, key: `${i}-${j}` });
    y1 += part(n);
    y2 += part(n);
    leftOver -= n;
    wanted -= n;
    if (leftOver === 0n) leftOver = left[++i] ? -left[i]!.sum : 0n;
    if (wanted === 0n) wanted = reached[++j]?.sum ?? 0n;
  }
  const height = high + Math.max(left.length, reached.length) * 22;
  return (
    <div ref={ref}>
      <Text size="sm" mb="xs">{says}</Text>
      {width > 0 && left.length > 0 && (
        <div className={classes.flow}>
          <ul>{left.map((b) => <li key={b.name}><BookName name={b.name} /><Money amount={b.sum} asset={asset} strong /></li>)}</ul>
          <svg width={Math.max(60, w * 0.3)} height={height} viewBox={`0 0 100 ${height}`} preserveAspectRatio="none" role="img" aria-label={says}>
            {bands.map((b) => <path key={b.key} d={`M0 ${b.y1} C50 ${b.y1} 50 ${b.y2} 100 ${b.y2} L100 ${b.y2 + b.h} C50 ${b.y2 + b.h} 50 ${b.y1 + b.h} 0 ${b.y1 + b.h} Z`} />)}
          </svg>
          <ul>{reached.map((b) => <li key={b.name}><BookName name={b.name} /><Money amount={b.sum} asset={asset} strong /></li>)}</ul>
        </div>
      )}
      <div className={classes.facts}>
        {through.length > 0 && <Text size="sm" c="dimmed">{t('flow_through', { books: through.map((b) => b.name).join(', ') })}</Text>}
        <State tone={zero ? 'good' : 'bad'}>{t(zero ? 'flow_zero' : 'flow_off')}</State>
      </div>
      <details className={classes.story}>
        <summary>{t('postings')}</summary>
        <div className={classes.scroll} tabIndex={0} role="region" aria-label={t('postings')}>
          <table className={classes.plain}>
            <thead>
              <tr>{['transfer', 'debit', 'credit', 'amount', 'debit_after', 'credit_after'].map((k) => <th key={k} scope="col">{t.maybe(`col_${k}`)}</th>)}</tr>
            </thead>
            <tbody>
              {of.moves.flatMap((m) => m.postings).map((p) => (
                <tr key={p.transfer}>
                  <td>{p.transfer}</td>
                  <td><BookName name={p.debit} /></td>
                  <td><BookName name={p.credit} /></td>
                  <td><Money amount={p.amount} asset={asset} /></td>
                  <td><Money amount={p.debit_balance} asset={asset} /></td>
                  <td><Money amount={p.credit_balance} asset={asset} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </div>
  );
}

/** BookName is a book: an account's, available or held, or one of ours. */
function BookName({ name }: { name: string }) {
  const t = useWords(words);
  const m = /^(acct_[0-9A-Z]{13}):(available|held)$/.exec(name);
  return m ? <span><Id id={m[1]!} /> {t(m[2] === 'held' ? 'book_held' : 'book_available')}</span> : <span className={classes.mono}>{name}</span>;
}
