import { lazy } from 'react';
import { IconTimer } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/latency',
  title: { en: 'How long it takes', zh: '耗时' },
  group: 'doctor',
  order: 91,
  icon: IconTimer,
  component: lazy(() => import('./Latency')),
};
