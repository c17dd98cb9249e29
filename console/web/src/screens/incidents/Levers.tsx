import { Button, Group, NativeSelect, Stack, Text, TextInput, Textarea } from '@mantine/core';
import { useState } from 'react';
import { useDo, useLook } from '../../data';
import { Panel, Problem, Shown, Twin, When, useTick } from '../../parts';
import { useWords } from '../../words/words';
import classes from './room.module.css';
import type { Lever, Levers } from './types';
import words from './words.json';

/** Containment is what holds and until when, and a way to hold more back: first what it
 * would concern, then the click. */
export function Containment({ incident, suspect, open, mayAct }: { incident: string; suspect?: string; open: boolean; mayAct: boolean }) {
  const t = useWords(words);
  const levers = useLook<Levers>('/levers', { every: 3000, keep: true });
  const [form, setForm] = useState(false);
  return (
    <Panel title={t('containment')} right={open && mayAct && !form && <Button size="compact-sm" variant="default" onClick={() => setForm(true)}>{t('hold_back')}</Button>}>
      <Shown of={levers} rows={2}>
        {(all) => (
          <Stack gap="sm">
            {all.silent && <Text size="sm" className={classes.small}>{t('levers_silent', { all: all.kinds.filter((k) => k.local).map((k) => k.lever).join(', ') })}</Text>}
            {all.held.length === 0 ? <Text size="sm" c="dimmed">{t('none_held')}</Text> : all.held.map((l) => <Held key={l.id} l={l} mayAct={mayAct} again={levers.refetch} />)}
            {form && <Pull all={all} incident={incident} suspect={suspect} done={() => { setForm(false); levers.refetch(); }} />}
          </Stack>
        )}
      </Shown>
    </Panel>
  );
}

const clock = (s: number) => (s >= 3600 ? `${Math.floor(s / 3600)}:` : '') + `${String(Math.floor((s % 3600) / 60)).padStart(s >= 3600 ? 2 : 1, '0')}:${String(s % 60).padStart(2, '0')}`;

function Held({ l, mayAct, again }: { l: Lever; mayAct: boolean; again: () => void }) {
  const t = useWords(words);
  const tick = useTick();
  const left = Math.max(0, Math.round((new Date(l.expires_at).getTime() - tick) / 1000));
  const undo = useDo<Lever>(() => ({ path: `/api/look/levers/${l.id}?lang=${t.lang}&reason=${encodeURIComponent(t('let_go_reason'))}`, method: 'DELETE' }), ['/api/look/levers']);
  return (
    <div className={classes.held}>
      <Group justify="space-between" gap="xs">
        <Text fw={600}>{l.lever} <Text span size="sm" c="dimmed">{l.aim}{l.value && l.lever !== 'banner' ? ` ${l.value}` : ''}</Text></Text>
        <Text size="sm">{t('ends_in')} <span className={classes.countdown} role="timer" aria-label={t('ends_in')}>{clock(left)}</span></Text>
      </Group>
      {l.lever === 'banner' && l.value && <Text size="sm" mt={2}>“{l.value}”</Text>}
      <Text size="sm" c="dimmed" mt={2} style={{ overflowWrap: 'anywhere' }}>{l.reason}</Text>
      <Group justify="space-between" gap="xs" mt={4}>
        <Text size="xs" c="dimmed">{t('pulled_by', { who: l.by })} <When at={l.pulled_at} stamp={false} />{l.via === 'file' && ` · ${t('by_file')}`}</Text>
        {mayAct && <Button size="compact-xs" variant="default" loading={undo.isPending} onClick={() => undo.mutate(undefined, { onSuccess: again })}>{t('let_go')}</Button>}
      </Group>
      {undo.error && <Problem of={undo.error} />}
    </div>
  );
}

function Pull({ all, incident, suspect, done }: { all: Levers; incident: string; suspect?: string; done: () => void }) {
  const t = useWords(words);
  const [lever, setLever] = useState('pause-dispatch');
  // As little as possible: the bank that is suspected, where one is.
  const [aim, setAim] = useState(suspect && all.channels.includes(suspect) ? `channel:${suspect}` : 'everything');
  const [value, setValue] = useState('');
  const [valueZH, setValueZH] = useState('');
  const [minutes, setMinutes] = useState('30');
  const [reason, setReason] = useState('');
  const kind = all.kinds.find((k) => k.lever === lever);
  const aims = (kind?.aims ?? []).flatMap((a) => (a === 'everything' ? ['everything'] : a === 'channel' ? all.channels.map((c) => `channel:${c}`) : a === 'kind' ? ['kind:payout', 'kind:deposit', 'kind:send'] : []));
  const order = { lever, aim: aims.includes(aim) ? aim : (aims[0] ?? 'everything'), ...(value ? { value } : {}), ...(valueZH ? { value_zh: valueZH } : {}), reason: `${reason} (${incident})`, for_s: 60 * Number(minutes) };
  const pull = useDo<Lever, boolean>((dry) => ({ path: `/api/look/levers?lang=${t.lang}`, body: { ...order, ...(dry ? { dry_run: true } : {}) } }), ['/api/look/levers']);
  const shown = JSON.stringify(order);
  const [seen, setSeen] = useState<{ of: string; got: Lever } | null>(null);
  const preview = seen?.of === shown ? seen.got : null;
  const needsValue = !!kind?.value.en && lever !== 'safe-mode';
  const ready = reason.trim() !== '' && (!needsValue || value.trim() !== '') && (lever !== 'banner' || valueZH.trim() !== '');
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        if (preview) pull.mutate(false, { onSuccess: done });
        else pull.mutate(true, { onSuccess: (got) => setSeen({ of: shown, got }) });
      }}
    >
      <Stack gap="xs">
        <NativeSelect label={t('lever')} value={lever} onChange={(e) => { setLever(e.currentTarget.value); setValue(''); setValueZH(''); }} data={all.kinds.map((k) => ({ value: k.lever, label: `${k.lever} (${k.class})` }))} description={kind?.does[t.lang]} />
        <NativeSelect label={t('aim')} value={order.aim} onChange={(e) => setAim(e.currentTarget.value)} data={aims} />
        {needsValue && (lever === 'banner' ? (
          <>
            <Textarea label={t('banner_en')} value={value} onChange={(e) => setValue(e.currentTarget.value)} autosize minRows={2} maxLength={400} />
            <Textarea label={t('banner_zh')} value={valueZH} onChange={(e) => setValueZH(e.currentTarget.value)} autosize minRows={2} maxLength={160} />
          </>
        ) : (
          <TextInput label={t('value')} description={kind?.value[t.lang]} value={value} onChange={(e) => setValue(e.currentTarget.value)} />
        ))}
        <NativeSelect label={t('for')} value={minutes} onChange={(e) => setMinutes(e.currentTarget.value)} data={['5', '15', '30', '60', '120'].map((m) => ({ value: m, label: t('minutes', { n: m }) }))} />
        <TextInput label={t('reason')} value={reason} onChange={(e) => setReason(e.currentTarget.value)} maxLength={300} />
        {pull.error && <Problem of={pull.error} />}
        {preview && (
          <div className={classes.preview} role="status">
            <Text size="sm" fw={600}>{t('would_hold')}</Text>
            <Text size="sm">
              {preview.radius?.open_payments != null || preview.radius?.per_minute != null
                ? [preview.radius?.open_payments != null ? t('radius_open', { n: preview.radius.open_payments }) : '', preview.radius?.per_minute != null ? t('radius_rate', { n: preview.radius.per_minute }) : ''].filter(Boolean).join(t.lang === 'zh' ? ',' : ', ')
                : t('radius_unknown')}
            </Text>
            <Text size="sm" c="dimmed">{t('ends_by_itself')} <When at={preview.expires_at} /></Text>
          </div>
        )}
        <Group gap="xs">
          <Button type="submit" disabled={!ready} loading={pull.isPending} color={preview ? 'orange' : undefined}>{preview ? t('pull_now', { lever }) : t('preview')}</Button>
          <Button variant="subtle" color="gray" onClick={done}>{t('cancel')}</Button>
        </Group>
        <Twin cmd={`moneta lever pull ${lever} --aim ${order.aim} --for ${minutes}m --reason … --dry-run`} />
      </Stack>
    </form>
  );
}
