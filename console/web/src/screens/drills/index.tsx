import { lazy } from 'react';
import { IconDrill } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/drills',
  title: { en: 'Drills', zh: '演练' },
  group: 'doctor',
  order: 50,
  icon: IconDrill,
  component: lazy(() => import('./Drills')),
};
