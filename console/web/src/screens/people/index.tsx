import { lazy } from 'react';
import { IconPeople } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/people',
  title: { en: 'People', zh: '人员' },
  group: 'people',
  order: 20,
  icon: IconPeople,
  component: lazy(() => import('./People')),
};
