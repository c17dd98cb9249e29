import { lazy } from 'react';
import { IconBooks } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screens: Screen[] = [
  {
    path: '/recon',
    title: { en: 'Reconciliation', zh: '对账' },
    group: 'money',
    order: 20,
    icon: IconBooks,
    component: lazy(() => import('./Recon')),
  },
  { path: '/recon/breaks/$id', title: { en: 'Difference', zh: '差异' }, component: lazy(() => import('./Break')), opens: [{ id: /^#\d{1,12}$/, to: (id) => `/recon/breaks/${id.slice(1)}` }] },
];
