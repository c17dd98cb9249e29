// T-accounts: what left one account and reached another. Both sides are the same amount,
// so that together they are zero.
import { amountText } from '../data';
import { useWords } from '../words/words';
import { Id } from './small';
import classes from './taccount.module.css';

export type TSide = { account?: string; name: string; book?: string; balance?: string };

/** TAccounts draws one movement: amount leaves debit and reaches credit. */
export function TAccounts({ debit, credit, amount, asset, says }: { debit: TSide; credit: TSide; amount: string; asset: string; says: { out: string; in: string; after: string; zero: string } }) {
  const t = useWords();
  const text = amountText(amount, asset);
  const side = (s: TSide, sign: '\u2212' | '+', what: string) => (
    <div className={classes.side}>
      <div className={classes.head}>
        <strong>{s.name || '—'}</strong>
        {s.book && <span className={classes.dim}>{s.book}</span>}
      </div>
      {s.account && <Id id={s.account} link={false} />}
      <div className={classes.amount}>
        <span>{what}</span>
        <span className={classes.figure}>{sign}{text}</span>
      </div>
      {s.balance !== undefined && (
        <div className={classes.after}>
          <span>{says.after}</span>
          <span className={classes.figure}>{amountText(s.balance, asset)}</span>
        </div>
      )}
    </div>
  );
  return (
    <div className={classes.t} role="group" aria-label={`${debit.name} → ${credit.name}, ${text}`} lang={t.lang === 'zh' ? 'zh-CN' : 'en'}>
      {side(debit, '\u2212', says.out)}
      <svg className={classes.arrow} width="56" height="28" viewBox="0 0 56 28" aria-hidden focusable="false">
        <path d="M2 14h46" stroke="currentColor" strokeWidth="5" strokeLinecap="round" opacity="0.35" />
        <path d="M42 7l9 7-9 7" fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" strokeLinejoin="round" />
      </svg>
      {side(credit, '+', says.in)}
      <div className={classes.zero}>{says.zero}</div>
    </div>
  );
}
