import { lazy } from 'react';
import { IconShield } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/slo',
  title: { en: 'Promises', zh: '服务目标' },
  group: 'doctor',
  order: 92,
  icon: IconShield,
  component: lazy(() => import('./SLO')),
};
