// The small pieces that every screen uses.
import { ActionIcon, Code, Group, Tooltip, UnstyledButton } from '@mantine/core';
import { useClipboard } from '@mantine/hooks';
import { Link } from '@tanstack/react-router';
import type { CSSProperties, ReactNode } from 'react';
import { amountText } from '../data';
import { useWords } from '../words/words';
import { IconCheck, IconCopy, IconTerminal } from './icons';
import { whereIs } from './screen';
import classes from './parts.module.css';
import { useTick } from './tick';
import { momentText, spanOf } from './time';

/** Go is a link within the console. */
export function Go({ to, children, className, style }: { to: string; children: ReactNode; className?: string; style?: CSSProperties }) {
  const [path = '/', query = ''] = to.split('?');
  return (
    <Link to={path as never} search={Object.fromEntries(new URLSearchParams(query)) as never} className={className ?? classes.link} style={style}>
      {children}
    </Link>
  );
}

/** Money shows an amount: a text of smallest units, never a Number. */
export function Money({ amount, asset, strong }: { amount: string | bigint; asset: string; strong?: boolean }) {
  return (
    <span className={classes.figure} style={strong ? { fontWeight: 600 } : undefined}>
      {amountText(amount, asset)}
    </span>
  );
}

/** useSpan says a number of seconds: span('for', 90) is "90 s". */
export function useSpan() {
  const t = useWords();
  return (how: 'for' | 'ago' | 'in', seconds: number) => {
    const { unit, n } = spanOf(seconds);
    return t(`${how}_${unit}`, { n });
  };
}

/** When shows a moment, absolute and with its zone, and how long ago it was. */
export function When({ at, age = true, stamp = true }: { at: string | number | Date | null | undefined; age?: boolean; stamp?: boolean }) {
  const tick = useTick();
  const t = useWords();
  const span = useSpan();
  if (at === null || at === undefined || at === '') return <span className={classes.dim}>—</span>;
  const ms = new Date(at).getTime();
  const s = (tick - ms) / 1000;
  const since = s >= 0 ? span('ago', s) : span('in', -s);
  return (
    <time dateTime={new Date(ms).toISOString()} title={new Date(ms).toISOString()} className={classes.figure}>
      {stamp && momentText(ms, t.lang, tick)}
      {stamp && age && ' '}
      {age && <span className={stamp ? classes.dim : undefined}>{stamp ? `(${since})` : since}</span>}
    </time>
  );
}

/** Ago is a duration since a moment, turning. */
export function Ago({ at }: { at: string | number | Date }) {
  return <When at={at} stamp={false} />;
}

/** CopyButton copies a text. */
export function CopyButton({ text, label }: { text: string; label?: string }) {
  const t = useWords();
  const clip = useClipboard({ timeout: 1500 });
  const name = clip.copied ? t('copied') : (label ?? t('copy'));
  return (
    <Tooltip label={name} events={{ hover: true, focus: true, touch: false }}>
      <ActionIcon variant="subtle" color="gray" size="sm" onClick={() => clip.copy(text)} aria-label={name}>
        {clip.copied ? <IconCheck width={14} height={14} /> : <IconCopy width={14} height={14} />}
      </ActionIcon>
    </Tooltip>
  );
}

/** Id shows an id shortly, copies it whole, and leads to its screen when there is one. */
export function Id({ id, whole, link = true }: { id: string; whole?: boolean; link?: boolean }) {
  const to = link ? whereIs(id) : undefined;
  const short = whole || id.length <= 16 ? id : `${id.slice(0, 8)}…${id.slice(-5)}`;
  const text = <span className={classes.mono}>{short}</span>;
  return (
    <span className={classes.id} title={id}>
      {to ? <Go to={to}>{text}</Go> : text}
      <CopyButton text={id} />
    </span>
  );
}

export type Tone = 'good' | 'wait' | 'bad' | 'idle' | 'info';

const shapes: Record<Tone, ReactNode> = {
  good: <path d="M2.5 6.5l2.5 2.5 4.5-5.5" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" strokeLinejoin="round" />,
  wait: <><circle cx="6" cy="6" r="4.2" fill="none" stroke="currentColor" strokeWidth="1.6" /><path d="M6 3.8V6l1.5 1" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" /></>,
  bad: <path d="M6 1.5l5 9H1z" fill="currentColor" />,
  idle: <path d="M2.5 6h7" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" />,
  info: <circle cx="6" cy="6" r="3" fill="currentColor" />,
};

/** Mark is the shape of a tone: colour is never alone. */
export function Mark({ tone, size = 12 }: { tone: Tone; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 12 12" aria-hidden focusable="false" className={classes[`tone_${tone}`]} style={{ flex: 'none' }}>
      {shapes[tone]}
    </svg>
  );
}

/** State is a badge: a shape, a colour and a word. */
export function State({ tone, children }: { tone: Tone; children: ReactNode }) {
  return (
    <span className={`${classes.state} ${classes[`tone_${tone}`]}`}>
      <Mark tone={tone} />
      {children}
    </span>
  );
}

/** Twin is the command that shows or does the same. */
export function Twin({ cmd }: { cmd: string }) {
  const t = useWords();
  return (
    <Group gap={6} wrap="nowrap" className={classes.twin} aria-label={t('cli_twin')} role="group">
      <IconTerminal width={14} height={14} />
      <Code className={classes.code}>{cmd}</Code>
      <CopyButton text={cmd} />
    </Group>
  );
}

/** Plain is a button that looks like text. */
export function Plain({ onClick, children }: { onClick: () => void; children: ReactNode }) {
  return (
    <UnstyledButton className={classes.link} onClick={onClick}>
      {children}
    </UnstyledButton>
  );
}
