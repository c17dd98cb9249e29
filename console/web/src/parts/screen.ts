// What a screen says of itself; see README.md. The registry finds all of them.
import type { ComponentType, LazyExoticComponent, SVGProps } from 'react';
import type { Role } from '../data';
import type { Entry } from '../words/words';

export type Group = 'now' | 'money' | 'doctor' | 'build' | 'people';
export const groups: Group[] = ['now', 'money', 'doctor', 'build', 'people'];

export type Screen = {
  /** As TanStack Router writes it: '/payments/$id'. */
  path: string;
  component: LazyExoticComponent<ComponentType>;
  /** Name in the menu and in the title of the window. */
  title: Entry;
  /** Where in the menu; a screen without order is reached by links only. */
  group?: Group;
  order?: number;
  icon?: ComponentType<SVGProps<SVGSVGElement>>;
  /** Who sees it in the menu; the server decides what they may. */
  least?: Role;
  /** Without sign-in and without the frame. */
  open?: boolean;
  /** Ids that this screen shows: paste one anywhere and it opens. */
  opens?: { id: RegExp; to: (id: string) => string }[];
};

const found = import.meta.glob<{ screen?: Screen; screens?: Screen[] }>('../screens/*/index.tsx', { eager: true });

export const screens: Screen[] = Object.values(found)
  .flatMap((m) => m.screens ?? (m.screen ? [m.screen] : []))
  .sort((a, b) => groups.indexOf(a.group ?? 'now') - groups.indexOf(b.group ?? 'now') || (a.order ?? 0) - (b.order ?? 0));

/** The ids that some screen opens, and where. */
export function whereIs(id: string): string | undefined {
  for (const s of screens) for (const o of s.opens ?? []) if (o.id.test(id)) return o.to(id);
  return undefined;
}

/** The first screen: '/' when there is one, else the first of the menu. */
export function firstPath(): string {
  return (screens.find((s) => s.path === '/') ?? screens.find((s) => s.order !== undefined && !s.path.includes('$')))?.path ?? '/';
}
