import { lazy } from 'react';
import { IconPulse } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/doctor',
  title: { en: 'What is seen', zh: '监测' },
  group: 'doctor',
  order: 90,
  icon: IconPulse,
  component: lazy(() => import('./Doctor')),
};
