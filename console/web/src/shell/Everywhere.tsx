// What works on every screen: ⌘K, an id pasted anywhere, a link to share, the list of keys.
import { ActionIcon, Button, Tooltip } from '@mantine/core';
import { lazy, Suspense, useEffect, useState } from 'react';
import { shareLink, useGo, type Session } from '../data';
import { Fence, firstPath, whereIs } from '../parts';
import { IconCheck, IconLink, IconQuestion, IconSearch } from '../parts/icons';
import { useWords } from '../words/words';
import classes from './shell.module.css';

const Palette = lazy(() => import('./Palette'));
const Keys = lazy(() => import('./Keys'));

/** Somebody is typing: keys are theirs. */
function typing(e: Event): boolean {
  const el = e.target as HTMLElement | null;
  return !!el && (/^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName) || el.isContentEditable);
}

const modal = () => document.querySelector('[role="dialog"][aria-modal="true"]') !== null;

export function Everywhere({ session }: { session: Session }) {
  const t = useWords();
  const go = useGo();
  const [search, setSearch] = useState<string | null>(null);
  const [keys, setKeys] = useState(false);
  const [shared, setShared] = useState(false);
  const share = () => {
    void navigator.clipboard?.writeText(shareLink()).then(() => {
      setShared(true);
      setTimeout(() => setShared(false), 4000);
    });
  };

  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if ((e.metaKey || e.ctrlKey) && e.key.toLowerCase() === 'k') {
        e.preventDefault();
        setSearch((now) => (now === null ? '' : null));
        return;
      }
      if (typing(e) || modal() || e.metaKey || e.ctrlKey || e.altKey) return;
      if (e.key === '/') {
        e.preventDefault();
        setSearch('');
      } else if (e.key === '?') setKeys(true);
      else if (e.key === 'g') go(firstPath());
      else if (e.key === 's') share();
    };
    const onPaste = (e: ClipboardEvent) => {
      if (typing(e) || modal()) return;
      const text = e.clipboardData?.getData('text').trim() ?? '';
      if (text === '' || text.length > 255 || /\s/.test(text)) return;
      const to = whereIs(text);
      if (to) go(to);
      else setSearch(text);
    };
    document.addEventListener('keydown', onKey);
    document.addEventListener('paste', onPaste);
    return () => {
      document.removeEventListener('keydown', onKey);
      document.removeEventListener('paste', onPaste);
    };
  }, [go]);

  return (
    <>
      <Button variant="default" size="compact-md" className={classes.search} visibleFrom="sm" leftSection={<IconSearch width={15} height={15} />} onClick={() => setSearch('')}>
        {t('search')}
      </Button>
      <ActionIcon variant="subtle" color="gray" hiddenFrom="sm" aria-label={t('search')} onClick={() => setSearch('')}>
        <IconSearch />
      </ActionIcon>
      <Tooltip label={shared ? t('shared') : t('share')} opened={shared || undefined} multiline maw={280} events={{ hover: true, focus: true, touch: false }}>
        <ActionIcon variant="subtle" color="gray" visibleFrom="sm" aria-label={shared ? t('shared') : t('share')} onClick={share}>
          {shared ? <IconCheck /> : <IconLink />}
        </ActionIcon>
      </Tooltip>
      <ActionIcon variant="subtle" color="gray" visibleFrom="sm" aria-label={t('keys')} onClick={() => setKeys(true)}>
        <IconQuestion />
      </ActionIcon>
      <Fence>
        <Suspense fallback={null}>
          {search !== null && <Palette session={session} first={search} close={() => setSearch(null)} />}
          {keys && <Keys close={() => setKeys(false)} />}
        </Suspense>
      </Fence>
    </>
  );
}
