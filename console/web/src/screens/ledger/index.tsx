import { lazy } from 'react';
import { IconLedger } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/ledger',
  title: { en: 'Ledger', zh: '账簿' },
  group: 'money',
  order: 30,
  icon: IconLedger,
  component: lazy(() => import('./Ledger')),
  opens: [{ id: /^acct_[0-9A-HJKMNP-TV-Z]{13}$/, to: (id) => `/ledger?account=${id}` }],
};
