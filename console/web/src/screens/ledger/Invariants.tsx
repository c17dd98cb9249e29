// What must hold of money, as a strip: each with its mark, when it was last asked, the sum
// of all books, and the last recount that was signed.
import { Tooltip } from '@mantine/core';
import { amountText, useLook, usePay } from '../../data';
import { Go, Mark, Sentence, Shown, useSpan, When } from '../../parts';
import { useWords } from '../../words/words';
import classes from './ledger.module.css';
import words from './words.json';

type Check = { name: string; about: { en: string; zh: string }; logs: string[]; open: number; ever: number; break?: number };
type Standing = {
  at: string;
  turned_at?: string;
  turn_age_s?: number;
  logs: { log: string; newest: number; head: number; swept: number }[];
  checks: Check[];
  sums: { asset: string; sum: string; accounts: number }[];
};
type Proofs = { key: string; proofs: { file: string; genuine: boolean; why?: string; at?: string; verdict?: 'clean' | 'incomplete' | 'faults'; fault_count: number; sha256?: string }[] };

/** A check that does not run proves nothing: docs/invariants.md pages after so long. */
const silent = 60;

export function Invariants() {
  const t = useWords(words);
  const span = useSpan();
  const standing = usePay<Standing>('/v1/invariants', { every: 5_000, keep: true });
  const proofs = useLook<Proofs>('/books/proofs', { every: 30_000, keep: true });
  const s = standing.data;
  if (!s) return <Shown of={standing} rows={2}>{() => null}</Shown>;
  const broken = s.checks.filter((c) => c.open > 0);
  const off = s.sums.filter((x) => x.sum !== '0');
  const late = s.turn_age_s === undefined || s.turn_age_s > silent;
  const asked = s.turned_at === undefined ? t('never') : span('ago', s.turn_age_s ?? 0);
  const accounts = s.sums.reduce((n, x) => n + x.accounts, 0);
  return (
    <>
      {off.length > 0 ? (
        <Sentence tone="bad" age={standing.age}>{t('says_off', { sums: off.map((x) => amountText(x.sum, x.asset)).join(', ') })}</Sentence>
      ) : broken.length > 0 ? (
        <Sentence tone="bad" age={standing.age}>{t('says_broken', { which: broken.map((c) => c.name).join(', '), n: broken.length })}</Sentence>
      ) : late ? (
        <Sentence tone="wait" age={standing.age}>{t('says_late', { age: asked })}</Sentence>
      ) : (
        <Sentence tone="good" age={standing.age}>{t('says_well', { accounts, n: s.checks.length, age: asked })}</Sentence>
      )}
      <ul className={classes.strip} aria-label={t('strip')}>
        {s.sums.map((x) => (
          <li key={x.asset} className={classes.chip} data-testid={`sum-${x.asset}`}>
            <Mark tone={x.sum === '0' ? 'good' : 'bad'} /> {t('sum', { asset: x.asset })} <strong>{amountText(x.sum, x.asset)}</strong>
          </li>
        ))}
        {s.checks.map((c) => (
          <li key={c.name} className={classes.chip}>
            <Tooltip label={`${c.about[t.lang]}. ${t('swept', { logs: c.logs.map((l) => sweep(s, l)).join(', ') })}`} multiline maw={320} events={{ hover: true, focus: true, touch: true }}>
              <span tabIndex={0} role="note" aria-label={`${c.name}: ${c.about[t.lang]}. ${c.open > 0 ? t('broken_n', { n: c.open }) : t('holds')}`} className={classes.chipIn}>
                <Mark tone={c.open > 0 ? 'bad' : late ? 'wait' : 'good'} /> {c.name}
              </span>
            </Tooltip>
            {c.break ? <Go to={`/recon/breaks/${c.break}`}>{t('broken_n', { n: c.open })}</Go> : null}
          </li>
        ))}
        <Proved of={proofs.data} />
      </ul>
    </>
  );
}

const sweep = (s: Standing, log: string) => {
  const l = s.logs.find((x) => x.log === log);
  return l ? `${log} ${l.head}/${l.newest}` : log;
};

function Proved({ of }: { of?: Proofs }) {
  const t = useWords(words);
  const p = of?.proofs[0];
  if (!of) return null;
  if (!p) return <li className={classes.chip}><Mark tone="idle" /> {t('no_proof')}</li>;
  if (!p.genuine) return <li className={classes.chip}><Mark tone="bad" /> {t('forged', { file: p.file, why: p.why ?? '' })}</li>;
  return (
    <li className={classes.chip} title={p.sha256}>
      <Mark tone={p.verdict === 'clean' ? 'good' : p.verdict === 'faults' ? 'bad' : 'wait'} /> {t(`proof_${p.verdict ?? 'incomplete'}`, { n: p.fault_count })} <When at={p.at} />
    </li>
  );
}
