import { lazy } from 'react';
import { IconFinance } from './icon';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/finance',
  title: { en: 'Finance', zh: '财务' },
  group: 'money',
  order: 40,
  icon: IconFinance,
  component: lazy(() => import('./Finance')),
};
