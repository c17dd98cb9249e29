// What a screen shows besides its picture: the sentence on top, and every way of having
// nothing to show, each with what to do.
import { Button, Group, Paper, Skeleton, Stack, Text } from '@mantine/core';
import { Component, type ErrorInfo, type ReactNode } from 'react';
import { NETWORK, Problem as ProblemError, type Result } from '../data';
import { useWords } from '../words/words';
import { Mark, CopyButton, useSpan, type Tone } from './small';
import classes from './parts.module.css';

/** Sentence is the one plain sentence on top of a screen: what is, in words. With an age it
 * is what was, and nothing is well that nobody can see. */
export function Sentence({ tone, age = null, children }: { tone: Tone; age?: number | null; children: ReactNode }) {
  const t = useWords();
  const span = useSpan();
  return (
    <div className={classes.sentence} role="status" aria-live="polite">
      <Mark tone={age !== null && tone === 'good' ? 'idle' : tone} size={18} />
      <Text component="p" className={classes.sentenceText}>
        {children}
        {age !== null && ` ${t('was_so', { age: span('ago', age) })}`}
      </Text>
    </div>
  );
}

/** Title is the heading of a screen with what belongs to its right. */
export function Title({ children, right }: { children: ReactNode; right?: ReactNode }) {
  return (
    <Group justify="space-between" align="center" gap="sm" className={classes.title}>
      <h1 className={classes.h1}>{children}</h1>
      {right && <Group gap="xs">{right}</Group>}
    </Group>
  );
}

/** Panel is a part of a screen with a heading. */
export function Panel({ title, right, children, pad = true }: { title?: ReactNode; right?: ReactNode; children: ReactNode; pad?: boolean }) {
  return (
    <Paper component="section" withBorder radius="md" className={classes.panel} p={pad ? 'md' : 0}>
      {(title || right) && (
        <Group justify="space-between" gap="xs" mb={pad ? 'sm' : 0} p={pad ? 0 : 'md'}>
          <h2 className={classes.h2}>{title}</h2>
          {right}
        </Group>
      )}
      {children}
    </Paper>
  );
}

/** Wide holds what may be wider than the screen, such as a table: it scrolls by itself,
 * also by keyboard. */
export function Wide({ label, least, children }: { label: string; least?: number; children: ReactNode }) {
  return (
    <div className={classes.wide} tabIndex={0} role="region" aria-label={label}>
      <div style={{ minWidth: least }}>{children}</div>
    </div>
  );
}

/** Empty says that there is nothing, why that may be, and what to do. */
export function Empty({ title, children, action, tone = 'idle' }: { title: ReactNode; children?: ReactNode; action?: ReactNode; tone?: Tone }) {
  return (
    <Stack align="center" gap={6} className={classes.empty}>
      <Mark tone={tone} size={22} />
      <Text fw={600}>{title}</Text>
      {children && (
        <Text size="sm" className={classes.dim} ta="center" maw={520}>
          {children}
        </Text>
      )}
      {action}
    </Stack>
  );
}

/** Loading stands where an answer will be. */
export function Loading({ rows = 4 }: { rows?: number }) {
  const t = useWords();
  return (
    <Stack gap="xs" role="status" aria-label={t('loading')} className={classes.late} data-loading>
      {Array.from({ length: rows }, (_, i) => (
        <Skeleton key={i} height={14} width={`${90 - ((i * 17) % 40)}%`} animate={false} />
      ))}
    </Stack>
  );
}

/** Stale says that the pay plane is gone and how old what is shown is. */
export function Stale({ age }: { age: number | null }) {
  const t = useWords();
  const span = useSpan();
  if (age === null) return null;
  return (
    <div className={classes.stale} role="status">
      <Mark tone="wait" size={14} />
      {t('stale', { age: span('for', age) })}
    </div>
  );
}

/** Problem shows why something did not work and what to do about it. */
export function Problem({ of, again }: { of: unknown; again?: () => void }) {
  const t = useWords();
  const p = of instanceof ProblemError ? of : new ProblemError('', 0, { code: 'page', detail: String(of) });
  const title = p.code === NETWORK ? t('problem_network') : (t.lang === 'zh' && p.titleZh) || p.title || p.detail || `HTTP ${p.status}`;
  const what =
    p.code === NETWORK
      ? t('problem_do_network')
      : p.status === 401
        ? t('problem_do_signed_out')
        : p.retry
          ? t(`problem_do_${p.retry}`)
          : p.status >= 500
            ? t('problem_do_after')
            : undefined;
  return (
    <div className={classes.problem} role="alert">
      <Mark tone="wait" size={16} />
      <Stack gap={4} style={{ minWidth: 0 }}>
        <Text fw={600}>{title}</Text>
        {p.detail && p.detail !== title && <Text size="sm">{p.detail}</Text>}
        {p.moneyState && p.moneyState !== 'not_moved' && <Text size="sm" fw={600}>{t(`problem_moved_${p.moneyState}`)}</Text>}
        {what && <Text size="sm" className={classes.dim}>{what}</Text>}
        <Group gap="xs" mt={4}>
          {again && (
            <Button size="compact-sm" variant="default" onClick={again}>
              {t('again')}
            </Button>
          )}
          {p.traceId && (
            <Text size="xs" className={classes.dim}>
              {t('trace')} <span className={classes.mono}>{p.traceId}</span>
            </Text>
          )}
          <CopyButton label={t('problem_report')} text={JSON.stringify({ path: p.path, status: p.status, code: p.code, detail: p.detail, trace: p.traceId, at: new Date().toISOString() }, null, 1)} />
        </Group>
      </Stack>
    </div>
  );
}

/** Shown is the way to show an answer: its age when old, the problem when there is none,
 * the problem above the former answer when there is one, and otherwise the answer. Quiet is
 * for what stands beside something that tells the age. */
export function Shown<T>({ of, rows, quiet, children }: { of: Result<T>; rows?: number; quiet?: boolean; children: (data: T) => ReactNode }) {
  if (of.data === undefined) return of.problem ? <Problem of={of.problem} again={of.refetch} /> : <Loading rows={rows} />;
  return (
    <>
      {!quiet && <Stale age={of.age} />}
      {of.problem && <Problem of={of.problem} again={of.refetch} />}
      {children(of.data)}
    </>
  );
}

function Broken({ error }: { error: unknown }) {
  const t = useWords();
  return (
    <div className={classes.problem} role="alert">
      <Mark tone="bad" size={16} />
      <Stack gap={4}>
        <Text fw={600}>{t('problem_broken')}</Text>
        <Text size="sm" className={classes.dim}>{t('problem_broken_do')}</Text>
        <Text size="xs" className={classes.mono}>{String(error)}</Text>
        <Button size="compact-sm" variant="default" onClick={() => location.reload()} style={{ alignSelf: 'start' }}>
          {t('again')}
        </Button>
      </Stack>
    </div>
  );
}

/** Fence keeps what breaks in one place from taking the page with it. */
export class Fence extends Component<{ children: ReactNode; name?: string }, { error: unknown }> {
  override state = { error: undefined as unknown };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override componentDidCatch(error: unknown, info: ErrorInfo) {
    console.error(error, info.componentStack);
  }

  override render() {
    return this.state.error === undefined ? this.props.children : <Broken error={this.state.error} />;
  }
}
