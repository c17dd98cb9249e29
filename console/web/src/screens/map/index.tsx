import { lazy } from 'react';
import { IconRiver } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/',
  title: { en: 'Map', zh: '全景图' },
  group: 'now',
  order: 10,
  icon: IconRiver,
  component: lazy(() => import('./Map')),
};
