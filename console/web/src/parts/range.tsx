import { Button, Group, Popover, Stack, TextInput } from '@mantine/core';
import { useState } from 'react';
import { fixedRange, spans, type Range as RangeOf, type SpanName } from '../data';
import { useWords } from '../words/words';
import { IconClock } from './icons';
import { momentText } from './time';

const local = (ms: number) => {
  const d = new Date(ms);
  return new Date(ms - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};

/** Range chooses a time range: const range = useRange('1h'); <Range of={range} /> */
export function Range({ of }: { of: RangeOf & { set: (text: string) => void } }) {
  const t = useWords();
  const [open, setOpen] = useState(false);
  const [from, setFrom] = useState('');
  const [to, setTo] = useState('');
  const a = Date.parse(from);
  const b = Date.parse(to);
  const label = of.live ? t('range_last', { span: t(`range_${of.text as SpanName}`) }) : `${momentText(of.from, t.lang)} – ${momentText(of.to, t.lang)}`;
  const choose = (text: string) => {
    of.set(text);
    setOpen(false);
  };
  return (
    <Popover opened={open} onChange={setOpen} position="bottom-end" shadow="md" trapFocus returnFocus withinPortal>
      <Popover.Target>
        <Button
          size="compact-sm"
          variant="default"
          leftSection={<IconClock width={14} height={14} />}
          aria-haspopup="dialog"
          onClick={() => {
            setFrom(local(of.from));
            setTo(local(of.to));
            setOpen(!open);
          }}
        >
          {label}
        </Button>
      </Popover.Target>
      <Popover.Dropdown>
        <Stack gap="sm" role="group" aria-label={t('range')}>
          <Group gap={6}>
            {(Object.keys(spans) as SpanName[]).map((s) => (
              <Button key={s} size="compact-sm" variant={of.text === s ? 'filled' : 'default'} onClick={() => choose(s)}>
                {t(`range_${s}`)}
              </Button>
            ))}
          </Group>
          <Group gap="xs" align="end">
            <TextInput type="datetime-local" size="xs" label={t('range_from')} value={from} onChange={(e) => setFrom(e.currentTarget.value)} />
            <TextInput type="datetime-local" size="xs" label={t('range_to')} value={to} onChange={(e) => setTo(e.currentTarget.value)} />
            <Button size="xs" disabled={!(a < b)} onClick={() => choose(fixedRange({ from: a, to: b }))}>
              {t('range_use')}
            </Button>
          </Group>
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}
