// ⌘K: pages by name, and any id that anybody has in hand.
import { Loader, Modal, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useId, useState, type KeyboardEvent } from 'react';
import { may, useGo, useLook, type Session } from '../data';
import { CopyButton, screens, whereIs } from '../parts';
import { IconSearch } from '../parts/icons';
import { useWords } from '../words/words';
import classes from './shell.module.css';

type Found = { object: 'payment' | 'account' | 'case' | 'incident'; id: string; by: string; state?: string };
type Option = { key: string; text: string; more?: string; to?: string; id?: string };

export default function Palette({ session, first, close }: { session: Session; first: string; close: () => void }) {
  const t = useWords();
  const go = useGo();
  const list = useId();
  const [text, setText] = useState(first);
  const [at, setAt] = useState(0);
  const q = text.trim();
  const [asked] = useDebouncedValue(q, 200);
  const direct = whereIs(q);
  // A word of a page is no id: ids have a digit, a dash or an underscore.
  const isName = asked.length >= 3 && /[\d_-]/.test(asked) && asked.length <= 255;
  // The watch knows incidents, and while serve is gone what the form of a name says.
  const found = useLook<{ found: Found[]; sure: boolean }>(isName ? `/find?q=${encodeURIComponent(asked)}` : null);

  const pages: Option[] = screens
    .filter((s) => s.order !== undefined && !s.open && (!s.least || may(session, s.least)))
    .filter((s) => q === '' || `${s.title.en} ${s.title.zh}`.toLowerCase().includes(q.toLowerCase()))
    .map((s) => ({ key: s.path, text: s.title[t.lang], to: s.path }));
  const things: Option[] = (isName && found.data ? found.data.found : []).map((f) => ({
    key: `${f.object}${f.id}`,
    text: `${t(`found_${f.object}`)} ${f.id}`,
    more: [f.by === 'id' ? '' : f.by.replaceAll('_', ' '), f.state ?? ''].filter(Boolean).join(' · '),
    to: whereIs(f.id),
    id: f.id,
  }));
  if (direct && !things.some((o) => o.to === direct)) things.unshift({ key: 'direct', text: t('search_open', { id: q }), to: direct });
  const options = [...things, ...pages];
  const chosen = Math.min(at, options.length - 1);

  const open = (o: Option | undefined) => {
    if (!o?.to) return;
    close();
    go(o.to);
  };
  const onKey = (e: KeyboardEvent) => {
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      e.preventDefault();
      setAt((chosen + (e.key === 'ArrowDown' ? 1 : -1) + options.length) % Math.max(1, options.length));
    } else if (e.key === 'Enter') {
      e.preventDefault();
      open(options[chosen]);
    }
  };
  const group = (name: string, of: Option[], from: number) =>
    of.length > 0 && (
      <div role="group" aria-label={name}>
        <Text className={classes.group} aria-hidden>
          {name}
        </Text>
        {of.map((o, i) => (
          <div key={o.key} id={`${list}-${from + i}`} role="option" aria-selected={from + i === chosen} className={classes.option} onClick={() => open(o)} onMouseMove={() => setAt(from + i)}>
            <span>
              {o.text} {o.more && <span className={classes.faint}>{o.more}</span>}
            </span>
            {!o.to && <span className={classes.faint}>{t('search_noscreen')}</span>}
          </div>
        ))}
      </div>
    );
  return (
    <Modal opened onClose={close} withCloseButton={false} size={560} yOffset="12vh" padding="xs" trapFocus returnFocus aria-label={t('search')} transitionProps={{ duration: 0 }}>
      <TextInput
        data-autofocus
        value={text}
        onChange={(e) => {
          setText(e.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKey}
        leftSection={<IconSearch />}
        rightSection={found.loading && isName ? <Loader size="xs" aria-label={t('search_looking')} /> : q ? <CopyButton text={q} /> : undefined}
        placeholder={t('search')}
        aria-label={t('search')}
        aria-describedby={`${list}-hint`}
        role="combobox"
        aria-expanded={options.length > 0}
        aria-controls={list}
        aria-activedescendant={options.length ? `${list}-${chosen}` : undefined}
        autoComplete="off"
        spellCheck={false}
      />
      <div id={list} role="listbox" aria-label={t('search')} className={classes.options}>
        {group(t('search_found'), things, 0)}
        {group(t('search_pages'), pages, things.length)}
      </div>
      {options.length === 0 && (
        <Text size="sm" c="dimmed" p="sm" role="status">
          {found.loading && isName ? t('search_looking') : found.problem ? found.problem.message : t(found.data && !found.data.sure ? 'search_unsure' : 'search_nothing')}
        </Text>
      )}
      <Text size="xs" c="dimmed" px="sm" py={6} id={`${list}-hint`}>
        {t('search_hint')}
      </Text>
    </Modal>
  );
}
