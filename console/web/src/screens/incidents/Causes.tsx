import { Code, Collapse, Group, Stack, Text, UnstyledButton } from '@mantine/core';
import { useState } from 'react';
import { CopyButton, Empty, Mark, Panel, When } from '../../parts';
import { useWords } from '../../words/words';
import classes from './room.module.css';
import type { Evident, Judged, Room, Suspect } from './types';
import words from './words.json';

export const percent = (x: number) => (x > 0 && x < 0.01 ? '<1 %' : x > 0.99 && x < 1 ? '>99 %' : `${Math.round(100 * x)} %`);

/** Causes are the suspects as bars, and what speaks for and against each. */
export function Causes({ r }: { r: Room }) {
  const t = useWords(words);
  const a = r.answer;
  return (
    <Panel title={t('causes')} right={a && <Text size="sm" c="dimmed">{t('answered')} <When at={a.at} stamp={false} /></Text>}>
      {!a || a.ranked.length === 0 ? (
        <Empty title={t('no_answer')}>{t('no_answer_why')}</Empty>
      ) : (
        <Stack gap={0}>
          {a.ranked.slice(0, 6).map((h, i) => <One key={`${h.node}${h.mechanism}`} h={h} a={a} first={i === 0} />)}
          {a.also.length > 0 && (
            <Text size="sm" mt="xs"><strong>{t('also')}</strong> {a.also.map((h) => `${h.node}: ${h.what} (${percent(h.posterior)})`).join('; ')}</Text>
          )}
        </Stack>
      )}
      <Alarms r={r} />
      {a && a.next[0] && !r.closed_at && <Next a={a} />}
      {r.cause && r.cause.never.length > 0 && (
        <Stack gap={4} mt="md">
          <Text size="sm" fw={600}>{t('never')}</Text>
          {r.cause.never.map((n) => (
            <Group key={n} gap={8} wrap="nowrap" align="flex-start"><span style={{ paddingTop: 3 }}><Mark tone="bad" /></span><Text size="sm">{n}</Text></Group>
          ))}
        </Stack>
      )}
    </Panel>
  );
}

function One({ h, a, first }: { h: Suspect; a: Judged; first: boolean }) {
  const t = useWords(words);
  const mine = (l: Evident) => l.node === h.node && (l.mechanism === h.mechanism || l.mechanism === '');
  const yes = a.for.filter(mine);
  const no = a.against.filter(mine);
  const [open, setOpen] = useState(first);
  const still = yes.length + no.length === 0;
  const name = h.node === '' ? h.what : `${h.node}: ${h.what}`;
  return (
    <div className={classes.suspect}>
      <UnstyledButton className={classes.suspectHead} onClick={() => !still && setOpen(!open)} aria-expanded={still ? undefined : open} data-still={still ? '' : undefined}>
        <span className={classes.what}>{name}</span>
        <span className={classes.share}>{percent(h.posterior)}</span>
        <span className={classes.bar} data-quiet={first && a.verdict === 'cause' ? undefined : ''} aria-hidden>
          <span style={{ width: `${Math.max(0.5, 100 * h.posterior)}%` }} />
        </span>
        <span className={classes.small}>
          {[h.explains > 0 ? t('explains', { share: percent(h.explains) }) : '', still ? '' : t('evidence_n', { yes: yes.length, no: no.length })].filter(Boolean).join(' · ')}
        </span>
      </UnstyledButton>
      <Collapse expanded={open && !still}>
        <ul className={classes.lines} aria-label={t('evidence_of', { name })}>
          {yes.map((l, i) => <Line key={`y${i}`} l={l} />)}
          {no.map((l, i) => <Line key={`n${i}`} l={l} against />)}
        </ul>
        {h.details && Object.keys(h.details).length > 0 && (
          <Text size="sm" c="dimmed" mt={8} style={{ overflowWrap: 'anywhere' }}>
            {Object.entries(h.details).slice(0, 8).map(([k, v]) => `${k} ${v}`).join(' · ')}
          </Text>
        )}
      </Collapse>
    </div>
  );
}

function Line({ l, against }: { l: Evident; against?: boolean }) {
  const t = useWords(words);
  const weight = l.likelihood_ratio >= 1 ? l.likelihood_ratio : 1 / Math.max(l.likelihood_ratio, 1e-6);
  return (
    <li className={classes.line} title={l.query}>
      <span className={classes.dot} data-against={against ? '' : undefined} role="img" aria-label={t(against ? 'speaks_against' : 'speaks_for')} />
      <Text size="sm">{l.text}</Text>
      <span className={classes.weight}>{t(against ? 'weight_against' : 'weight_for', { n: weight >= 10 ? Math.round(weight) : weight.toFixed(1) })}</span>
    </li>
  );
}

function Alarms({ r }: { r: Room }) {
  const t = useWords(words);
  if (r.alarms.length === 0) return null;
  return (
    <Stack gap={6} mt="md">
      <Text size="sm" fw={600}>{t('alarms')}</Text>
      {r.alarms.map((a) => (
        <Group key={`${a.rule}${a.hop}${a.code}`} gap={8} wrap="nowrap" align="flex-start">
          <span style={{ paddingTop: 3 }}><Mark tone={a.page ? 'bad' : 'wait'} /></span>
          <Text size="sm">
            <strong>{a.hop}</strong> {a.text}
            {a.explained_by && <Text span size="sm" c="dimmed"> {t('follows', { hop: a.explained_by })}</Text>}
          </Text>
        </Group>
      ))}
    </Stack>
  );
}

function Next({ a }: { a: Judged }) {
  const t = useWords(words);
  const c = a.next[0];
  if (!c) return null;
  return (
    <Stack gap={4} mt="md">
      <Text size="sm" fw={600}>{t('next_check')}</Text>
      <Text size="sm">{c.node}: {c.text} <Text span size="sm" c="dimmed">{t('next_cost', { s: c.cost_s, bits: c.gain_bits.toFixed(2) })}</Text></Text>
      {c.run && (
        <Group gap={4} wrap="nowrap" align="flex-start">
          <Code block style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere', flex: 1, maxHeight: 140, overflow: 'auto' }} tabIndex={0}>{c.run}</Code>
          <CopyButton text={c.run} />
        </Group>
      )}
      {(c.yes || c.no) && <Text size="sm" c="dimmed">{t('next_yes', { yes: c.yes, no: c.no })}</Text>}
    </Stack>
  );
}
