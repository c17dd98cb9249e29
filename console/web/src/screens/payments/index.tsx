import { lazy } from 'react';
import { IconPayment } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screens: Screen[] = [
  {
    path: '/payments',
    title: { en: 'Payments', zh: '付款' },
    group: 'now',
    order: 20,
    icon: IconPayment,
    component: lazy(() => import('./List')),
  },
  {
    path: '/payments/$id',
    title: { en: 'Payment', zh: '付款详情' },
    component: lazy(() => import('./Payment')),
    opens: [{ id: /^pay_[0-9A-HJKMNP-TV-Z]{13}$/, to: (id) => `/payments/${id}` }],
  },
];
