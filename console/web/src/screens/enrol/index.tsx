import { lazy } from 'react';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/enrol',
  title: { en: 'Your invitation', zh: '您的邀请' },
  open: true,
  component: lazy(() => import('./Enrol')),
};
