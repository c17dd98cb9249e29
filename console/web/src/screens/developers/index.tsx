import { lazy } from 'react';
import { IconCode } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/developers',
  title: { en: 'Developers', zh: '开发者' },
  group: 'build',
  order: 10,
  icon: IconCode,
  component: lazy(() => import('./Developers')),
};
