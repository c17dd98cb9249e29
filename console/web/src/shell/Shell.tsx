import { ActionIcon, AppShell, Badge, Burger, Button, Group, Menu, NavLink, ScrollArea, Text, Tooltip, useMantineColorScheme } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { Link, Outlet, useRouterState } from '@tanstack/react-router';
import { Suspense, useEffect } from 'react';
import { may, startPresence, startStream, useLive, useSessionChange, type Session } from '../data';
import { clockText, Fence, groups, Loading, Mark, screens, type Screen } from '../parts';
import { IconMoon, IconOut, IconPerson, IconSun } from '../parts/icons';
import { useLang, useWords } from '../words/words';
import { Everywhere } from './Everywhere';
import classes from './shell.module.css';

export function Shell({ session }: { session: Session }) {
  const t = useWords();
  const [open, { toggle, close }] = useDisclosure(false);
  const path = useRouterState({ select: (s) => s.location.pathname });
  useEffect(startStream, []);
  useEffect(startPresence, []);
  useEffect(close, [path, close]);
  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 212, breakpoint: 'sm', collapsed: { mobile: !open } }} padding={0}>
      <a href="#content" className={classes.skip}>
        {t('skip')}
      </a>
      <AppShell.Header className={classes.header}>
        <Group h="100%" px="md" gap="sm" wrap="nowrap" justify="space-between">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={open} onClick={toggle} hiddenFrom="sm" size="sm" aria-label={t('menu')} aria-expanded={open} />
            <Link to={'/' as never} className={classes.brand}>
              Moneta
            </Link>
            <World sandbox={session.sandbox} />
          </Group>
          <Group gap={4} wrap="nowrap">
            <Everywhere session={session} />
            <Choices />
            <Who session={session} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar className={classes.nav} aria-label={t('menu')}>
        <ScrollArea h="100%" type="auto">
          <Nav session={session} path={path} />
        </ScrollArea>
      </AppShell.Navbar>
      <AppShell.Main className={classes.main}>
        <Lost />
        {session.offline && (
          <Text size="sm" px="md" py={6} role="status">
            <Mark tone="wait" /> {t('offline_top')}
          </Text>
        )}
        <div id="content" tabIndex={-1} className={classes.content}>
          <Fence key={path}>
            <Suspense fallback={<Loading />}>
              <Outlet />
            </Suspense>
          </Fence>
        </div>
      </AppShell.Main>
    </AppShell>
  );
}

/** World says whether money is real here. */
function World({ sandbox }: { sandbox: boolean }) {
  const t = useWords();
  return (
    <Tooltip label={t(sandbox ? 'sandbox_why' : 'live_why')} events={{ hover: true, focus: true, touch: true }} multiline maw={280}>
      <Badge variant="outline" color={sandbox ? 'gray' : 'red'} radius="sm" tabIndex={0} className={classes.world}>
        {t(sandbox ? 'sandbox' : 'live')}
      </Badge>
    </Tooltip>
  );
}

function Nav({ session, path }: { session: Session; path: string }) {
  const t = useWords();
  const shown = screens.filter((s) => s.order !== undefined && !s.open && (!s.least || may(session, s.least)));
  return (
    <div className={classes.groups}>
      {groups.map((g) => {
        const own = shown.filter((s) => (s.group ?? 'now') === g);
        return own.length === 0 ? null : (
          <div key={g} role="group" aria-label={t(`group_${g}`)}>
            <Text className={classes.group} aria-hidden>
              {t(`group_${g}`)}
            </Text>
            {own.map((s) => (
              <Entry key={s.path} screen={s} active={isAt(path, s.path)} />
            ))}
          </div>
        );
      })}
    </div>
  );
}

function isAt(path: string, of: string): boolean {
  return of === '/' ? path === '/' : path === of || path.startsWith(`${of}/`);
}

function Entry({ screen, active }: { screen: Screen; active: boolean }) {
  const { lang } = useLang();
  const Icon = screen.icon;
  return (
    <NavLink
      component={Link}
      to={screen.path as never}
      label={screen.title[lang]}
      leftSection={Icon && <Icon />}
      active={active}
      aria-current={active ? 'page' : undefined}
      className={classes.entry}
    />
  );
}

function Choices() {
  const t = useWords();
  const { lang, setLang } = useLang();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <>
      <Button variant="subtle" color="gray" size="compact-sm" onClick={() => setLang(lang === 'en' ? 'zh' : 'en')} title={t('language')} lang={lang === 'en' ? 'zh' : 'en'}>
        {lang === 'en' ? '中文' : 'EN'}
      </Button>
      <Menu position="bottom-end" withinPortal>
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" aria-label={t('theme')}>
            {colorScheme === 'dark' ? <IconMoon /> : <IconSun />}
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {(['light', 'dark', 'auto'] as const).map((c) => (
            <Menu.Item key={c} onClick={() => setColorScheme(c)} rightSection={colorScheme === c ? <Mark tone="good" /> : undefined}>
              {t(`theme_${c}`)}
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
    </>
  );
}

function Who({ session }: { session: Session }) {
  const t = useWords();
  const { signOut } = useSessionChange();
  const name = session.local ? t('local') : (session.name ?? '');
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <Button variant="subtle" color="gray" size="compact-sm" className={classes.who} title={t('signed_in_as', { name })} aria-label={name}>
          <span className={classes.whoName}>{name}</span>
          <span className={classes.whoIcon}>
            <IconPerson />
          </span>
        </Button>
      </Menu.Target>
      <Menu.Dropdown maw={320}>
        <Menu.Label>{t('signed_in_as', { name: session.local ? name : (session.name ?? '') })}{session.role && !session.local ? ` · ${session.role}` : ''}</Menu.Label>
        {session.local && (
          <Text size="xs" px="sm" pb="xs" c="dimmed">
            {t('local_why')}
          </Text>
        )}
        <Menu.Item leftSection={<IconOut />} onClick={() => void signOut()}>
          {t('sign_out')}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

/** Lost says that the watch itself is gone. */
function Lost() {
  const t = useWords();
  const { state, heard } = useLive();
  if (state !== 'lost') return null;
  return (
    <div className={classes.lost} role="alert">
      <Mark tone="bad" size={14} />
      <span>
        <strong>{t('lost_title', { at: heard ? clockText(heard, t.lang) : '—' })}</strong> {t('lost_what')}
      </span>
    </div>
  );
}
