import { lazy } from 'react';
import { IconRepair } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/repair',
  title: { en: 'Repair bench', zh: '修复台' },
  group: 'now',
  order: 50,
  icon: IconRepair,
  component: lazy(() => import('./Repair')),
};
